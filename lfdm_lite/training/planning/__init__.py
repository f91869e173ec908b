"""What a run will cost before it is started: a few steps on random clips, measured."""
