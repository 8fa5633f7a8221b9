"""Metal-organic frameworks from building blocks: nets, metal nodes, linkers."""
