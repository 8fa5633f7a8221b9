"""Two-dimensional crystals: decorated layer types, and layers peeled from layered crystals."""
