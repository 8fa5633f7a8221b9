"""From a plan to a crystal: placed, relaxed, and rejected without the right bonds."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from atomprint.data.sources.frameworks.placement import Placement
from atomprint.data.sources.frameworks.plans import Plan, draw_plan
from atomprint.data.sources.packing import CONTACT, relax, shortest_cell
from atomprint.ground import elements

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WORST_BOND, WORST_RIGID, WORST_CONTACT = 0.2, 0.15, 0.82
"""A crystal is rejected when a metal's bond is off by more (Å), a distance within a rigid piece is
(Å), or atoms come nearer than this part of their contact distance."""


@dataclass(frozen=True)
class Framework:
    """A crystal that was assembled.

    Attributes
    ----------
    numbers, positions, cell
        Atoms, Å, rows.
    net
        Its net's name.
    dimension
        Directions in which its bonds go on.
    nodes
        Names of its metal nodes.
    bonds
        Donor atoms that each metal is to have, by atom.
    """

    numbers: IntArray
    positions: FloatArray
    cell: FloatArray
    net: str
    dimension: int
    nodes: tuple[str, ...]
    bonds: dict[int, int]


def assemble(plan: Plan, rng: np.random.Generator, pressure: float) -> Framework | str:
    """Build a plan; the reason in a word where it does not come out."""
    work = Placement(plan, rng)
    cell = work.place()
    if cell is None:
        return "net"
    work.angles_at_metals()
    springs = work.collected()
    names = [elements.symbols[z] for z in work.numbers]
    radius = np.array([CONTACT.get(name, 0.0) for name in names])
    for node, start in zip(plan.nodes, work.first, strict=False):
        for k, name in enumerate(elements.symbols[z] for z in node.numbers):
            if name not in CONTACT:
                radius[start + k] = 1.0 + 0.75 * node.radius
    polar = np.zeros(len(names), dtype=bool)
    for k, part in enumerate(plan.ligands):
        start = work.first[len(plan.nodes) + k]
        polar[start : start + len(part.numbers)] = part.polar
    accepts = np.isin(names, ["N", "O", "F", "Cl", "Br", "I", "S"])
    positions, cell, closest = relax(
        work.positions, cell, radius, springs, polar, accepts, pressure=pressure
    )
    steps = positions[springs.second] + springs.shift @ cell - positions[springs.first]
    miss = np.abs(np.linalg.norm(steps, axis=1) - springs.length)
    metal = np.isin(springs.first, list(work.bonded)) | np.isin(springs.second, list(work.bonded))
    hard = springs.stiffness == 1.0
    if miss[hard & metal].max(initial=0.0) > WORST_BOND:
        return "bond"
    if miss[hard & ~metal].max(initial=0.0) > WORST_RIGID:
        return "rigid"
    if closest < WORST_CONTACT:
        return "contact"
    return Framework(
        work.numbers, positions, cell, plan.net.name, plan.net.dimension,
        tuple(node.name for node in plan.nodes), work.bonded,
    )  # fmt: skip


PRESSURE, SPREAD = 0.003, 0.45
"""Median of the pressures (1/Å) that crystals are relaxed at, and the spread of its logarithm."""
POROUS_SHARE, POROUS_PRESSURE = 0.12, 2e-4
"""Crystals that keep their pores, as after the solvent is gone."""


def make_framework(
    seed: tuple[int, ...], max_atoms: int, most_tries: int, rejected: Counter[str]
) -> Framework | None:
    """Draw plans and build them until one comes out.

    Parameters
    ----------
    seed
        Of all choices; the same one gives the same crystal.
    max_atoms
        Largest number of atoms.
    most_tries
        Plans to draw at most; None comes back after that.
    rejected
        Where reasons for rejecting are counted.
    """
    for attempt in range(most_tries):
        rng = np.random.default_rng((*seed, attempt))
        plan = draw_plan(rng, max_atoms)
        if plan is None:
            rejected["plan"] += 1
            continue
        pressure = PRESSURE * float(np.exp(rng.normal(0, SPREAD)))
        if rng.random() < POROUS_SHARE:
            pressure = POROUS_PRESSURE
        found = assemble(plan, rng, pressure)
        if isinstance(found, Framework):
            positions, cell = shortest_cell(found.positions, found.cell)
            return replace(found, positions=positions, cell=cell)
        rejected[found] += 1
    return None
