"""Pre-train by finding the way back from displaced atoms and strained cells."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from atomprint.backbones.base import Backbone
from atomprint.heads.equivariant import TensorHead, VectorHead
from atomprint.heads.head import Head, mean_over_crystals
from atomprint.heads.model import ModelSettings
from atomprint.heads.target import Target
from atomprint.objectives.base import Objective, ObjectiveSettings, View
from atomprint.objectives.energy import differentiate
from atomprint.structures.graph import GraphBatch
from atomprint.structures.perturb import DISPLACEMENT, STRAIN, PerturbSettings


class DenoisingSettings(ObjectiveSettings):
    """Predict the way back: every atom's displacement and, if asked, the strain of the cell."""

    kind: Literal["denoising"] = "denoising"
    by: Literal["vectors", "energy"] = Field(
        "vectors",
        description="predict by vector features, or by derivatives of an energy (about three "
        "times the cost)",
    )
    scale: float = Field(0.05, gt=0, description="displacements are counted in units of this, Å")
    center: bool = Field(
        True,
        description="take the mean displacement of a crystal's atoms, which no network can see, "
        "out of what is predicted",
    )
    strain: bool = Field(False, description="predict the strain too")
    strain_scale: float = Field(0.02, gt=0, description="strains are counted in units of this")

    def check(self, perturbation: PerturbSettings) -> None:
        """Refuse a perturbation that leaves nothing to predict."""
        if perturbation.rattle == 0:
            raise ValueError(
                "denoising has nothing to predict where perturbation.rattle is 0; "
                "set it to, say, 0.05 (Å), or leave the objective out"
            )
        if self.strain and perturbation.strain == 0:
            raise ValueError(
                "denoising with strain: true has no strain to predict where perturbation.strain "
                "is 0; set it to, say, 0.02, or strain to false"
            )

    def build(self, backbone: Backbone, model: ModelSettings) -> "DenoisingObjective":
        """Make the objective with random heads."""
        return DenoisingObjective(self, backbone, model)


class DenoisingObjective(Objective):
    """Denoising of positions (Zaidi et al. 2023, arXiv 2206.00133, eq. 3) and of the cell.

    With ``by: energy`` the predictions are derivatives of one energy, minus by the positions and
    minus by the strain, per atom: what pre-training then learns is an approximate force field
    (Zaidi et al., sec. 3.2). Jia et al. 2024 (Digital Discovery 3, 586, doi 10.1039/D3DD00214D)
    find derivatives better than direct predictions for crystals. Strain is denoised as positions
    are: the way back is minus the strain, to first order.

    Parameters
    ----------
    settings
        Of the objective.
    backbone
        The network.
    model
        Shape of the heads.
    """

    settings: DenoisingSettings

    def __init__(
        self, settings: DenoisingSettings, backbone: Backbone, model: ModelSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.terms = ("displacement", "strain") if settings.strain else ("displacement",)
        displacement = Target(name=DISPLACEMENT, per="atom", size=3)
        strain = Target(name=STRAIN, size=9)
        self.labels = (displacement, strain) if settings.strain else (displacement,)
        self.differentiates = settings.by == "energy"
        n_channels, n_hidden = backbone.n_channels, model.n_hidden
        if settings.by == "energy":
            target = Target(name="energy", per="atom")
            self.energy = Head(target, n_channels, model.pooling, n_hidden)
        else:
            self.displacement = VectorHead(n_channels, n_hidden)
            if settings.strain:
                self.strain = TensorHead(n_channels, n_hidden, backbone.cutoff)

    def predict(self, view: View) -> dict[str, Tensor]:
        """The ways back by term, in units of the scales: ``(n_atoms, 3)``, ``(n_crystals, 3, 3)``.

        Raises
        ------
        UsageError
            If vectors are asked of a backbone that has none.
        """
        if self.settings.by == "energy":
            energies = self.energy(view.features.scalars, view.seen)
            by_positions, by_strain = differentiate(energies, view, self.training)
            n_atoms = view.graph.n_atoms_per_crystal[:, None, None]
            return {"displacement": -by_positions, "strain": -by_strain / n_atoms}
        found = {"displacement": self.displacement(view.features)}
        if self.settings.strain:
            found["strain"] = self.strain(view.features, view.seen)
        return found

    def counts(self, view: View) -> dict[str, Tensor | int]:
        """Atoms of displacements, crystals of strains."""
        return {"displacement": view.graph.n_atoms, "strain": view.graph.n_crystals}

    def losses(self, view: View) -> dict[str, Tensor]:
        """Mean squares of what is left of displacement and strain, in units of the scales."""
        displacement = view.labels[DISPLACEMENT]
        if self.settings.center:
            displacement = center(displacement, view.graph)
        wanted = {"displacement": -displacement / self.settings.scale}
        if self.settings.strain:
            strain = view.labels[STRAIN].view(-1, 3, 3)
            wanted["strain"] = -strain / self.settings.strain_scale
        found = self.predict(view)
        return {name: nn.functional.mse_loss(found[name], wanted[name]) for name in self.terms}


def center(displacements: Tensor, graph: GraphBatch) -> Tensor:
    """Displacements ``(n_atoms, 3)`` less their mean over each crystal.

    A crystal that is moved as a whole is the same crystal: of the mean displacement nothing can
    be known but that its expectation is zero, so that leaving it out changes the noise of the
    gradients and not their mean.
    """
    return displacements - mean_over_crystals(displacements, graph)[graph.crystal_index]
