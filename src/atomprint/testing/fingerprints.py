"""The laws of a fingerprint, each a function that raises when it is broken.

A package that adds a fingerprint runs them over it::

    import pytest
    from atomprint.testing.fingerprints import LAWS, check

    @pytest.mark.parametrize("law", LAWS)
    def test_laws(law):
        check(law, MySettings().build())

A fingerprint for which a law cannot hold says so in its ``exempt``, with the reason.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor

from atomprint.fingerprints.base import Fingerprint
from atomprint.structures.crystal import Crystal, FloatArray
from atomprint.structures.graph import GraphBatch

TOLERANCE = 1e-10
"""Largest difference in float64, in units of the largest value of a column."""

TOLERANCE_FLOAT32 = 1e-5
"""The same between float32 and float64."""


class LawBroken(AssertionError):
    """A fingerprint does not do what every fingerprint promises."""


def sample_crystals() -> list[Crystal]:
    """Small crystals in general position: no distance or angle is special.

    One atom in a triclinic cell, two in a skewed one, and five of different elements.
    """
    one = [[3.11, 0.12, 0.23], [0.91, 3.02, -0.31], [0.42, 0.73, 3.33]]
    two = [[3.9, 0.2, 0.1], [7.4, 3.6, 0.3], [-3.5, 0.7, 4.1]]
    five = [[4.4, 0.3, 0.0], [-0.5, 4.1, 0.6], [0.2, 0.1, 4.9]]
    places = [
        [0.03, 0.11, 0.07],
        [0.52, 0.46, 0.05],
        [0.49, 0.03, 0.53],
        [0.01, 0.55, 0.48],
        [0.57, 0.51, 0.61],
    ]
    return [
        Crystal.make("one", [29], one, frac=[[0.31, 0.12, 0.45]]),
        Crystal.make("two", [11, 17], two, frac=[[0.1, 0.2, 0.3], [0.57, 0.72, 0.84]]),
        Crystal.make("five", [8, 22, 56, 7, 3], five, frac=places),
    ]


def check(law: str, fingerprint: Fingerprint) -> bool:
    """Check one law by its name.

    Returns
    -------
    bool
        Whether it was checked: False if the fingerprint is exempt.

    Raises
    ------
    LawBroken
        If it does not hold, or if an exemption gives no reason or names no law.
    """
    for name, reason in fingerprint.exempt.items():
        if name not in LAWS:
            raise LawBroken(f"exempt from {name!r}, which is no law; laws: {', '.join(LAWS)}")
        if not reason.strip():
            raise LawBroken(f"exempt from {name!r} without a reason")
    if law in fingerprint.exempt:
        return False
    LAWS[law](fingerprint)
    return True


def values_of(
    fingerprint: Fingerprint, crystals: Sequence[Crystal], dtype: torch.dtype = torch.float64
) -> Tensor:
    """Values for some crystals, over a graph built at the fingerprint's own cutoff."""
    with torch.no_grad():
        return fingerprint(GraphBatch.from_crystals(crystals, fingerprint.cutoff, dtype))


def rotation(fingerprint: Fingerprint) -> None:
    """A rotated crystal has the same values."""
    turn = _some_rotation()
    turned = [c.with_geometry(c.positions @ turn, c.cell @ turn) for c in sample_crystals()]
    _same(fingerprint, turned, "a rotation changes values")


def translation(fingerprint: Fingerprint) -> None:
    """A crystal moved as a whole has the same values."""
    shift = np.array([1.37, -20.11, 3.3])
    moved = [c.with_geometry(c.positions + shift, c.cell) for c in sample_crystals()]
    _same(fingerprint, moved, "a translation changes values")


def permutation(fingerprint: Fingerprint) -> None:
    """Rows follow the atoms, and a crystal's row does not know their order."""
    crystals = sample_crystals()
    order = [np.arange(c.n_atoms)[::-1].copy() for c in crystals]
    shuffled = [
        replace(c, numbers=c.numbers[o], positions=c.positions[o])
        for c, o in zip(crystals, order, strict=True)
    ]
    wanted = values_of(fingerprint, crystals)
    if fingerprint.per == "atom":
        starts = np.cumsum([0] + [c.n_atoms for c in crystals])
        rows = np.concatenate([s + o for s, o in zip(starts, order, strict=False)])
        wanted = wanted[torch.from_numpy(rows)]
    _close(fingerprint, values_of(fingerprint, shuffled), wanted, "the order of atoms matters")


