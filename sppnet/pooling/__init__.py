"""Where windows lie on maps (appendix A), scales, the pyramid, and pooling them."""
