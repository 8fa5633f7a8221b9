"""The laws of a backbone, each a function that raises when it is broken.

A package that adds a backbone runs them over it::

    import pytest
    from atomprint.testing.backbones import LAWS, check

    @pytest.mark.parametrize("law", LAWS)
    def test_laws(law):
        check(law, MySettings().build)

A law gets what *builds* a backbone, since one of them compares two of the same settings. It moves
every weight a little from where it starts first: a bias that starts at zero can hide a fault
until it is trained. A backbone for which a law cannot hold says so in its ``exempt``, with the
reason.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from atomprint.backbones.base import AtomFeatures, Backbone
from atomprint.structures.crystal import Crystal, FloatArray
from atomprint.structures.graph import GraphBatch
from atomprint.testing.fingerprints import LawBroken, sample_crystals

__all__ = ["LAWS", "LawBroken", "check", "features_of", "prepared", "sample_crystals"]

TOLERANCE = 1e-9
"""Largest difference in float64, in units of the largest value."""

Build = Callable[[], Backbone]
"""Makes a backbone with new random weights: a settings' ``build``."""


def check(law: str, build: Build) -> bool:
    """Check one law by its name.

    Returns
    -------
    bool
        Whether it was checked: False if the backbone is exempt.

    Raises
    ------
    LawBroken
        If it does not hold, or if an exemption gives no reason or names no law.
    """
    exempt = build().exempt
    for name, reason in exempt.items():
        if name not in LAWS:
            raise LawBroken(f"exempt from {name!r}, which is no law; laws: {', '.join(LAWS)}")
        if not reason.strip():
            raise LawBroken(f"exempt from {name!r} without a reason")
    if law in exempt:
        return False
    LAWS[law](build)
    return True


def prepared(build: Build, seed: int = 0) -> Backbone:
    """Build one in float64, with every weight moved a little, the same at every call.

    By a tenth of the spread of its tensor, or by 0.1 where all start equal (biases, norms): much
    more would make a deep network so stiff that rounding shows.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build().double().eval()
        with torch.no_grad():
            for parameter in backbone.parameters():
                spread = float(parameter.std(correction=0))
                parameter.add_(0.1 * (spread or 1.0) * torch.randn_like(parameter))
    return backbone


def features_of(backbone: Backbone, crystals: Sequence[Crystal]) -> AtomFeatures:
    """Features for some crystals in float64, over a graph built at the backbone's own cutoff."""
    with torch.no_grad():
        graph = GraphBatch.from_crystals(crystals, backbone.cutoff, torch.float64)
        found: AtomFeatures = backbone(graph)
        return found


def features(build: Build) -> None:
    """Shapes are those of the contract, the float type is the graph's, scalars the last layer."""
    crystals = sample_crystals()
    backbone = build()
    n_atoms = sum(crystal.n_atoms for crystal in crystals)
    for dtype in (torch.float32, torch.float64):
        graph = GraphBatch.from_crystals(crystals, backbone.cutoff, dtype)
        found = backbone.to(dtype)(graph)
        wanted: dict[str, tuple[int, ...]] = {"scalars": (n_atoms, backbone.n_channels)}
        if found.vectors is not None:
            wanted["vectors"] = (n_atoms, 3, backbone.n_channels)
        for name, shape in wanted.items():
            value = getattr(found, name)
            if value.shape != shape:
                raise LawBroken(f"{name} of shape {tuple(value.shape)}, not {shape}")
            if value.dtype != dtype:
                raise LawBroken(f"{name} of type {value.dtype} over a graph of type {dtype}")
        if not found.layers or not torch.equal(found.layers[-1], found.scalars):
            raise LawBroken("the last of the layers is not the scalars")
        for index, value in enumerate(found.layers):
            if value.shape != found.scalars.shape or value.dtype != dtype:
                raise LawBroken(
                    f"layer {index} of shape {tuple(value.shape)} and type {value.dtype}, "
                    f"not {tuple(found.scalars.shape)} and {dtype}"
                )


def rotation(build: Build) -> None:
    """In a rotated crystal scalars are the same and vectors are rotated."""
    _turned(build, _some_rotation(), "a rotation")


def reflection(build: Build) -> None:
    """In a crystal's mirror image scalars are the same and vectors are mirrored."""
    _turned(build, _some_rotation() @ np.diag([1.0, 1.0, -1.0]), "a reflection")


