"""Metal nodes: single ions by their coordination polyhedra, and the clusters that MOFs are made of.

A node is a rigid piece with slots. A slot says where donor atoms bind: one atom of any ligand, or
the two oxygens of a carboxylate that bridges two metals.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atomprint.ground import elements

FloatArray = npt.NDArray[np.float64]

DONOR_RADIUS: dict[str, float] = {
    "O": 1.36, "N": 1.42, "C": 1.35, "F": 1.28, "S": 1.72, "Cl": 1.66, "Br": 1.80, "I": 2.00,
}  # fmt: skip
"""Å beside :data:`RADII`: oxygen's is Shannon's (O2-, three neighbours); the others were chosen so
that sums come out at the usual lengths of bonds to Zn, Cd and Ag."""

RADII: dict[tuple[str, int], dict[int, float]] = {
    ("Zn", 2): {4: 0.60, 5: 0.68, 6: 0.74},
    ("Cu", 2): {4: 0.57, 5: 0.65, 6: 0.73},
    ("Cu", 1): {2: 0.46, 3: 0.55, 4: 0.60},
    ("Cd", 2): {4: 0.78, 5: 0.87, 6: 0.95, 7: 1.03, 8: 1.10},
    ("Ag", 1): {2: 0.67, 3: 0.85, 4: 1.00},
    ("Co", 2): {4: 0.58, 5: 0.67, 6: 0.745},
    ("Ni", 2): {4: 0.49, 5: 0.63, 6: 0.69},
    ("Mn", 2): {4: 0.66, 5: 0.75, 6: 0.83, 7: 0.90},
    ("Fe", 2): {4: 0.63, 6: 0.78},
    ("Fe", 3): {6: 0.645},
    ("Mg", 2): {4: 0.57, 5: 0.66, 6: 0.72},
    ("Ca", 2): {6: 1.00, 7: 1.06, 8: 1.12},
    ("Sr", 2): {7: 1.21, 8: 1.26, 9: 1.31},
    ("Ba", 2): {8: 1.42, 9: 1.47},
    ("Pb", 2): {4: 0.98, 6: 1.19, 7: 1.23, 8: 1.29},
    ("Hg", 2): {2: 0.69, 4: 0.96, 6: 1.02},
    ("Li", 1): {4: 0.59, 6: 0.76},
    ("Na", 1): {4: 0.99, 5: 1.00, 6: 1.02},
    ("K", 1): {6: 1.38, 7: 1.46, 8: 1.51},
    ("Rb", 1): {6: 1.52, 8: 1.61},
    ("Cs", 1): {6: 1.67, 8: 1.74},
    ("Al", 3): {6: 0.535},
    ("Ga", 3): {4: 0.47, 6: 0.62},
    ("In", 3): {6: 0.80, 8: 0.92},
    ("Cr", 3): {6: 0.615},
    ("V", 3): {6: 0.64},
    ("Bi", 3): {6: 1.03, 8: 1.17},
    ("Pd", 2): {4: 0.64},
    ("Y", 3): {8: 1.019, 9: 1.075},
    ("La", 3): {8: 1.160, 9: 1.216},
    ("Pr", 3): {8: 1.126, 9: 1.179},
    ("Nd", 3): {8: 1.109, 9: 1.163},
    ("Sm", 3): {8: 1.079, 9: 1.132},
    ("Eu", 3): {8: 1.066, 9: 1.120},
    ("Gd", 3): {8: 1.053, 9: 1.107},
    ("Tb", 3): {8: 1.040, 9: 1.095},
    ("Dy", 3): {8: 1.027, 9: 1.083},
    ("Ho", 3): {8: 1.015, 9: 1.072},
    ("Er", 3): {8: 1.004, 9: 1.062},
    ("Yb", 3): {8: 0.985, 9: 1.042},
    ("Zr", 4): {8: 0.84},
    ("Hf", 4): {8: 0.83},
}
"""Effective ionic radii in Å by element, charge and coordination number: Shannon, Acta Cryst. A 32,
751 (1976). Where Shannon has no such number of neighbours (three for silver and copper, four for
magnesium's kin), values lie between those of its neighbours."""

IONS: dict[tuple[str, int], float] = {
    ("Zn", 2): 18, ("Cu", 2): 16, ("Cu", 1): 13, ("Cd", 2): 18, ("Ag", 1): 22, ("Co", 2): 5,
    ("Ni", 2): 2.5, ("Mn", 2): 8, ("Fe", 2): 2, ("Fe", 3): 0.7, ("Mg", 2): 1.5, ("Ca", 2): 3,
    ("Sr", 2): 2, ("Ba", 2): 2.5, ("Pb", 2): 4, ("Hg", 2): 9, ("Li", 1): 6, ("Na", 1): 7,
    ("K", 1): 7, ("Rb", 1): 2.5, ("Cs", 1): 3, ("Al", 3): 0.7, ("Ga", 3): 0.5, ("In", 3): 0.5,
    ("Cr", 3): 0.4, ("V", 3): 0.4, ("Bi", 3): 0.7, ("Pd", 2): 0.7, ("Y", 3): 0.7, ("La", 3): 1.4,
    ("Pr", 3): 1, ("Nd", 3): 1.2, ("Sm", 3): 0.9, ("Eu", 3): 0.9, ("Gd", 3): 1, ("Tb", 3): 1,
    ("Dy", 3): 1, ("Ho", 3): 0.8, ("Er", 3): 0.8, ("Yb", 3): 0.6,
}  # fmt: skip
"""How often an ion is drawn, so that it comes out about as often as it is met in small cells of
QMOF: some more often than others come to a plan whose charges add up."""

_SQUARE = {"Cu", "Ni", "Pd"}
"""Four-coordinate and then flat, when doubly charged."""


@dataclass(frozen=True)
class Slot:
    """Where one ligand binds.

    Attributes
    ----------
    metals
        The node's atoms that are bound to, one for each donor atom.
    directions
        From each of them to its donor, unit vectors ``(n_donors, 3)``.
    next_cell
        Whether that metal is the one of the next node along a rod, one for each donor.
    stretch
        Å that its bonds are longer than the sum of radii.
    only_carboxylate
        Whether nothing else fits.
    """

    metals: tuple[int, ...]
    directions: FloatArray
    next_cell: tuple[bool, ...] = (False,)
    stretch: float = 0.0
    only_carboxylate: bool = False


@dataclass(frozen=True)
class Node:
    """A metal ion, or a cluster.

    Attributes
    ----------
    name
        For instance ``Zn4O``.
    numbers, positions
        Atoms; Å around the middle.
    slots
        Where ligands bind.
    charge
        Without ligands.
    radius
        Of the metal in Å, see :data:`RADII`.
    rod
        Two slots, the last two, that are joined to the next nodes along a rod by one oxygen each.
    """

    name: str
    numbers: npt.NDArray[np.int64]
    positions: FloatArray
    slots: tuple[Slot, ...]
    charge: int
    radius: float
    rod: bool = False

    @property
    def single(self) -> bool:
        """Whether it is one ion, all of whose slots are alike."""
        return len(self.numbers) == 1


def _ring(n: int, height: float = 0.0, turn: float = 0.0) -> FloatArray:
    angle = 2 * np.pi * np.arange(n) / n + turn
    rows = np.stack([np.cos(angle), np.sin(angle), np.full(n, height)], 1)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


_UP_DOWN = np.array([[0, 0, 1.0], [0, 0, -1.0]])
POLYHEDRA: dict[str, FloatArray] = {
    "line": _UP_DOWN,
    "triangle": _ring(3),
    "tetrahedron": np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3),
    "square": _ring(4),
    "trigonal bipyramid": np.concatenate([_ring(3), _UP_DOWN]),
    "square pyramid": np.concatenate([_ring(4, -0.2), _UP_DOWN[:1]]),
    "octahedron": np.concatenate([_ring(4), _UP_DOWN]),
    "trigonal prism": np.concatenate([_ring(3, 0.76), _ring(3, -0.76)]),
    "pentagonal bipyramid": np.concatenate([_ring(5), _UP_DOWN]),
    "square antiprism": np.concatenate([_ring(4, 0.66), _ring(4, -0.66, np.pi / 4)]),
    "tricapped prism": np.concatenate([_ring(3, 1.1), _ring(3, -1.1), _ring(3, 0.0, np.pi / 3)]),
}
"""Directions from the metal to its donors."""

