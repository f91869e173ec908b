"""What `lfdm evaluate` needs of videos and of judges."""
