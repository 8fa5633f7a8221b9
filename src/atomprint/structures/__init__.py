"""What a crystal is: the crystal itself, reading it, its neighbours, graphs, perturbations."""
