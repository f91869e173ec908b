"""Procedural scenes whose true motion is known: `Faces`, `Figures`, `Gestures`, `Sketches`."""
