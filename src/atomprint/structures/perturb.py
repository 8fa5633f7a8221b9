"""Small random changes of a crystal: displaced atoms and a strained cell."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from atomprint.ground.settings import Settings
from atomprint.structures.crystal import Crystal

Array = npt.NDArray[np.float64]

DISPLACEMENT = "perturb.displacement"
"""Label of a perturbed crystal: how far each atom was displaced, Å, ``(n_atoms, 3)``."""
STRAIN = "perturb.strain"
"""Label of a perturbed crystal: its strain, nine numbers by rows."""


class PerturbSettings(Settings):
    """How crystals are perturbed before both the targets and the network see them."""

    rattle: float = Field(0.05, ge=0, description="standard deviation of atomic displacements, Å")
    strain: float = Field(0.0, ge=0, description="standard deviation of each strain component")
    clean: float = Field(0.0, ge=0, lt=1, description="part of the crystals that is left as it is")


@dataclass(frozen=True)
class Change:
    """What is done to a crystal.

    Attributes
    ----------
    strain
        Symmetric, so no rotation, ``(3, 3)``.
    displacement
        Of every atom after the strain, Å, ``(n_atoms, 3)``.
    """

    strain: Array
    displacement: Array

    def apply(self, crystal: Crystal) -> Crystal:
        """Strain the cell and displace the atoms.

        What was done goes with the crystal, as labels: :data:`DISPLACEMENT` and :data:`STRAIN`.
        """
        positions, cell = crystal.positions, crystal.cell
        if self.strain.any():
            deformation = np.eye(3) + self.strain
            positions, cell = positions @ deformation, cell @ deformation
        if self.displacement.any():
            positions = positions + self.displacement
        done = {DISPLACEMENT: self.displacement, STRAIN: self.strain.ravel()}
        return crystal.with_geometry(positions, cell).with_labels({**crystal.labels, **done})


def draw_change(n_atoms: int, settings: PerturbSettings, rng: np.random.Generator) -> Change:
    """Draw what is done to a crystal, of which only the number of atoms need be known."""
    strain, displacement = np.zeros((3, 3)), np.zeros((n_atoms, 3))
    if settings.clean > 0 and rng.random() < settings.clean:
        return Change(strain, displacement)
    if settings.strain > 0:
        noise = rng.normal(scale=settings.strain, size=(3, 3))
        strain = 0.5 * (noise + noise.T)
    if settings.rattle > 0:
        displacement = rng.normal(scale=settings.rattle, size=(n_atoms, 3))
    return Change(strain, displacement)


def perturb(crystal: Crystal, settings: PerturbSettings, rng: np.random.Generator) -> Crystal:
    """Draw a change and apply it."""
    return draw_change(crystal.n_atoms, settings, rng).apply(crystal)
