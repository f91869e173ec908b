"""What builds, checks and marks the problem sets in `chapters/assignments`: `python -m lfdm_lite.course`."""
