"""Table 1's networks, torchvision's, their heads, their weights and what they cost."""
