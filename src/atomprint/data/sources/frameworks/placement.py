"""Places of a framework's atoms in the standard realisation of its net, and springs between them.

The net with its linkers as vertices of their own gives every part a place and edges their
directions; parts are turned so that what binds points along the edges; bonds, angles and rigid
pieces become springs (:mod:`~atomprint.data.sources.packing`).
"""

import numpy as np
import numpy.typing as npt

from atomprint.data.sources.frameworks.linkers import Ligand
from atomprint.data.sources.frameworks.metals import DONOR_RADIUS, Node
from atomprint.data.sources.frameworks.nets import Net, realise
from atomprint.data.sources.frameworks.plans import Join, Plan
from atomprint.data.sources.packing import Springs
from atomprint.ground import elements

FloatArray = npt.NDArray[np.float64]

SPACING = 8.0
"""Å between chains and layers at first."""
ANGLE, TURN, DONORS = 0.15, 0.01, 0.06
"""Stiffness of angles at donors, of what turns about a bond, and of angles at metals."""


def _bond(node: Node, element: int, stretch: float) -> float:
    return node.radius + DONOR_RADIUS.get(elements.symbols[element], 1.5) + stretch


def _rotation(rng: np.random.Generator) -> FloatArray:
    """A random rotation: the orthogonal part of a matrix of normal numbers."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q * np.sign(np.linalg.det(q)))


def _turned(from_: FloatArray, to: FloatArray) -> FloatArray:
    """Rotation that brings directions onto others best (Kabsch, Acta Cryst. A 32, 922, 1976)."""
    u, _, vt = np.linalg.svd(from_.T @ to)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    return np.asarray(u @ flip @ vt)


def _unit(rows: FloatArray) -> FloatArray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9))


class Placement:
    """The atoms of a plan, where its net puts them, and the springs between them.

    Parameters
    ----------
    plan
        What is to be built.
    rng
        Of the places that the plan leaves open.
    """

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        self.plan, self.rng = plan, rng
        sizes = [len(n.numbers) for n in plan.nodes] + [len(x.numbers) for x in plan.ligands]
        self.first = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.numbers = np.concatenate(
            [n.numbers for n in plan.nodes] + [x.numbers for x in plan.ligands]
        )
        self.positions = np.zeros((len(self.numbers), 3))
        self.springs: list[tuple[int, int, tuple[int, ...], float, float]] = []
        self.bonded: dict[int, int] = {}
        # Metal, donor, the donor's cell, its wanted place in the node's frame, its ligand.
        self.donors: list[tuple[int, int, tuple[int, ...], FloatArray, int]] = []

    # Places -----------------------------------------------------------------------------------

    def place(self) -> FloatArray | None:
        """Put every part where the net says; the cell, or None where the net does not stand."""
        plan = self.plan
        n_nodes = len(plan.nodes)
        edges = tuple((j.node, n_nodes + j.ligand, j.shift) for j in plan.joins)
        whole = Net(plan.net.name, n_nodes + plan.n_linkers, edges, plan.net.dimension)
        lengths = np.array([self._reach(join) for join in plan.joins])
        placed = realise(whole, lengths)
        if placed is None:
            return None
        frac, cell = placed
        d = plan.net.dimension
        for k in range(d, 3):
            cell[k, k] = SPACING
            if d > 0:
                cell[k, :d] = self.rng.normal(0, 1.5, d)
        centres = frac @ cell
        self.centres = centres + self.rng.normal(0, 0.05, centres.shape)
        ways = [
            self.centres[n_nodes + j.ligand] + np.array(j.shift) @ cell - self.centres[j.node]
            for j in plan.joins
        ]
        for k in range(n_nodes):
            mine = [e for e, join in enumerate(plan.joins) if join.node == k]
            if not self._node(k, mine, np.array([ways[e] for e in mine]).reshape(-1, 3)):
                return None
        for k in range(plan.n_linkers):
            mine = [e for e, join in enumerate(plan.joins) if join.ligand == k]
            self._linker(k, mine, -np.array([ways[e] for e in mine]))
        return cell

    def _reach(self, join: Join) -> float:
        """Å from the middle of a node to the middle of a ligand."""
        node, part = self.plan.nodes[join.node], self.plan.ligands[join.ligand]
        atoms = list(part.sites[join.site].atoms)
        bond = _bond(node, int(part.numbers[atoms[0]]), 0.0)
        middle = part.positions[atoms].mean(0)
        if join.way == "bridge":
            slot = node.slots[0]
            at = node.positions[list(slot.metals)] + bond * slot.directions
            return float(np.linalg.norm(at.mean(0)) + np.linalg.norm(middle))
        core = 0.0
        if not node.single:
            slot = node.slots[-1]
            core = float(np.linalg.norm(node.positions[slot.metals[0]]))
        return core + bond * (0.85 if join.way == "two" else 1.0) + float(np.linalg.norm(middle))

    def _node(self, k: int, mine: list[int], ways: FloatArray) -> bool:
        """Turn a node so that its slots point along edges, and say which ligand takes which."""
        node, plan = self.plan.nodes[k], self.plan
        kinds = [plan.joins[e].way for e in mine]
        extra = plan.terminals[k]
        widths = [len(plan.ligands[t].sites[0].atoms) for t in extra]
        best: tuple[float, FloatArray, list[tuple[int, ...]]] | None = None
        heads = _unit(ways)
        middles = np.array(
            [
                (node.positions[list(s.metals)] + 2.0 * s.directions).mean(0)
                for s in node.slots
            ]
        )  # fmt: skip
        out = _unit(middles)
        singles = [s for s, slot in enumerate(node.slots) if not slot.only_carboxylate]
        near = out @ out.T > -0.35
        pairs = [(a, b) for a in singles for b in singles if a < b and near[a, b]]
        for attempt in range(30):
            turn = _rotation(self.rng) if attempt else np.eye(3)
            for _ in range(2):
                taken: dict[int, tuple[int, ...]] = {}
                free = set(range(len(node.slots)))
                score = 0.0
                for e in sorted(range(len(mine)), key=lambda e: kinds[e] != "two"):
                    choices: list[tuple[int, ...]]
                    if kinds[e] == "two":
                        choices = [p for p in pairs if p[0] in free and p[1] in free]
                    elif kinds[e] == "bridge":
                        choices = [(s,) for s in sorted(free) if node.slots[s].only_carboxylate]
                    else:
                        choices = [(s,) for s in singles if s in free]
                    if not choices:
                        break
                    directions = _unit(np.array([out[list(c)].mean(0) for c in choices]))
                    fit = directions @ turn @ heads[e]
                    at = int(np.argmax(fit))
                    taken[e] = choices[at]
                    free -= set(choices[at])
                    score += float(fit[at])
                if len(taken) < len(mine):
                    break
                if mine:
                    targets = _unit(
                        np.array([out[list(taken[e])].mean(0) for e in range(len(mine))])
                    )
                    # The random part decides what directions leave open.
                    turn = _turned(
                        np.concatenate([targets, 0.05 * np.eye(3)]),
                        np.concatenate([heads, 0.05 * turn]),
                    )
            if len(taken) < len(mine):
                continue
            if best is None or score > best[0] + 1e-9:
                best = (score, turn, [taken[e] for e in range(len(mine))])
        if best is None:
            return False
        _, turn, chosen = best
        start = self.first[k]
        self.positions[start : start + len(node.numbers)] = self.centres[k] + node.positions @ turn
        self._rigid(start, node.positions)
        rod_shift = self._rod_shift(k, mine, chosen)
        if rod_shift is None:
            return False
        for e, slots in zip(mine, chosen, strict=True):
            join = plan.joins[e]
            part = plan.ligands[join.ligand]
            atoms = part.sites[join.site].atoms[: 2 if join.way != "one" else 1]
            self._bind(k, slots, join.ligand, atoms, join.shift, rod_shift)
        return self._terminals(k, turn, extra, widths, chosen, pairs, singles)

    def _rod_shift(
        self, k: int, mine: list[int], chosen: list[tuple[int, ...]]
    ) -> tuple[int, ...] | None:
        """Cell of the next node of a rod; zeros for other nodes, None where it is not closed."""
        node = self.plan.nodes[k]
        if not node.rod:
            return (0, 0, 0)
        ends = {slots[0]: self.plan.joins[e] for e, slots in zip(mine, chosen, strict=True)}
        n = len(node.slots)
        if n - 2 not in ends or n - 1 not in ends:
            return None
        up, down = ends[n - 2].shift, ends[n - 1].shift
        shift = tuple(a - b for a, b in zip(up, down, strict=True))
        return shift if any(shift) else None

    def _bind(
        self,
        k: int,
        slots: tuple[int, ...],
        part: int,
        atoms: tuple[int, ...],
        shift: tuple[int, ...],
        rod_shift: tuple[int, ...],
    ) -> None:
        """Springs between a node's metals and a ligand's donors."""
        node, piece = self.plan.nodes[k], self.plan.ligands[part]
        start = self.first[len(self.plan.nodes) + part]
        places = [
            (slot.metals[m], slot.directions[m], slot.next_cell[m], slot.stretch)
            for slot in (node.slots[s] for s in slots)
            for m in range(len(slot.metals))
        ]
        for atom, (metal, direction, beyond, stretch) in zip(atoms, places, strict=True):
            cell = tuple(s - r for s, r in zip(shift, rod_shift, strict=True)) if beyond else shift
            at = int(self.first[k] + metal)
            length = _bond(node, int(piece.numbers[atom]), stretch)
            self.springs.append((at, int(start + atom), cell, length, 1.0))
            self.bonded[at] = self.bonded.get(at, 0) + 1
            wanted = node.positions[metal] + length * direction
            self.donors.append((at, int(start + atom), cell, wanted, part))
            if len(atoms) == 2 and len({m for m, *_ in places}) == 1:
                continue  # in a chelate the two bonds say where the metal is
            for other in piece.neighbours(atom):
                angle = _metal_angle(piece, atom)
                arm = float(np.linalg.norm(piece.positions[other] - piece.positions[atom]))
                across = np.sqrt(arm**2 + length**2 - 2 * arm * length * np.cos(angle))
                self.springs.append((at, int(start + other), cell, float(across), ANGLE))

    def _terminals(
        self,
        k: int,
        turn: FloatArray,
        extra: list[int],
        widths: list[int],
        chosen: list[tuple[int, ...]],
        pairs: list[tuple[int, int]],
        singles: list[int],
    ) -> bool:
        """Put terminal ligands on the slots that are left."""
        node = self.plan.nodes[k]
        free = set(singles) - {s for slots in chosen for s in slots}
        for number, width in sorted(zip(extra, widths, strict=True), key=lambda x: -x[1]):
            choices: list[tuple[int, ...]] = (
                [p for p in pairs if p[0] in free and p[1] in free]
                if width == 2
                else [(s,) for s in sorted(free)]
            )
            if not choices:
                return False
            slots = choices[int(self.rng.integers(len(choices)))]
            free -= set(slots)
            part = self.plan.ligands[number]
            atoms = part.sites[0].atoms
            metal = node.slots[slots[0]].metals[0]
            way = _unit(np.array([node.slots[s].directions[0] for s in slots]).mean(0)) @ turn
            middle = part.positions[list(atoms)].mean(0)
            inward = -_unit(part.positions.mean(0) - middle)
            if len(part.numbers) == len(atoms):
                inward = _unit(self.rng.normal(size=3))
            spin = _rotation(self.rng)
            rotation = _turned(
                np.concatenate([inward[None], 0.05 * np.eye(3)]),
                np.concatenate([-way[None], 0.05 * spin]),
            )
            length = _bond(node, int(part.numbers[atoms[0]]), 0.0)
            at = self.centres[k] + node.positions[metal] @ turn + way * length
            start = self.first[len(self.plan.nodes) + number]
            self.positions[start : start + len(part.numbers)] = (
                at + (part.positions - middle) @ rotation
            )
            self._flexible(start, part)
            self._bind(k, slots, number, atoms, (0, 0, 0), (0, 0, 0))
        return True

    def _linker(self, k: int, mine: list[int], ways: FloatArray) -> None:
        """Turn a linker so that its sites point along edges."""
        part = self.plan.ligands[k]
        sites = np.array(
            [part.positions[list(part.sites[self.plan.joins[e].site].atoms)].mean(0) for e in mine]
        )
        spin = _rotation(self.rng)
        rotation = _turned(
            np.concatenate([_unit(sites), 0.05 * np.eye(3)]),
            np.concatenate([_unit(ways), 0.05 * spin]),
        )
        start = self.first[len(self.plan.nodes) + k]
        centre = self.centres[len(self.plan.nodes) + k]
        self.positions[start : start + len(part.numbers)] = centre + part.positions @ rotation
        self._flexible(start, part)

    # Springs ----------------------------------------------------------------------------------

    def _rigid(self, start: int, positions: FloatArray) -> None:
        for a in range(len(positions)):
            for b in range(a):
                length = float(np.linalg.norm(positions[a] - positions[b]))
                self.springs.append((int(start + b), int(start + a), (0, 0, 0), length, 1.0))

    def _flexible(self, start: int, part: Ligand) -> None:
        """Bonds, angles and rigid pieces of a ligand stay, torsions between pieces may change."""
        n = len(part.numbers)
        adjacent = np.eye(n, dtype=int)
        if len(part.bonds):
            adjacent[part.bonds[:, 0], part.bonds[:, 1]] = 1
            adjacent[part.bonds[:, 1], part.bonds[:, 0]] = 1
        stiff = (adjacent @ adjacent > 0) | (part.block[:, None] == part.block)
        for a in range(n):
            for b in range(a):
                length = float(np.linalg.norm(part.positions[a] - part.positions[b]))
                if stiff[a, b]:
                    spring = 1.0
                elif length < 4.0:
                    spring = TURN
                else:
                    continue
                self.springs.append((int(start + b), int(start + a), (0, 0, 0), length, spring))

    def angles_at_metals(self) -> None:
        """Soft springs between the donors of a metal, and from them to the node's other atoms."""
        for x, (metal, atom, cell, wanted, part) in enumerate(self.donors):
            node = int(np.searchsorted(self.first, metal, side="right")) - 1
            for other, atom2, cell2, wanted2, part2 in self.donors[:x]:
                if other == metal and part != part2:
                    length = float(np.linalg.norm(wanted - wanted2))
                    shift = tuple(b - a for a, b in zip(cell, cell2, strict=True))
                    self.springs.append((atom, atom2, shift, length, DONORS))
            for index, place in enumerate(self.plan.nodes[node].positions):
                length = float(np.linalg.norm(wanted - place))
                fixed = int(self.first[node] + index)
                if fixed != metal and length < 3.3:
                    self.springs.append((fixed, atom, cell, length, DONORS))

    def collected(self) -> Springs:
        """All springs, those of one pair merged into the stiffest."""
        best: dict[tuple[int, ...], tuple[int, int, tuple[int, ...], float, float]] = {}
        for i, j, shift, length, stiffness in self.springs:
            if i > j or (i == j and shift < (0, 0, 0)):
                i, j, shift = j, i, tuple(-s for s in shift)
            key = (i, j, *shift)
            if key not in best or best[key][4] < stiffness:
                best[key] = (i, j, shift, length, stiffness)
        rows = list(best.values())
        return Springs(
            np.array([r[0] for r in rows], dtype=np.int64),
            np.array([r[1] for r in rows], dtype=np.int64),
            np.array([r[2] for r in rows], dtype=np.int64).reshape(-1, 3),
            np.array([r[3] for r in rows]),
            np.array([r[4] for r in rows]),
        )


def _metal_angle(part: Ligand, atom: int) -> float:
    """Angle metal - donor - next atom, in radians."""
    around = part.neighbours(atom)
    if len(around) == 1:
        element = elements.symbols[part.numbers[atom]]
        beyond = part.neighbours(around[0])
        straight = len(beyond) == 2 and element in "NC" and 1 not in part.numbers[[atom, around[0]]]
        if straight:
            return float(np.radians(168))
        return float(np.radians(105 if element == "S" else 127))
    rows = _unit(part.positions[around] - part.positions[atom])
    if len(around) == 2:
        between = np.arccos(np.clip(rows[0] @ rows[1], -1, 1))
        flat = 1 not in part.numbers[around]
        return float(np.pi - between / 2) if flat else float(np.radians(116))
    return float(np.radians(110))
