"""What the library stands on: the packages of this machine."""
