"""What lies on disk: checkpoints, pictures, films and flow files, read and written whole or not at all.

Pictures are written with imageio. What stays with the libraries below it, and why, is said where it is: in `pictures`
(reading them, Pillow), `video.gifs` (Pillow), `video.films` (PyAV), and `flow_files` (PyAV, colours of 16 bits).
"""
