"""Derivatives of a predicted energy: what makes vectors and tensors out of scalars."""

import torch
from torch import Tensor

from atomprint.objectives.base import View


def differentiate(energies: Tensor, view: View, training: bool) -> tuple[Tensor, Tensor]:
    """Derivatives of the sum of atoms' energies.

    Parameters
    ----------
    energies
        One an atom, ``(n_atoms, 1)``, made of ``view.features``.
    view
        Of an objective that ``differentiates``.
    training
        Whether the derivatives shall be differentiable, by the weights, in turn.

    Returns
    -------
    by_positions
        ``(n_atoms, 3)``, per Å.
    by_strain
        ``(n_crystals, 3, 3)``, symmetric; of the energy of the whole cell.
    """
    if view.positions is None or view.strain is None:
        raise ValueError("the view has no positions to differentiate by; set differentiates")
    # Sums of many energies are not for half precision, which the head may have worked in.
    total = energies.to(view.positions.dtype).sum()
    by_positions, by_strain = torch.autograd.grad(
        total, [view.positions, view.strain], create_graph=training, retain_graph=True
    )
    return by_positions, by_strain
