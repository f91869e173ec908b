"""Your own videos: folders of films and pictures, found, counted, split and decoded once."""