_BY_NUMBER = {
    2: ("line",), 3: ("triangle",), 4: ("tetrahedron",),
    5: ("trigonal bipyramid", "square pyramid"), 6: ("octahedron",), 7: ("pentagonal bipyramid",),
    8: ("square antiprism",), 9: ("tricapped prism",),
}  # fmt: skip


def ion(symbol: str, charge: int, number: int, rng: np.random.Generator) -> Node:
    """A single ion with this coordination number."""
    shape = str(rng.choice(_BY_NUMBER[number]))
    if number == 4 and charge == 2 and symbol in _SQUARE and (symbol != "Ni" or rng.random() < 0.5):
        shape = "square"
    directions = POLYHEDRA[shape]
    # Jahn and Teller: two bonds of copper(II) across from each other are long.
    long = {"octahedron": (4, 5), "square pyramid": (4,)}.get(shape, ())
    stretch = 0.35 if (symbol, charge) == ("Cu", 2) else 0.0
    slots = tuple(
        Slot((0,), row[None], stretch=stretch if k in long else 0.0)
        for k, row in enumerate(directions)
    )
    radius = RADII[symbol, charge][number]
    if stretch and number == 6:
        radius = RADII[symbol, charge][4] + 0.04
    numbers = np.array([elements.atomic_number[symbol]])
    return Node(f"{symbol}{number}", numbers, np.zeros((1, 3)), slots, charge, radius)


