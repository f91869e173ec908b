"""A whole run in minutes on one GPU, in slices of time: `launch/short_gpu.sh`."""