def wrapping(fingerprint: Fingerprint) -> None:
    """An atom's image in another cell is the same atom."""
    images = np.array([[0, 0, 0], [1, 0, -2], [-1, 3, 0], [0, 0, 5], [2, -2, 1]])
    moved = [
        c.with_geometry(c.positions + images[-c.n_atoms :] @ c.cell, c.cell)
        for c in sample_crystals()
    ]
    _same(fingerprint, moved, "the choice of an atom's image matters")


def lattice(fingerprint: Fingerprint) -> None:
    """Other vectors that span the same lattice describe the same crystal."""
    other = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
    chosen = [c.with_geometry(c.positions, other @ c.cell) for c in sample_crystals()]
    _same(fingerprint, chosen, "the choice of lattice vectors matters")


def supercell(fingerprint: Fingerprint) -> None:
    """A repeated cell has the values of the cell, for every copy of an atom."""
    _same_in_supercell(fingerprint, sample_crystals(), (2, 1, 3), "a supercell has other values")


def small_cell(fingerprint: Fingerprint) -> None:
    """A cell smaller than the cutoff counts every image.

    The other side is a supercell so large that no atom sees two images of another.
    """
    crystal = sample_crystals()[0]
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    repeats = np.ceil((2 * fingerprint.cutoff + 0.1) / heights).astype(int)
    message = "a cell smaller than the cutoff misses images"
    _same_in_supercell(fingerprint, [crystal], (repeats[0], repeats[1], repeats[2]), message)


def lone_atom(fingerprint: Fingerprint) -> None:
    """Without neighbours values and gradients are finite, and other crystals are not disturbed."""
    side = 3 * fingerprint.cutoff
    lone = Crystal.make("lone", [26], np.diag([side, side, side]), frac=[[0.1, 0.2, 0.3]])
    crystals = [lone, sample_crystals()[2]]
    for chosen in ([lone], crystals):
        graph = GraphBatch.from_crystals(chosen, fingerprint.cutoff, torch.float64)
        graph = graph.with_geometry(graph.positions.clone().requires_grad_())
        values = fingerprint(graph)
        gradient = _gradient(values.sum(), graph.positions)
        if not (torch.isfinite(values).all() and torch.isfinite(gradient).all()):
            raise LawBroken("an atom without neighbours gives values or gradients not finite")
    alone = values_of(fingerprint, crystals[1:])
    together = values_of(fingerprint, crystals)[-len(alone) :]
    _close(fingerprint, together, alone, "an atom without neighbours disturbs other crystals")


def smooth(fingerprint: Fingerprint) -> None:
    """Values and first derivatives do not jump when a neighbour crosses the cutoff."""
    cutoff, step = fingerprint.cutoff, 1e-6
    side = 4 * cutoff
    direction = np.array([0.48, 0.64, 0.6])
    near = np.array([0.2, -0.1, 0.3]) * cutoff

    def at(distance: float) -> Tensor:
        xyz = np.stack([np.zeros(3), near, direction * distance]) + side / 3
        crystal = Crystal.make("three", [14, 8, 20], np.eye(3) * side, positions=xyz)
        return values_of(fingerprint, [crystal])[0]

    grid = np.linspace(0.35, 0.99, 40) * cutoff
    size = _size_by_unit(fingerprint, torch.stack([at(x) for x in grid]))
    inside = [at(cutoff - k * step) for k in (2, 1)]
    outside = [at(cutoff + k * step) for k in (1, 2)]
    # Slopes of the two sides; the third atom also moves relative to the second, smoothly.
    before, after = (inside[1] - inside[0]) / step, (outside[1] - outside[0]) / step
    jump = outside[0] - inside[1] - step * (before + after)
    worst = float((jump.abs() / size).max())
    if not worst < 2e-5:
        raise LawBroken(f"values jump by {worst:.1e} of their size at the cutoff")
    kink = float(((before - after).abs() / size).max()) * cutoff
    if not kink < 2e-2:
        raise LawBroken(f"slopes jump at the cutoff, by {kink:.1e} of a column's size per cutoff")


