"""Many kernels of one structure at once: their work, loops, features and prices as NumPy arrays, one row a kernel.

The scalar functions (``kernel_work``, ``kernel_loops``, ``features``, ``predictor``) say what is right; a property test
holds every number here to theirs, bit for bit. What has no array version is asked of them, kernel by kernel.
"""
