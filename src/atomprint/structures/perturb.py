"""Small random changes of a crystal: displaced atoms and a strained cell."""

import numpy as np
from pydantic import Field

from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal

DISPLACEMENT = "perturb.displacement"
"""Label of a perturbed crystal: how far each atom was displaced, Å, ``(n_atoms, 3)``."""
STRAIN = "perturb.strain"
"""Label of a perturbed crystal: its strain, nine numbers by rows."""


class PerturbSettings(Settings):
    """How crystals are perturbed before both the targets and the network see them."""

    rattle: float = Field(0.05, ge=0, description="standard deviation of atomic displacements, Å")
    strain: float = Field(0.0, ge=0, description="standard deviation of each strain component")
    clean: float = Field(0.0, ge=0, lt=1, description="part of the crystals that is left as it is")


def perturb(crystal: Crystal, settings: PerturbSettings, rng: np.random.Generator) -> Crystal:
    """Strain the cell (a symmetric strain, so no rotation) and displace the atoms.

    What was done to it goes with the crystal, as labels: :data:`DISPLACEMENT` and :data:`STRAIN`.
    """
    positions, cell = crystal.positions, crystal.cell
    strain, displacement = np.zeros((3, 3)), np.zeros_like(positions)
    if settings.clean > 0 and rng.random() < settings.clean:
        settings = PerturbSettings(rattle=0.0)
    if settings.strain > 0:
        noise = rng.normal(scale=settings.strain, size=(3, 3))
        strain = 0.5 * (noise + noise.T)
        deformation = np.eye(3) + strain
        positions, cell = positions @ deformation, cell @ deformation
    if settings.rattle > 0:
        displacement = rng.normal(scale=settings.rattle, size=positions.shape)
        positions = positions + displacement
    done = {DISPLACEMENT: displacement, STRAIN: strain.ravel()}
    return crystal.with_geometry(positions, cell).with_labels({**crystal.labels, **done})