def gradient(fingerprint: Fingerprint) -> None:
    """Gradients in positions and cells are those of finite differences, in float64."""
    graph = GraphBatch.from_crystals(sample_crystals(), fingerprint.cutoff, torch.float64)
    generator = torch.Generator().manual_seed(0)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=torch.float64)

    with torch.no_grad():
        plain = fingerprint(graph)
    weights = noise(plain) / _scale(plain)

    def projected(positions: Tensor, cells: Tensor) -> Tensor:
        return (fingerprint(graph.with_geometry(positions, cells)) * weights).sum()

    positions = graph.positions.clone().requires_grad_()
    cells = graph.cells.clone().requires_grad_()
    for name, leaf in (("positions", positions), ("cells", cells)):
        direction, step = noise(leaf), 1e-5
        exact = float((_gradient(projected(positions, cells), leaf) * direction).sum())
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                moved = leaf + sign * step * direction
                ends.append(
                    projected(moved, cells) if name == "positions" else projected(positions, moved)
                )
            measured = float(ends[0] - ends[1]) / (2 * step)
        if not abs(exact - measured) <= 1e-5 * (abs(measured) + 0.1):
            raise LawBroken(
                f"the gradient in {name} is {exact:.8g}, finite differences give {measured:.8g}"
            )


def batch(fingerprint: Fingerprint) -> None:
    """A crystal's values do not depend on what else is in the batch."""
    crystals = sample_crystals()
    single = torch.cat([values_of(fingerprint, [c]) for c in crystals])
    _close(fingerprint, values_of(fingerprint, crystals), single, "the rest of the batch matters")


def untouched(fingerprint: Fingerprint) -> None:
    """The graph is only read, and asking twice gives the same answer."""
    graph = GraphBatch.from_crystals(sample_crystals(), fingerprint.cutoff, torch.float64)
    copies = {
        f.name: getattr(graph, f.name).clone()
        for f in fields(graph)
        if isinstance(getattr(graph, f.name), Tensor)
    }
    with torch.no_grad():
        first = fingerprint(graph).clone()
        second = fingerprint(graph)
    for name, copy in copies.items():
        if not torch.equal(getattr(graph, name), copy):
            raise LawBroken(f"the graph's {name} were changed")
    if not torch.equal(first, second):
        raise LawBroken("asking twice gives two answers")


def labels(fingerprint: Fingerprint) -> None:
    """Every column has a name of its own and a unit; rows and float type are the graph's."""
    crystals = sample_crystals()
    for dtype in (torch.float32, torch.float64):
        values = values_of(fingerprint, crystals, dtype)
        n_rows = len(crystals) if fingerprint.per == "crystal" else sum(c.n_atoms for c in crystals)
        if values.shape != (n_rows, fingerprint.n_features):
            raise LawBroken(
                f"values of shape {tuple(values.shape)}, not {(n_rows, fingerprint.n_features)}"
            )
        if values.dtype != dtype:
            raise LawBroken(f"values of type {values.dtype} over a graph of type {dtype}")
    if len(set(fingerprint.labels())) != fingerprint.n_features or not all(fingerprint.labels()):
        raise LawBroken("two columns have the same label, or one has none")
    if len(fingerprint.units) != fingerprint.n_features or not all(fingerprint.units):
        raise LawBroken(f"{len(fingerprint.units)} units for {fingerprint.n_features} columns")
    if not all(label.startswith(f"{fingerprint.kind}.") for label in fingerprint.labels()):
        raise LawBroken(f"a label does not begin with the kind, {fingerprint.kind!r}")


def float32(fingerprint: Fingerprint) -> None:
    """float32 gives the values of float64 to 1e-5 of a column's size."""
    crystals = sample_crystals()
    single = values_of(fingerprint, crystals, torch.float32).double()
    double = values_of(fingerprint, crystals)
    # A column that is small because large terms cancel in it cannot keep its digits.
    error = (single - double).abs() / _size_by_unit(fingerprint, double)
    worst = float(error.max())
    if not worst <= TOLERANCE_FLOAT32:
        column = fingerprint.labels()[int(torch.nan_to_num(error, nan=math.inf).amax(0).argmax())]
        raise LawBroken(f"float32 differs from float64 by {worst:.1e} in column {column}")


