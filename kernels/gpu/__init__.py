"""The Triton kernels, one file an operation; a file is imported when its kernel first runs, since Triton may be missing."""
