"""Building blocks of networks: radial bases and cutoffs. Knows nothing of crystals."""
