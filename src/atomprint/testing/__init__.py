"""The contracts, importable by other packages; nothing inside atomprint imports them."""
