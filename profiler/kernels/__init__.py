"""What a graph becomes in a runtime: its kernels, the ONNX nodes they came from, and each one alone."""
