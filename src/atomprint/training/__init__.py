"""One loop, checkpoints, transfer, run folders."""