def translation(build: Build) -> None:
    """A crystal moved as a whole has the same features."""
    shift = np.array([1.37, -20.11, 3.3])
    moved = [c.with_geometry(c.positions + shift, c.cell) for c in sample_crystals()]
    _same(build, moved, "a translation changes")


def permutation(build: Build) -> None:
    """Rows follow the atoms, and an atom's row does not know their order."""
    crystals = sample_crystals()
    order = [np.arange(c.n_atoms)[::-1].copy() for c in crystals]
    shuffled = [
        replace(c, numbers=c.numbers[o], positions=c.positions[o])
        for c, o in zip(crystals, order, strict=True)
    ]
    starts = np.cumsum([0] + [c.n_atoms for c in crystals])
    rows = torch.from_numpy(
        np.concatenate([s + o for s, o in zip(starts[:-1], order, strict=True)])
    )
    backbone = prepared(build)
    wanted = _rows(features_of(backbone, crystals), rows)
    _close(features_of(backbone, shuffled), wanted, "the order of atoms changes")


def wrapping(build: Build) -> None:
    """An atom's image in another cell is the same atom."""
    images = np.array([[0, 0, 0], [1, 0, -2], [-1, 3, 0], [0, 0, 5], [2, -2, 1]])
    moved = [
        c.with_geometry(c.positions + images[-c.n_atoms :] @ c.cell, c.cell)
        for c in sample_crystals()
    ]
    _same(build, moved, "the choice of an atom's image changes")


def lattice(build: Build) -> None:
    """Other vectors that span the same lattice describe the same crystal."""
    other = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
    chosen = [c.with_geometry(c.positions, other @ c.cell) for c in sample_crystals()]
    _same(build, chosen, "the choice of lattice vectors changes")


def supercell(build: Build) -> None:
    """A repeated cell has the features of the cell, for every copy of an atom."""
    _same_in_supercell(build, sample_crystals(), (2, 1, 3), "a supercell changes")


def small_cell(build: Build) -> None:
    """A cell smaller than the cutoff counts every image.

    The other side is a supercell so large that no atom sees two images of another.
    """
    message = "a cell smaller than the cutoff misses images, which changes"
    # With one atom a cell, every atom is a centre of inversion and has no vectors to compare.
    for crystal in sample_crystals()[:2]:
        heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
        repeats = np.ceil((2 * build().cutoff + 0.1) / heights).astype(int)
        _same_in_supercell(build, [crystal], (repeats[0], repeats[1], repeats[2]), message)


def lone_atom(build: Build) -> None:
    """Without neighbours features and derivatives are finite, and others are not disturbed."""
    backbone = prepared(build)
    side = 3 * backbone.cutoff
    lone = Crystal.make("lone", [26], np.diag([side, side, side]), frac=[[0.1, 0.2, 0.3]])
    crystals = [lone, sample_crystals()[2]]
    for chosen in ([lone], crystals):
        _finite(backbone, chosen, "an atom without neighbours")
    alone = features_of(backbone, crystals[1:])
    together = features_of(backbone, crystals)
    rows = torch.arange(1, 1 + len(alone.scalars))
    _close(_rows(together, rows), alone, "an atom without neighbours in the batch changes")


def inversion_center(build: Build) -> None:
    """Where vectors vanish by symmetry, features and derivatives are finite all the same."""
    backbone = prepared(build)
    # A chain: two neighbours on opposite sides, whose contributions cancel to the last digit.
    sides = backbone.cutoff * np.array([0.6, 3.0, 3.0])
    chain = Crystal.make("chain", [29], np.diag(sides), frac=[[0.0, 0.0, 0.0]])
    _finite(backbone, [chain], "a centre of inversion")


def cutoff(build: Build) -> None:
    """A graph built at a larger cutoff gives the same: farther neighbours do nothing."""
    backbone = prepared(build)
    crystals = sample_crystals()
    larger = GraphBatch.from_crystals(crystals, backbone.cutoff + 1.5, torch.float64)
    with torch.no_grad():
        found = backbone(larger)
    _close(found, features_of(backbone, crystals), "neighbours beyond the cutoff change")


