"""Where windows lie on maps (appendix A), scales, the pyramid, and pooling them.

Tests: `kernel_numba` and `kernel_torch` are compared with each other, with the definition and with torchvision by those
of pooling windows, which runs one or the other.
"""
