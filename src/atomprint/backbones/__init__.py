"""Graph networks: crystal graphs -> features of every atom. One file an architecture."""
