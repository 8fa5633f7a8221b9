"""Objectives together: one look of the network at a batch, losses of all, weighed."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.ground.errors import UsageError
from atomprint.heads.target import Target
from atomprint.objectives.base import Objective, Sample, View
from atomprint.structures.graph import GraphBatch
from atomprint.structures.parts import Part

TaskWeights = Literal["uncertainty", "fixed", "balance"]

# Memory of the running mean of gradients' norms, in steps.
_BALANCE_STEPS = 100


class Mixture(nn.Module):
    """Any objectives at once.

    The loss is the sum over all terms of ``weight * factor * loss``; ``weight`` is the objective's,
    and the factors are

    - ``fixed``: 1;
    - ``uncertainty``: ``exp(-s)`` with a learned s, and s is added: the maximum likelihood of an
      error of unknown width (Kendall, Gal & Cipolla 2018, arXiv 1705.07115, sec. 3). A term that
      cannot be predicted well does not drown the others;
    - ``balance``: such that the gradients of all terms by the network's features are equally large
      in the mean over the last 100 steps, after GradNorm (Chen et al. 2018, arXiv 1711.02257)
      without its training rates. Losses whose gradients do not all pass these features, those of
      derivatives and of second looks, cannot be measured so; their factor is 1.

    Parameters
    ----------
    members
        The objectives.
    weighting
        How the factors come about.
    """

    log_widths: Tensor
    norms: Tensor

    def __init__(self, members: Sequence[Objective], weighting: TaskWeights) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.weighting: TaskWeights = weighting
        kinds = [m.settings.kind for m in members]
        self.prefixes = [
            kind if kinds.count(kind) == 1 else f"{kind}{index}" for index, kind in enumerate(kinds)
        ]
        self.names = [
            [f"{prefix}/{term}" for term in m.terms]
            for prefix, m in zip(self.prefixes, members, strict=True)
        ]
        n_terms = sum(len(names) for names in self.names)
        self.log_widths = nn.Parameter(
            torch.zeros(n_terms), requires_grad=weighting == "uncertainty"
        )
        self.register_buffer("norms", torch.zeros(n_terms))
        self.measured = [not (m.differentiates or m.looks_again) for m in members for _ in m.terms]
        wanted = {(m.hides, m.hides_in) for m in members if m.hides}
        if len(wanted) > 1:
            raise UsageError(
                f"objectives want different parts of the elements hidden, {sorted(wanted)}; "
                "give them one fraction"
            )
        self.hides, self.hides_in = wanted.pop() if wanted else (0.0, 1.0)
        self.differentiates = any(m.differentiates for m in members)

    @property
    def judges(self) -> frozenset[str]:
        """Names of the losses by which networks are compared."""
        pairs = zip(self.names, self._objectives(), strict=True)
        return frozenset(name for names, m in pairs if m.judges for name in names)

    @property
    def whole(self) -> str:
        """Why processes cannot share a batch; empty where they can."""
        return next((m.whole for m in self._objectives() if m.whole), "")

    @property
    def cutoff(self) -> float:
        """What targets need of the graph, Å."""
        return max(m.cutoff for m in self._objectives())

    @property
    def labels(self) -> tuple[Target, ...]:
        """What batches must carry."""
        wanted = {label.name: label for m in self._objectives() for label in m.labels}
        return tuple(wanted.values())

    def _objectives(self) -> list[Objective]:
        return [m for m in self.members if isinstance(m, Objective)]

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit statistics of all objectives."""
        for member in self._objectives():
            member.fit(samples)

    def loss(
        self,
        backbone: Backbone,
        graph: GraphBatch,
        labels: dict[str, Tensor],
        seed: int = 0,
        progress: float = 0.0,
        part: Part | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighed loss of a batch, and each term's own loss for the log.

        Of a part of a batch both are what it adds to those of the whole: summed over the parts they
        are the whole batch's.

        Parameters
        ----------
        backbone
            The network.
        graph
            Of the batch.
        labels
            Those asked for.
        seed
            Of random choices.
        progress
            Part of the run that is done: objectives outside their part of it do not count.
        part
            Where the graph stands in a batch that several processes share; all must call this.
        """
        at_work = [
            (index, member)
            for index, member in enumerate(self._objectives())
            if not self.training or member.settings.is_on(progress)
        ]
        if not at_work:
            raise UsageError(
                f"no objective is at work when {progress:.0%} of the run is done; "
                "let their start and stop cover all of it"
            )
        if self.training:
            for _, member in at_work:
                member.follow(backbone)
        with (
            torch.enable_grad()
            if self.differentiates
            else torch.set_grad_enabled(torch.is_grad_enabled())
        ):
            view = self._look(backbone, graph, labels, seed, progress, part)
            found = [(index, member.losses(view)) for index, member in at_work]
        first = [0]
        for names in self.names:
            first.append(first[-1] + len(names))
        places = [place for index, _ in found for place in range(first[index], first[index + 1])]
        shares = self._shares(found, view, part)
        log: dict[str, Tensor] = {}
        losses: list[Tensor] = []
        weights: list[float] = []
        for index, values in found:
            member = self._objectives()[index]
            # Other numbers are shared as the first of the objective's losses is.
            others = shares[len(losses)]
            for name, term in zip(self.names[index], member.terms, strict=True):
                losses.append(shares[len(losses)] * values[term])
                log[name] = losses[-1].detach()
                weights.append(member.settings.weight)
            for term, value in values.items():
                if term not in member.terms:
                    log[f"{self.prefixes[index]}/{term}"] = others * value.detach()
        total = self._total(losses, places, weights, view)
        return total, log

    def _shares(
        self, found: Sequence[tuple[int, dict[str, Tensor]]], view: View, part: Part | None
    ) -> Tensor | list[float]:
        """What each term of this part counts in the whole batch, in their order."""
        members = self._objectives()
        if part is None:
            return [1.0 for index, _ in found for _ in members[index].terms]
        counts = [
            values[term]
            for index, _ in found
            for values in [members[index].counts(view)]
            for term in members[index].terms
        ]
        dtype, device = view.graph.dtype, view.graph.device
        return part.share(
            torch.stack([torch.as_tensor(n, dtype=dtype, device=device) for n in counts])
        )

    def _look(
        self, backbone: Backbone, graph: GraphBatch, labels: dict[str, Tensor], seed: int,
        progress: float, part: Part | None = None,
    ) -> View:  # fmt: skip
        """Hide elements, let the network look, and keep what derivatives need."""
        hidden = torch.zeros_like(graph.numbers, dtype=torch.bool)
        seen = graph
        if self.hides:
            dice = torch.Generator().manual_seed(seed)
            # Drawn for the whole batch, whatever part of it is here.
            whole = part or Part(1, graph.n_crystals, graph.n_atoms)
            hidden = torch.rand(whole.n_atoms, generator=dice) < self.hides
            hidden = whole.of_atoms(hidden.to(graph.device))
            chosen = torch.rand(whole.n_crystals, generator=dice) < self.hides_in
            chosen = whole.of_crystals(chosen.to(graph.device))
            hidden = hidden & chosen[graph.crystal_index]
            seen = graph.with_numbers(graph.numbers.masked_fill(hidden, 0))
        positions = strain = None
        if self.differentiates:
            positions = graph.positions.detach().clone().requires_grad_()
            strain = torch.zeros_like(graph.cells).requires_grad_()
            change = torch.eye(3, dtype=graph.dtype, device=graph.device) + strain
            change = 0.5 * (change + change.transpose(1, 2))
            # Geometry is not for half precision, which autocast would do these products in.
            with torch.autocast(graph.device.type, enabled=False):
                moved = torch.einsum("ai,aij->aj", positions, change[graph.crystal_index])
                seen = seen.with_geometry(moved, graph.cells @ change)
        features = backbone(seen)
        if self.weighting == "balance":
            # Copies that only heads read: gradients by them do not run through the network.
            layers = tuple(layer.clone() for layer in features.layers)
            vectors = None if features.vectors is None else features.vectors.clone()
            features = AtomFeatures(layers[-1], vectors, layers)
        return View(
            graph, seen, hidden, labels, backbone, features, positions, strain, seed, progress, part
        )

    def _total(
        self, terms: list[Tensor], places: list[int], weights: list[float], view: View
    ) -> Tensor:
        losses = torch.stack(terms)
        weight = losses.new_tensor(weights)
        if self.weighting == "fixed":
            return (weight * losses).sum()
        if self.weighting == "uncertainty":
            widths = self.log_widths[places]
            # The width itself is added once, not once a part.
            added = widths if view.part is None else widths / view.part.n_parts
            return (weight * (losses * torch.exp(-widths) + added)).sum()
        if self.training and torch.is_grad_enabled():
            self._measure(terms, places, view)
        norms = self.norms[places]
        known = norms > 0
        mean = norms[known].mean() if bool(known.any()) else norms.new_ones(())
        factors = torch.where(known, mean / norms.clamp(min=1e-12), torch.ones_like(norms))
        return (weight * factors * losses).sum()

    @torch.no_grad()
    def _measure(self, losses: list[Tensor], places: list[int], view: View) -> None:
        """Update the running means of the norms of gradients by the features."""
        features = list(view.features.layers)
        if view.features.vectors is not None:
            features.append(view.features.vectors)
        squares = []
        for loss, place in zip(losses, places, strict=True):
            if not self.measured[place]:
                squares.append(loss.new_zeros(()))
                continue
            with torch.enable_grad():
                grads = torch.autograd.grad(loss, features, retain_graph=True, allow_unused=True)
            squares.append(torch.stack([g.square().sum() for g in grads if g is not None]).sum())
        # Parts have features of their own, so that the squares of the whole batch are their sum.
        total = torch.stack(squares)
        norms = (total if view.part is None else view.part.sum(total)).sqrt()
        for norm, place in zip(norms, places, strict=True):
            if self.measured[place]:
                old = self.norms[place]
                share = torch.where(old > 0, 1 / _BALANCE_STEPS, 1.0)
                self.norms[place] = old + share * (norm - old)
