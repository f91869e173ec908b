"""The authors' configuration, built from our modules, and their checkpoints, read and written."""
