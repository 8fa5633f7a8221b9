"""Pre-train on a force field: energies, forces and stresses that someone computed."""

from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from atomprint.backbones.base import Backbone
from atomprint.ground.elements import MAX_Z
from atomprint.ground.errors import DataError
from atomprint.heads.equivariant import TensorHead, VectorHead
from atomprint.heads.head import Head
from atomprint.heads.model import ModelSettings
from atomprint.heads.target import Target
from atomprint.objectives.base import Objective, ObjectiveSettings, Sample, View
from atomprint.objectives.energy import differentiate
from atomprint.structures.graph import GraphBatch, sum_by_index
from atomprint.structures.perturb import PerturbSettings


class ForcesSettings(ObjectiveSettings):
    """Regress labels of a force field."""

    kind: Literal["forces"] = "forces"
    energy: str | None = Field("energy", description="label with the energy of the cell, eV")
    forces: str | None = Field("forces", description="label with the forces, eV/Å, 3 an atom")
    stress: str | None = Field(
        None,
        description="label with the stress, eV/Å³, 9 numbers a crystal by rows; "
        "dE/dstrain / volume, positive under tension",
    )
    energy_weight: float = Field(1.0, gt=0, description="factor of the loss of energies")
    forces_weight: float = Field(1.0, gt=0, description="factor of the loss of forces")
    stress_weight: float = Field(1.0, gt=0, description="factor of the loss of stresses")
    direct: bool = Field(
        False,
        description="predict forces and stress by vector features, not as derivatives of the "
        "energy: a third of the cost, and no energy that they conserve",
    )

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.energy is None and self.forces is None and self.stress is None:
            raise ValueError("forces: name a label of energy, forces or stress")
        return self

    def check(self, perturbation: PerturbSettings) -> None:
        """Refuse a perturbation: the labels belong to the crystals as they were read."""
        if perturbation.rattle > 0 or perturbation.strain > 0:
            raise ValueError(
                "forces: the labels do not belong to displaced atoms or strained cells; set "
                "perturbation.rattle and perturbation.strain to 0"
            )

    def build(self, backbone: Backbone, model: ModelSettings) -> "ForcesObjective":
        """Make the objective with random heads."""
        return ForcesObjective(self, backbone, model)


