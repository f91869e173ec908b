"""Rivals of LFDM from the same parts: VDM denoises pixels, LDM an auto-encoder's feature maps, LaMD a motion image."""
