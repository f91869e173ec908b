"""The model for a web page: its parts as ONNX graphs, and whether they compute what PyTorch does."""
