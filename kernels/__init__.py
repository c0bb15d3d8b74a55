"""The fused operations under the trainer: a plain reference, a kernel, and one test for both."""