def smooth(build: Build) -> None:
    """Features and their slopes do not jump when a neighbour crosses the cutoff."""
    backbone = prepared(build)
    reach, step = backbone.cutoff, 1e-6
    side = 4 * reach
    direction = np.array([0.48, 0.64, 0.6])
    near = np.array([0.2, -0.1, 0.3]) * reach

    def at(distances: Sequence[float]) -> Tensor:
        crystals = []
        for distance in distances:
            xyz = np.stack([np.zeros(3), near, direction * distance]) + side / 3
            crystals.append(Crystal.make("three", [14, 8, 20], np.eye(3) * side, positions=xyz))
        found = features_of(backbone, crystals)
        return torch.stack(
            [_flat(_rows(found, torch.arange(3) + 3 * i)) for i in range(len(crystals))]
        )

    # Sizes are how much features change over distances where the neighbour matters.
    grid = at([float(x) for x in np.linspace(0.35, 0.99, 20) * reach])
    size = float((grid.amax(0) - grid.amin(0)).max()) + 1e-300
    inside = at([reach - k * step for k in (2, 1)])
    outside = at([reach + k * step for k in (1, 2)])
    # Slopes of the two sides; the third atom also moves relative to the second, smoothly.
    before, after = (inside[1] - inside[0]) / step, (outside[1] - outside[0]) / step
    jump = float((outside[0] - inside[1] - step * (before + after)).abs().max()) / size
    if not jump < 1e-7:
        raise LawBroken(f"features jump at the cutoff, by {jump:.1e} of their change with distance")
    kink = float((before - after).abs().max()) / size * reach
    if not kink < 1e-3:
        raise LawBroken(f"slopes jump at the cutoff, by {kink:.1e} of features' change per cutoff")


def parameters(build: Build) -> None:
    """Every tensor of weights gets a gradient."""
    backbone = prepared(build)
    graph = GraphBatch.from_crystals(sample_crystals(), backbone.cutoff, torch.float64)
    backbone.zero_grad()
    _number(backbone(graph)).backward()  # type: ignore[no-untyped-call]
    slopes = {
        name: 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
        for name, parameter in backbone.named_parameters()
    }
    largest = max(slopes.values(), default=0.0)
    if not math.isfinite(largest):
        raise LawBroken("gradients of weights are not finite")
    # Not compared with zero: sums that cancel leave some rounding.
    idle = [name for name, slope in slopes.items() if not slope > 1e-12 * largest]
    if idle:
        raise LawBroken(f"no gradient for {', '.join(idle)}")


def forces(build: Build) -> None:
    """Derivatives in positions and cells are those of finite differences of an energy."""
    backbone = prepared(build)
    graph = GraphBatch.from_crystals(sample_crystals(), backbone.cutoff, torch.float64)

    def energy(positions: Tensor, cells: Tensor) -> Tensor:
        return _number(backbone(graph.with_geometry(positions, cells)))

    positions = graph.positions.clone().requires_grad_()
    cells = graph.cells.clone().requires_grad_()
    for name, leaf in (("positions", positions), ("cells", cells)):
        direction = _noise(leaf)
        exact = float((_gradient(energy(positions, cells), leaf) * direction).sum())

        def along(step: float, name: str = name, direction: Tensor = direction) -> float:
            with torch.no_grad():
                if name == "positions":
                    return float(energy(positions + step * direction, cells))
                return float(energy(positions, cells + step * direction))

        _agree(exact, along, f"the derivative in {name}")


def second_derivatives(build: Build) -> None:
    """Derivatives of forces, as training on forces needs them, are those of finite differences."""
    backbone = prepared(build)
    graph = GraphBatch.from_crystals(sample_crystals(), backbone.cutoff, torch.float64)
    weights, direction = _noise(graph.positions), _noise(graph.positions, 1)

    def slope(positions: Tensor, create_graph: bool) -> Tensor:
        energy = _number(backbone(graph.with_geometry(positions)))
        return (_gradient(energy, positions, create_graph) * weights).sum()

    def along(step: float) -> float:
        return float(slope((graph.positions + step * direction).requires_grad_(), False))

    positions = graph.positions.clone().requires_grad_()
    exact = float((_gradient(slope(positions, True), positions) * direction).sum())
    _agree(exact, along, "the second derivative in positions")


