"""Rulers: networks that read numbers from decoded frames, with their own error known from clips of known truth."""
