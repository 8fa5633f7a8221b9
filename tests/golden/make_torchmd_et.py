"""Make torchmd_et.npz: what torchmd-net's equivariant transformer gives for a few configurations.

Run once, in an environment of its own (nothing of atomprint is imported):

    pip install torch==2.13.0 torchmd-net==3.1.0 numpy
    python tests/golden/make_torchmd_et.py

The file holds networks with random weights (as torchmd-net names them), the configurations, and in
float64 the scalars and vectors of every atom and the gradient of their squared sum in positions.
Weights are numbers that float16 holds exactly, which halves the file and changes nothing.
torchmd-net sees the nearest image of an atom only, so the periodic cells are more than two cutoffs
high, and have the reduced lower-triangular form it asks for.
"""

import importlib.metadata
import json
import platform
from pathlib import Path

import numpy as np
import torch
from torchmdnet.models.model import create_model

COMMON = {
    "model": "equivariant-transformer",
    "prior_model": None,
    "output_model": "Scalar",
    "derivative": False,
    "atom_filter": -1,
    "rbf_type": "expnorm",
    "activation": "silu",
    "attn_activation": "silu",
    "distance_influence": "both",
    "aggr": "add",
    "cutoff_lower": 0.0,
    "max_num_neighbors": 200,
    "precision": 64,
    "reduce_op": "add",
    "equivariance_invariance_group": "O(3)",
    "output_mlp_num_layers": 0,
}

NETWORKS = {
    # The published heads, layers and radial functions; only the width is small.
    "published": {
        "embedding_dimension": 16,
        "num_layers": 8,
        "num_heads": 8,
        "num_rbf": 50,
        "trainable_rbf": True,
        "neighbor_embedding": True,
        "vector_cutoff": False,
        "cutoff_upper": 4.0,
        "max_z": 100,
    },
    "smooth": {
        "embedding_dimension": 12,
        "num_layers": 3,
        "num_heads": 3,
        "num_rbf": 9,
        "trainable_rbf": True,
        "neighbor_embedding": True,
        "vector_cutoff": True,
        "cutoff_upper": 3.5,
        "max_z": 119,
    },
    "bare": {
        "embedding_dimension": 10,
        "num_layers": 1,
        "num_heads": 2,
        "num_rbf": 7,
        "trainable_rbf": False,
        "neighbor_embedding": False,
        "vector_cutoff": False,
        "cutoff_upper": 4.0,
        "max_z": 90,
    },
}


def configurations():
    """Name -> atomic numbers, positions in Å, cell in Å as rows or None."""
    rng = np.random.default_rng(20220205)
    box = np.diag([8.3, 8.9, 9.4])
    skewed = np.array([[9.1, 0, 0], [2.7, 8.6, 0], [-3.1, 1.9, 8.4]])
    return {
        "lone": (np.array([26]), np.array([[0.3, -0.2, 7.0]]), None),
        "water": (
            np.array([8, 1, 1]),
            np.array([[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]]),
            None,
        ),
        "cluster": (rng.integers(1, 90, 9), spread(rng, np.eye(3) * 5.5, 9), None),
        "box": (rng.integers(1, 90, 14), spread(rng, box, 14), box),
        "skewed": (rng.integers(1, 90, 16), spread(rng, skewed, 16), skewed),
    }


def spread(rng, cell, n_atoms):
    """Positions in the cell with no two atoms closer than 1.1 Å, images included."""
    images = np.array(list(np.ndindex(3, 3, 3))) - 1
    chosen = []
    while len(chosen) < n_atoms:
        new = rng.random(3) @ cell
        others = [np.linalg.norm(new - old + images @ cell, axis=1).min() for old in chosen]
        if all(other > 1.1 for other in others):
            chosen.append(new)
    return np.array(chosen)


def randomize(model, seed):
    """Give every weight, biases and norms too, a random value that float16 holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    trainable = dict(model.named_parameters())
    for name, tensor in model.state_dict().items():
        if "box" in name or tensor.numel() == 0:
            continue
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if name.endswith(("means", "betas")):
            value = tensor * (1 + 0.1 * noise) if name in trainable else tensor
        elif tensor.ndim == 2 and "embedding.weight" not in name:
            value = noise * tensor.shape[1] ** -0.5
        elif name.endswith("norm.weight"):
            value = 1 + 0.2 * noise
        else:
            value = noise * (1.0 if "embedding" in name else 0.3)
        tensor.copy_(value.half().double())


def main():
    out = {}
    places = configurations()
    for name, (numbers, positions, cell) in places.items():
        out[f"configurations/{name}/numbers"] = numbers
        out[f"configurations/{name}/positions"] = positions
        if cell is not None:
            out[f"configurations/{name}/cell"] = cell
    for index, (name, settings) in enumerate(NETWORKS.items()):
        model = create_model({**COMMON, **settings}).double()
        with torch.no_grad():
            randomize(model, index)
        for key, tensor in model.state_dict().items():
            array = tensor.numpy()
            assert (array.astype(np.float16) == array).all(), key
            out[f"{name}/weights/{key}"] = array.astype(np.float16)
        out[f"{name}/settings"] = np.array(json.dumps(settings))
        for place, (numbers, positions, cell) in places.items():
            leaf = torch.from_numpy(positions).requires_grad_()
            scalars, vectors, *_ = model.representation_model(
                torch.from_numpy(numbers),
                leaf,
                torch.zeros(len(numbers), dtype=torch.int64),
                None if cell is None else torch.from_numpy(cell),
            )
            (scalars.square().sum() + vectors.square().sum()).backward()
            out[f"{name}/{place}/scalars"] = scalars.detach().numpy()
            out[f"{name}/{place}/vectors"] = vectors.detach().numpy()
            out[f"{name}/{place}/gradient"] = leaf.grad.numpy()
    packages = ("torchmd-net", "torch", "warp-lang", "numpy")
    versions = {package: importlib.metadata.version(package) for package in packages}
    out["versions"] = np.array(json.dumps({**versions, "python": platform.python_version()}))
    np.savez_compressed(Path(__file__).with_name("torchmd_et.npz"), **out)


if __name__ == "__main__":
    main()