def cutoff(fingerprint: Fingerprint) -> None:
    """A graph built at a larger cutoff gives the same values: farther neighbours do nothing."""
    crystals = sample_crystals()
    larger = GraphBatch.from_crystals(crystals, fingerprint.cutoff + 1.5, torch.float64)
    with torch.no_grad():
        values = fingerprint(larger)
    message = "neighbours beyond the cutoff change values"
    _close(fingerprint, values, values_of(fingerprint, crystals), message)


LAWS: dict[str, Callable[[Fingerprint], None]] = {
    law.__name__: law
    for law in (
        rotation,
        translation,
        permutation,
        wrapping,
        lattice,
        supercell,
        small_cell,
        lone_atom,
        smooth,
        gradient,
        batch,
        untouched,
        labels,
        float32,
        cutoff,
    )
}
"""Every law by its name."""


def _some_rotation() -> FloatArray:
    """A proper rotation about no special axis, by one radian."""
    axis = np.array([0.36, 0.48, 0.8])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn: FloatArray = np.eye(3) + math.sin(1) * cross + (1 - math.cos(1)) * cross @ cross
    return turn


def _same_in_supercell(
    fingerprint: Fingerprint,
    crystals: Sequence[Crystal],
    repeats: tuple[int, int, int],
    message: str,
) -> None:
    """Compare crystals with their supercells, whose copies of the cell follow one another."""
    cells = np.array([[i, j, k] for i, j, k in np.ndindex(*repeats)])
    large = [
        Crystal.make(
            c.id,
            np.tile(c.numbers, len(cells)),
            np.diag(repeats) @ c.cell,
            positions=(cells @ c.cell)[:, None, :] + c.positions,
        )
        for c in crystals
    ]
    for crystal, repeated in zip(crystals, large, strict=True):
        wanted = values_of(fingerprint, [crystal])
        if fingerprint.per == "atom":
            wanted = wanted.repeat(len(cells), 1)
        _close(fingerprint, values_of(fingerprint, [repeated]), wanted, message)


def _same(fingerprint: Fingerprint, crystals: Sequence[Crystal], message: str) -> None:
    """Compare values with those of the sample crystals."""
    wanted = values_of(fingerprint, sample_crystals())
    _close(fingerprint, values_of(fingerprint, crystals), wanted, message)


def _close(
    fingerprint: Fingerprint,
    values: Tensor,
    wanted: Tensor,
    message: str,
) -> None:
    if values.shape != wanted.shape:
        raise LawBroken(f"{message}: shapes {tuple(values.shape)} and {tuple(wanted.shape)}")
    error = (values - wanted).abs() / _scale(wanted)
    worst = float(error.max())
    if not worst <= TOLERANCE:  # written so that NaN fails too
        column = int(torch.nan_to_num(error, nan=math.inf).amax(0).argmax())
        name = fingerprint.labels()[column] if column < len(fingerprint.labels()) else str(column)
        raise LawBroken(f"{message}: by {worst:.1e} of its size in column {name}")


def _scale(values: Tensor) -> Tensor:
    """Size of each column; columns that are zero by symmetry count a millionth of the largest."""
    size = values.abs().amax(0)
    return size + 1e-6 * size.max() + 1e-300


def _size_by_unit(fingerprint: Fingerprint, values: Tensor) -> Tensor:
    """Size of each column, at least a hundredth of the largest column of the same unit."""
    size = values.abs().amax(0)
    for unit in set(fingerprint.units):
        same = torch.tensor([other == unit for other in fingerprint.units])
        size[same] = size[same].clamp_min(0.01 * float(size[same].max()))
    return size + 1e-300


def _gradient(value: Tensor, leaf: Tensor) -> Tensor:
    """Gradient of a number, zero where it does not depend on the leaf."""
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(value, leaf, allow_unused=True, materialize_grads=True)
    return gradient
