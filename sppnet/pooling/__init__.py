"""Where windows lie on maps (appendix A), scales, the pyramid, and pooling them.

The two kernels have no test files of their own: `windows` runs one or the other, and its tests compare them with each
other, with the definition and with torchvision.
"""
