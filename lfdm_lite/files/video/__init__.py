"""Films and GIFs: how they describe themselves, frame by frame in time; `files.media` hands out what others need."""
