"""Triton kernels, one file per operation.

A file is imported when its kernel first runs, since Triton may be missing.
"""