def _bridge(positions: FloatArray, a: int, b: int, oxygens: FloatArray) -> Slot:
    """A carboxylate between two metals, from where its oxygens should be."""
    steps = oxygens - positions[[a, b]]
    directions = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    return Slot((a, b), directions, (False, False), only_carboxylate=True)


def paddlewheel(symbol: str) -> Node:
    """M2(CO2)4 with two ends, as in HKUST-1: two metals(II), four carboxylates around them."""
    apart = {"Cu": 2.64, "Zn": 2.95, "Co": 2.70, "Ni": 2.68}[symbol]
    radius = {"Cu": 0.60, "Zn": 0.67, "Co": 0.66, "Ni": 0.65}[symbol]
    z = elements.atomic_number[symbol]
    positions = np.array([[0, 0, apart / 2], [0, 0, -apart / 2]])
    across = np.sqrt((radius + DONOR_RADIUS["O"]) ** 2 - (apart / 2 - 1.1) ** 2)
    slots = [
        _bridge(
            positions, 0, 1, np.array([[*(across * side[:2]), 1.1], [*(across * side[:2]), -1.1]])
        )
        for side in _ring(4)
    ]
    ends = [Slot((k,), _UP_DOWN[k][None], stretch=0.15 if symbol == "Cu" else 0.0) for k in (0, 1)]
    return Node(f"{symbol}2 paddlewheel", np.array([z, z]), positions, (*slots, *ends), 4, radius)


def zinc_oxide_cluster(symbol: str) -> Node:
    """M4O(CO2)6, as in MOF-5: an oxygen in a tetrahedron of metals(II)."""
    radius = RADII[symbol, 2][4]
    corners = POLYHEDRA["tetrahedron"]
    z = elements.atomic_number[symbol]
    positions = np.concatenate([np.zeros((1, 3)), (radius + 1.34) * corners])
    slots = []
    for a in range(4):
        for b in range(a):
            middle = corners[a] + corners[b]
            oxygens = []
            for corner, k in ((corners[a], a), (corners[b], b)):
                side = middle - (middle @ corner) * corner
                way = corner / 3 + np.sqrt(8) / 3 * side / np.linalg.norm(side)
                oxygens.append(positions[k + 1] + (radius + DONOR_RADIUS["O"]) * way)
            slots.append(_bridge(positions, a + 1, b + 1, np.array(oxygens)))
    return Node(f"{symbol}4O", np.array([8, z, z, z, z]), positions, tuple(slots), 6, radius)


