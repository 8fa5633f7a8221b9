"""Small random changes of a crystal: displaced atoms and a strained cell."""

import numpy as np
from pydantic import Field

from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal


class PerturbSettings(Settings):
    """How crystals are perturbed before both the targets and the network see them."""

    rattle: float = Field(0.05, ge=0, description="standard deviation of atomic displacements, Å")
    strain: float = Field(0.0, ge=0, description="standard deviation of each strain component")


def perturb(crystal: Crystal, settings: PerturbSettings, rng: np.random.Generator) -> Crystal:
    """Strain the cell (a symmetric strain, so no rotation) and displace the atoms."""
    positions, cell = crystal.positions, crystal.cell
    if settings.strain > 0:
        noise = rng.normal(scale=settings.strain, size=(3, 3))
        deformation = np.eye(3) + 0.5 * (noise + noise.T)
        positions, cell = positions @ deformation, cell @ deformation
    if settings.rattle > 0:
        positions = positions + rng.normal(scale=settings.rattle, size=positions.shape)
    return crystal.with_geometry(positions, cell)