def batch(build: Build) -> None:
    """A crystal's features do not depend on what else is in the batch."""
    backbone = prepared(build)
    crystals = sample_crystals()
    single = [features_of(backbone, [c]) for c in crystals]
    vectors = [part.vectors for part in single if part.vectors is not None]
    wanted = AtomFeatures(
        torch.cat([part.scalars for part in single]),
        torch.cat(vectors) if vectors else None,
        tuple(torch.cat(each) for each in zip(*(p.layers for p in single), strict=True)),
    )
    _close(features_of(backbone, crystals), wanted, "the rest of the batch changes")


def saving(build: Build) -> None:
    """Weights written to safetensors and read into a new backbone give the very same features."""
    backbone, other = prepared(build), prepared(build, seed=1)
    content = save({name: t.contiguous() for name, t in backbone.state_dict().items()})
    try:
        other.load_state_dict(load(content))
    except RuntimeError as error:
        raise LawBroken(f"saved weights do not load: {error}") from error
    first = features_of(backbone, sample_crystals())
    second = features_of(other, sample_crystals())
    if not torch.equal(_flat(first), _flat(second)):
        raise LawBroken("features after saving and loading differ: some state is not saved")


def untouched(build: Build) -> None:
    """The graph and the weights are only read, and asking twice gives the same answer."""
    backbone = prepared(build)
    graph = GraphBatch.from_crystals(sample_crystals(), backbone.cutoff, torch.float64)
    copies = {
        f.name: getattr(graph, f.name).clone()
        for f in fields(graph)
        if isinstance(getattr(graph, f.name), Tensor)
    }
    weights = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with torch.no_grad():
        first = _flat(backbone(graph)).clone()
        second = _flat(backbone(graph))
    for name, copy in copies.items():
        if not torch.equal(getattr(graph, name), copy):
            raise LawBroken(f"the graph's {name} were changed")
    for name, tensor in backbone.state_dict().items():
        if not torch.equal(tensor, weights[name]):
            raise LawBroken(f"the backbone's {name} were changed")
    if not torch.equal(first, second):
        raise LawBroken("asking twice gives two answers")


LAWS: dict[str, Callable[[Build], None]] = {
    law.__name__: law
    for law in (
        features,
        rotation,
        reflection,
        translation,
        permutation,
        wrapping,
        lattice,
        supercell,
        small_cell,
        lone_atom,
        inversion_center,
        cutoff,
        smooth,
        parameters,
        forces,
        second_derivatives,
        batch,
        saving,
        untouched,
    )
}
"""Every law by its name."""


def _some_rotation() -> FloatArray:
    """A proper rotation about no special axis, by one radian."""
    axis = np.array([0.36, 0.48, 0.8])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn: FloatArray = np.eye(3) + math.sin(1) * cross + (1 - math.cos(1)) * cross @ cross
    return turn


def _turned(build: Build, turn: FloatArray, what: str) -> None:
    """Compare features of crystals and of their images under an orthogonal map of rows."""
    backbone = prepared(build)
    crystals = sample_crystals()
    turned = [c.with_geometry(c.positions @ turn, c.cell @ turn) for c in crystals]
    before = features_of(backbone, crystals)
    vectors = before.vectors
    if vectors is not None:
        vectors = torch.einsum("aic,ij->ajc", vectors, torch.from_numpy(turn))
    wanted = replace(before, vectors=vectors)
    _close(features_of(backbone, turned), wanted, f"{what} does the wrong thing to")


def _same(build: Build, crystals: Sequence[Crystal], message: str) -> None:
    """Compare features with those of the sample crystals."""
    backbone = prepared(build)
    _close(features_of(backbone, crystals), features_of(backbone, sample_crystals()), message)


def _same_in_supercell(
    build: Build, crystals: Sequence[Crystal], repeats: tuple[int, int, int], message: str
) -> None:
    """Compare crystals with their supercells, whose copies of the cell follow one another."""
    backbone = prepared(build)
    cells = np.array(list(np.ndindex(*repeats)))
    for crystal in crystals:
        large = Crystal.make(
            crystal.id,
            np.tile(crystal.numbers, len(cells)),
            np.diag(repeats) @ crystal.cell,
            positions=(cells @ crystal.cell)[:, None, :] + crystal.positions,
        )
        rows = torch.arange(crystal.n_atoms).repeat(len(cells))
        wanted = _rows(features_of(backbone, [crystal]), rows)
        _close(features_of(backbone, [large]), wanted, message)


