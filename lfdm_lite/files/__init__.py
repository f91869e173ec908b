"""What lies on disk: checkpoints, pictures, films and flow files, read and written whole or not at all."""