class ForcesObjective(Objective):
    """Supervised pre-training on a force field, as Jia et al. 2024 (doi 10.1039/D3DD00214D).

    The energy of a cell is a reference of every element plus what a head reads from the atoms;
    forces are minus its derivative by the positions, the stress its derivative by the strain over
    the volume, unless ``direct``. The references are a least-squares fit to the energies of the
    sample: energies of different elements differ by tens of eV for reasons that have nothing to do
    with structure. Losses are mean lengths of errors (so that they do not depend on the axes) in
    units of the sample's spreads: the energy per atom, each force, and the stress. Missing labels
    do not count.

    Parameters
    ----------
    settings
        Which labels and how.
    backbone
        The network.
    model
        Shape of the heads.

    Attributes
    ----------
    references
        Energy of each element, eV, by atomic number; 0 for elements that the sample lacks.
    scales
        Spread of the energy per atom without references (eV), root mean square of a component of
        force (eV/Å) and of stress (eV/Å³).
    unit
        What the head's energies are counted in, eV.
    """

    settings: ForcesSettings
    references: Tensor
    scales: Tensor
    unit: Tensor

    def __init__(self, settings: ForcesSettings, backbone: Backbone, model: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        asked = {
            "energy": (settings.energy, "crystal", 1),
            "forces": (settings.forces, "atom", 3),
            "stress": (settings.stress, "crystal", 9),
        }
        self.names = {term: name for term, (name, _, _) in asked.items() if name is not None}
        self.terms = tuple(self.names)
        self.labels = tuple(
            Target.model_validate({"name": name, "per": per, "size": size})
            for name, per, size in asked.values()
            if name is not None
        )
        self.differentiates = not settings.direct and self.terms != ("energy",)
        n_channels, n_hidden = backbone.n_channels, model.n_hidden
        if "energy" in self.terms or self.differentiates:
            target = Target(name="energy", per="atom")
            self.energy = Head(target, n_channels, model.pooling, n_hidden)
        if settings.direct and "forces" in self.terms:
            self.forces = VectorHead(n_channels, n_hidden)
        if settings.direct and "stress" in self.terms:
            self.stress = TensorHead(n_channels, n_hidden, backbone.cutoff)
        self.register_buffer("references", torch.zeros(MAX_Z + 1))
        self.register_buffer("scales", torch.ones(3))
        self.register_buffer("unit", torch.ones(()))

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit references and scales.

        Raises
        ------
        DataError
            If no crystal of the sample has one of the labels.
        """
        energies: list[Tensor] = []
        counts: list[Tensor] = []
        components: dict[str, list[Tensor]] = {"forces": [], "stress": []}
        for sample in samples:
            graph = sample.graph
            if "energy" in self.terms:
                energies.append(sample.labels[self.names["energy"]][:, 0])
                elements = nn.functional.one_hot(graph.numbers, MAX_Z + 1)
                counts.append(sum_by_index(elements, graph.crystal_index, graph.n_crystals))
            for term in set(components) & set(self.terms):
                components[term].append(sample.labels[self.names[term]].flatten())
        if "energy" in self.terms:
            self._fit_energies(torch.cat(energies).double(), torch.cat(counts).double())
        for place, term in ((1, "forces"), (2, "stress")):
            if term in self.terms:
                values = torch.cat(components[term]).double()
                values = self._known(values, term)
                self.scales[place] = _spread(values.square().mean().sqrt())
        first = 1 if "forces" in self.terms else 0
        self.unit.copy_(self.scales[first])

    def _fit_energies(self, energies: Tensor, counts: Tensor) -> None:
        """References from energies ``(n_crystals,)`` and atoms of each element, and the spread."""
        known = torch.isfinite(energies)
        energies, counts = self._known(energies, "energy").cpu(), counts[known].cpu()
        # The smallest of all solutions where crystals do not tell elements apart (gelsd).
        fitted = torch.linalg.lstsq(counts, energies[:, None], driver="gelsd").solution[:, 0]
        self.references.copy_(fitted)
        rest = (energies - counts @ fitted) / counts.sum(1)
        # Labels are in single precision: what is left of exact sums is rounding, not a spread.
        rounding = 1e-6 * float((energies / counts.sum(1)).abs().max())
        spread = rest.square().mean().sqrt()
        self.scales[0] = _spread(torch.where(spread > rounding, spread, 0.0))

    def _known(self, values: Tensor, term: str) -> Tensor:
        known = values[torch.isfinite(values)]
        if not len(known):
            raise DataError(
                f"no crystal has the label {self.names[term]!r}; correct objectives.{term}, the "
                "name of the label, or set it to null"
            )
        return known

    def predict(self, view: View) -> dict[str, Tensor]:
        """Predictions by term.

        Returns
        -------
        dict
            ``energy`` in eV, ``(n_crystals,)``; ``forces`` in eV/Å, ``(n_atoms, 3)``; ``stress``
            in eV/Å³, ``(n_crystals, 3, 3)``.
        """
        graph, features = view.graph, view.features
        found: dict[str, Tensor] = {}
        if "energy" in self.terms or self.differentiates:
            energies = self.unit * self.energy(features.scalars, view.seen).to(graph.dtype)
            found["energy"] = self._total(energies[:, 0], graph)
        if self.differentiates:
            by_positions, by_strain = differentiate(energies, view, self.training)
            found["forces"] = -by_positions
            found["stress"] = by_strain / graph.volumes[:, None, None]
        elif self.settings.direct:
            if "forces" in self.terms:
                found["forces"] = self.scales[1] * self.forces(features)
            if "stress" in self.terms:
                found["stress"] = self.scales[2] * self.stress(features, view.seen)
        return {term: found[term] for term in self.terms}

    def _total(self, energies: Tensor, graph: GraphBatch) -> Tensor:
        """Energies of cells: of the atoms ``(n_atoms,)`` and of their elements."""
        atoms = energies + self.references[graph.numbers].to(energies.dtype)
        return sum_by_index(atoms, graph.crystal_index, graph.n_crystals)

    def counts(self, view: View) -> dict[str, Tensor | int]:
        """Known energies, forces on atoms, and stresses."""
        labels = {term: view.labels[name] for term, name in self.names.items()}
        return {term: torch.isfinite(values).all(-1).sum() for term, values in labels.items()}

    def losses(self, view: View) -> dict[str, Tensor]:
        """Mean errors of the known labels, in spreads, times their weights."""
        found = self.predict(view)
        losses = {}
        for term in self.terms:
            wanted = view.labels[self.names[term]]
            if term == "energy":
                error = (found[term][:, None] - wanted) / view.graph.n_atoms_per_crystal[:, None]
                place, weight = 0, self.settings.energy_weight
            elif term == "forces":
                error, place, weight = found[term] - wanted, 1, self.settings.forces_weight
            else:
                error = found[term].flatten(1) - wanted
                place, weight = 2, self.settings.stress_weight
            losses[term] = weight * _mean_length(error) / self.scales[place]
        return losses


def _mean_length(errors: Tensor) -> Tensor:
    """Mean length of rows without NaN; 0, with a gradient of 0, if there are none."""
    known = torch.isfinite(errors).all(-1)
    # Filled before the root: NaN times a gradient of zero is NaN.
    filled = torch.where(known[:, None], errors, torch.zeros_like(errors))
    lengths: Tensor = torch.linalg.vector_norm(filled, dim=-1)
    return lengths.sum() / known.sum().clamp(min=1)


def _spread(value: Tensor) -> Tensor:
    """A scale to divide by: 1 where there is no spread."""
    return torch.where(value > 0, value, torch.ones_like(value))
