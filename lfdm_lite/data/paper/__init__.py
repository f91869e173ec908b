"""The paper's three sets, MUG, UTD-MHAD and NATOPS: what is in them, how they are prepared, how they are read."""