def trimer(symbol: str) -> Node:
    """M3O(CO2)6 with three ends, as in MIL-88: an oxygen in a triangle of metals(III)."""
    radius = RADII[symbol, 3][6]
    bond = radius + DONOR_RADIUS["O"]
    z = elements.atomic_number[symbol]
    spokes = _ring(3)
    positions = np.concatenate([np.zeros((1, 3)), (bond - 0.08) * spokes])
    slots = []
    up = np.array([0, 0, 1.0])
    for a, b in ((0, 1), (1, 2), (2, 0)):
        for sign in (1, -1):
            ways = [
                (np.cross(up, spokes[a]) + sign * up) / np.sqrt(2),
                (-np.cross(up, spokes[b]) + sign * up) / np.sqrt(2),
            ]
            oxygens = positions[[a + 1, b + 1]] + bond * np.array(ways)
            slots.append(_bridge(positions, a + 1, b + 1, oxygens))
    ends = [Slot((k + 1,), spokes[k][None]) for k in range(3)]
    return Node(f"{symbol}3O", np.array([8, z, z, z]), positions, (*slots, *ends), 7, radius)


def zirconium_cluster(symbol: str) -> Node:
    """M6O4(OH)4(CO2)12, as in UiO-66: an octahedron of metals(IV), oxygens on its faces."""
    z = elements.atomic_number[symbol]
    corners = np.concatenate([2.5 * np.eye(3), -2.5 * np.eye(3)])
    signs = np.array([[a, b, c] for a in (1, -1) for b in (1, -1) for c in (1, -1)])
    bare = signs.prod(1) > 0
    faces = np.where(bare[:, None], 1.12, 1.22) * signs
    hydrogens = faces[~bare] * (1 + 0.97 / np.linalg.norm(faces[~bare], axis=1, keepdims=True))
    positions = np.concatenate([corners, faces, hydrogens])
    slots = []
    for a in range(6):
        for b in range(a):
            if corners[a] @ corners[b] == 0:
                middle, half = (corners[a] + corners[b]), (corners[a] - corners[b])
                middle, half = middle / np.linalg.norm(middle), half / np.linalg.norm(half)
                oxygens = np.array([3.88 * middle + 1.1 * half, 3.88 * middle - 1.1 * half])
                slots.append(_bridge(positions, a, b, oxygens))
    numbers = np.array([z] * 6 + [8] * 8 + [1] * 4)
    return Node(f"{symbol}6O4(OH)4", numbers, positions, tuple(slots), 12, RADII[symbol, 4][8])


def rod(symbol: str) -> Node:
    """M2(OH)(CO2)4 of a chain M-OH-M-OH, as in MIL-53: metals(III)."""
    radius = RADII[symbol, 3][6]
    bond = radius + DONOR_RADIUS["O"]
    z = elements.atomic_number[symbol]
    # The oxygens of the chain stand off its axis to both sides; M-O-M is 125 degrees.
    rise, off = bond * np.sin(np.radians(62.5)), bond * np.cos(np.radians(62.5))
    positions = np.array([[0, 0, -rise], [0, 0, rise], [off, 0, 0], [off + 0.97, 0, 0]])
    slots = []
    for sign in (1, -1):
        side = sign * np.array([-0.35 * sign, 1.0, 0.0]) * bond / 1.06
        # between the two metals of the node, on the far side from the oxygen between them
        slots.append(_bridge(positions, 0, 1, side + np.array([[0, 0, -1.1], [0, 0, 1.1]])))
    above = np.array([[0, 0, rise], [0, 0, 3 * rise]])
    for sign in (1, -1):
        side = np.array([0.35, sign * 1.0, 0.0]) * bond / 1.06
        oxygens = side + np.array([[0, 0, 2 * rise - 1.1], [0, 0, 2 * rise + 1.1]])
        steps = oxygens - above
        ways = steps / np.linalg.norm(steps, axis=1, keepdims=True)
        slots.append(Slot((1, 0), ways, (False, True), only_carboxylate=True))
    end = np.array([-off, 0, rise]) / bond
    slots.append(Slot((1,), end[None]))
    slots.append(Slot((0,), (end * [1, 1, -1])[None]))
    numbers = np.array([z, z, 8, 1])
    return Node(f"{symbol}OH rod", numbers, positions, tuple(slots), 5, radius, rod=True)
