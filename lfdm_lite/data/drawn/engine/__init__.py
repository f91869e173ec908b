"""The renderer: layers of signed-distance shapes, each with its own motion, and the looks that they may have."""
