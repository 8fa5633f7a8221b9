"""What the tests of fingerprints share: values of one crystal, and the golden file."""

from pathlib import Path

import numpy as np
import torch

from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import sample_crystals

GOLDEN = Path(__file__).parent.parent / "golden" / "fingerprints.npz"
GOLDEN_NAMES = ("one", "two", "five", "eleven")
SAMPLES = {crystal.id: crystal for crystal in sample_crystals()}


def values(settings, crystal, dtype=torch.float64, path="auto"):
    fingerprint = settings.build()
    fingerprint.path = path
    graph = GraphBatch.from_crystals([crystal], fingerprint.cutoff, dtype)
    return fingerprint(graph).detach().numpy()


def golden(name):
    with np.load(GOLDEN) as file:
        arrays = {key.split("/")[1]: file[key] for key in file.files if key.startswith(f"{name}/")}
    crystal = Crystal.make(name, arrays["numbers"], arrays["cell"], positions=arrays["positions"])
    return crystal, arrays


def relative(found, wanted):
    """Largest difference, in units of the largest value of the same row."""
    return float((np.abs(found - wanted).max(-1) / np.abs(wanted).max(-1)).max())