def _rows(found: AtomFeatures, rows: Tensor) -> AtomFeatures:
    """Features of some atoms."""
    vectors = None if found.vectors is None else found.vectors[rows]
    return AtomFeatures(found.scalars[rows], vectors, tuple(layer[rows] for layer in found.layers))


def _flat(found: AtomFeatures) -> Tensor:
    """All features in one row."""
    parts = [found.scalars, *found.layers, *([] if found.vectors is None else [found.vectors])]
    return torch.cat([part.flatten() for part in parts])


def _close(found: AtomFeatures, wanted: AtomFeatures, message: str) -> None:
    """Compare scalars, layers and vectors each with its like, in units of the largest value."""
    if (found.vectors is None) != (wanted.vectors is None):
        raise LawBroken(f"{message} whether there are vectors")
    if len(found.layers) != len(wanted.layers):
        raise LawBroken(f"{message} the number of layers")
    pairs = [("scalars", found.scalars, wanted.scalars)]
    layers = zip(found.layers, wanted.layers, strict=True)
    pairs += [(f"layer {index}", *both) for index, both in enumerate(layers)]
    if found.vectors is not None and wanted.vectors is not None:
        pairs.append(("vectors", found.vectors, wanted.vectors))
    for name, value, other in pairs:
        if value.shape != other.shape:
            raise LawBroken(f"{message} the shape of {name}")
        # Vectors that vanish by symmetry are measured against the scalars.
        size = max(float(other.abs().max()), 1e-3 * float(wanted.scalars.abs().max()), 1e-300)
        worst = float((value - other).abs().max()) / size
        if not worst <= TOLERANCE:  # written so that NaN fails too
            raise LawBroken(f"{message} {name}: by {worst:.1e} of their size")


def _finite(backbone: Backbone, crystals: Sequence[Crystal], what: str) -> None:
    """Features, and first and second derivatives in positions, must be finite."""
    graph = GraphBatch.from_crystals(crystals, backbone.cutoff, torch.float64)
    graph = graph.with_geometry(graph.positions.clone().requires_grad_())
    found = backbone(graph)
    slope = _gradient(_number(found), graph.positions, create_graph=True)
    curvature = _gradient((slope * _noise(slope)).sum(), graph.positions)
    for name, value in {
        "features": _flat(found),
        "derivatives": slope,
        "second derivatives": curvature,
    }.items():
        if not torch.isfinite(value).all():
            raise LawBroken(f"{what} gives {name} that are not finite")


def _number(found: AtomFeatures) -> Tensor:
    """An invariant number that depends on every feature, and on each in its own way.

    Smooth, and of order one an atom whatever the size of the features: an energy to test with.
    """
    weights = _noise(found.scalars[0], 2)
    number = (torch.tanh(found.scalars) * weights).sum()
    for index, layer in enumerate(found.layers[:-1]):
        number = number + (torch.tanh(layer) * _noise(layer[0], 10 + index)).sum()
    if found.vectors is not None:
        squares = found.vectors.square().sum(dim=1)
        number = number + (squares / (1 + squares) * _noise(squares[0], 3)).sum()
    return number


def _noise(like: Tensor, seed: int = 0) -> Tensor:
    """Normal random numbers of a tensor's shape, in float64, the same at every call."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64)


def _gradient(value: Tensor, leaf: Tensor, create_graph: bool = False) -> Tensor:
    """Gradient of a number, zero where it does not depend on the leaf."""
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(
        value, leaf, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return gradient


def _agree(exact: float, along: Callable[[float], float], what: str) -> None:
    """Compare a derivative with central differences, the best of three steps (Å or 1).

    A deep network can be so stiff that the step must be small, a shallow one so soft that a small
    step drowns in rounding.
    """
    measured = [(along(step) - along(-step)) / (2 * step) for step in (1e-4, 1e-5, 1e-6)]
    closest = min(measured, key=lambda value: abs(value - exact))
    if not abs(exact - closest) <= 1e-6 * (abs(closest) + 0.1):
        raise LawBroken(f"{what} is {exact:.9g}, finite differences give {closest:.9g}")
