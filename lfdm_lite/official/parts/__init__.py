"""The published configs, networks and sampler: children of ours that override what differs, off the teaching path."""
