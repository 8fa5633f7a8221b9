"""What a framework is to be made of: metal nodes, ligands and who binds whom; charges add up.

Nothing here has a place yet; :mod:`assembly` gives places to a plan.
"""

from dataclasses import dataclass, field

import numpy as np

from atomprint.data.sources.frameworks.linkers import (
    BRIDGES,
    DITOPIC,
    TERMINAL,
    TETRATOPIC,
    TRITOPIC,
    Ligand,
    decorate,
    draw,
    ligand,
)
from atomprint.data.sources.frameworks.metals import (
    IONS,
    RADII,
    Node,
    ion,
    paddlewheel,
    rod,
    trimer,
    zinc_oxide_cluster,
    zirconium_cluster,
)
from atomprint.data.sources.frameworks.nets import NETS, Net, random_net

GROUP_SHARE = 0.3
"""Linkers that get a functional group."""
CLUSTERS: dict[str, float] = {
    "paddlewheel": 2, "pillared paddlewheel": 1.5, "rod": 6, "Zn4O": 0.7, "trimer": 0.4, "Zr6": 0.5,
}  # fmt: skip
CLUSTER_SHARE = 0.15
NAMED_SHARE = 0.35
"""Frameworks of single ions whose net is of the table; the others' nets are drawn."""


@dataclass(frozen=True)
class Join:
    """A ligand's site at a node.

    Attributes
    ----------
    node, ligand
        Their numbers.
    site
        Of the ligand.
    shift
        Cell of the ligand, seen from the node's.
    way
        ``one`` donor atom, ``two`` of a chelate, or a ``bridge`` between two metals.
    """

    node: int
    ligand: int
    site: int
    shift: tuple[int, int, int]
    way: str


@dataclass
class Plan:
    """Parts of a cell and how they are joined.

    Attributes
    ----------
    nodes, ligands
        The parts; linkers first, then what only fills places.
    joins
        Of linkers, along the edges of the net.
    n_linkers
        Ligands that belong to the net.
    terminals
        For every node, ligands that fill its places.
    net
        What it is built on.
    """

    nodes: list[Node]
    ligands: list[Ligand]
    joins: list[Join]
    n_linkers: int
    net: Net
    terminals: list[list[int]] = field(default_factory=list)

    @property
    def n_atoms(self) -> int:
        """Atoms in the cell."""
        return sum(len(n.numbers) for n in self.nodes) + sum(len(x.numbers) for x in self.ligands)


def _linker(rng: np.random.Generator, table: dict[str, float]) -> Ligand | None:
    smiles = draw(rng, table)
    if rng.random() < GROUP_SHARE:
        smiles = decorate(rng, smiles)
    return ligand(smiles, int(rng.integers(3)))


def draw_plan(rng: np.random.Generator, max_atoms: int) -> Plan | None:
    """Draw what to build; None where charges or places do not come out."""
    plan = _clusters(rng) if rng.random() < CLUSTER_SHARE else _ions(rng)
    if plan is None or plan.n_atoms > max_atoms or not _fill(plan, rng):
        return None
    organic = any((part.numbers == 6).any() for part in plan.ligands)
    return plan if organic and plan.n_atoms <= max_atoms else None


def _subdivide(net: Net) -> list[tuple[tuple[int, tuple[int, int, int]], ...]]:
    """For every edge of a net the two nodes of a linker, and its cell seen from each."""
    return [((i, (0, 0, 0)), (j, (-s[0], -s[1], -s[2]))) for i, j, s in net.edges]


def _ions(rng: np.random.Generator) -> Plan | None:
    """Single ions, joined by linkers of two, three or four metals."""
    weights = np.array(list(IONS.values()))
    symbol, charge = list(IONS)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    number = int(rng.choice(list(RADII[symbol, charge])))
    if rng.random() < NAMED_SHARE:
        fits = [net for net in NETS if net.n_vertices <= 4 and max(net.degrees) <= number]
        net = fits[int(rng.integers(len(fits)))]
        kinds = [_two_topic(rng) for _ in range(1 + int(rng.random() < 0.5))]
        if any(kind is None for kind in kinds):
            return None
        ligands = [kinds[int(rng.integers(len(kinds)))] for _ in net.edges]
        ends = _subdivide(net)
    else:
        n_nodes = int(rng.choice([1, 2, 2, 2, 2, 3, 4], p=[1 / 7] * 7))
        drawn = _random(rng, n_nodes, number)
        if drawn is None:
            return None
        net, ligands, ends = drawn
    nodes = [ion(symbol, charge, number, rng) for _ in range(net.n_vertices)]
    joins = []
    for k, (part, places) in enumerate(zip(ligands, ends, strict=True)):
        assert part is not None
        for site, (node, shift) in zip(rng.permutation(len(places)), places, strict=True):
            way = "two" if len(part.sites[site].atoms) == 2 else "one"
            if part.sites[site].open and rng.random() < 0.5:
                way = "one"
            joins.append(Join(node, k, int(site), shift, way))
    return Plan(nodes, [x for x in ligands if x is not None], joins, len(ligands), net)


def _two_topic(rng: np.random.Generator) -> Ligand | None:
    if rng.random() < 0.12:
        return ligand(draw(rng, BRIDGES))
    return _linker(rng, DITOPIC)


def _random(
    rng: np.random.Generator, n_nodes: int, number: int
) -> tuple[Net, list[Ligand | None], list[tuple[tuple[int, tuple[int, int, int]], ...]]] | None:
    """A net drawn at random: nodes on one side, linkers of two to four metals on the other."""
    degree = int(rng.integers(2, number + 1))
    kinds: list[Ligand] = []
    for _ in range(1 + int(rng.random() < 0.45)):
        choice = rng.choice(["two", "three", "four"], p=[0.6, 0.2, 0.2])
        table = {"three": TRITOPIC, "four": TETRATOPIC}.get(str(choice))
        part = _two_topic(rng) if table is None else _linker(rng, table)
        if part is None:
            return None
        kinds.append(part)
    ligands: list[Ligand] = []
    ends = n_nodes * degree
    # Crystals have as many linkers of a kind as their symmetry wants: pairs, mostly.
    while ends > 0:
        part = kinds[int(rng.integers(len(kinds)))]
        copies = n_nodes if rng.random() < 0.5 else max(1, n_nodes // 2)
        if len(part.sites) * copies > ends:
            copies = 1
        if len(part.sites) > ends:
            break
        ligands += [part] * copies
        ends -= len(part.sites) * copies
    if not ligands:
        return None
    degrees = [degree] * n_nodes
    while ends > 0:
        degrees[int(rng.integers(n_nodes))] -= 1
        ends -= 1
    if min(degrees) < 1:
        return None
    dimension = int(rng.choice([1, 2, 3], p=[0.15, 0.3, 0.55]))
    for _ in range(20):
        net = random_net(
            rng,
            [*degrees, *(len(part.sites) for part in ligands)],
            [0] * n_nodes + [1] * len(ligands),
            dimension,
        )
        if net is not None and not _doubled(net):
            break
    else:
        return None
    places: list[list[tuple[int, tuple[int, int, int]]]] = [[] for _ in ligands]
    for i, j, shift in net.edges:
        places[j - n_nodes].append((i, shift))
    base = Net(net.name, n_nodes, (), dimension)
    return base, list(ligands), [tuple(place) for place in places]


def _doubled(net: Net) -> bool:
    """Whether a linker would bind one metal twice."""
    return len(set(net.edges)) < len(net.edges)


def _clusters(rng: np.random.Generator) -> Plan | None:
    """Clusters joined by dicarboxylates, on the nets that they are known to form."""
    kind = draw(rng, CLUSTERS)
    acids = {s: w for s, w in DITOPIC.items() if s.count("[O-]") == 2 and ":" not in s}
    nitrogens = {s: w for s, w in DITOPIC.items() if "n:2]" in s or "N:2]" in s}
    nitrogens = {s: w for s, w in nitrogens.items() if "-" not in s}
    by_name = {net.name: net for net in NETS}
    many = {"sql": 3.0, "nbo": 0.5, "kgm": 0.5, "dia": 0.5, "cds": 0.5}
    if kind == "paddlewheel":
        net = by_name[draw(rng, many)]
        node = paddlewheel(str(rng.choice(["Cu", "Cu", "Zn", "Co", "Ni"])))
    elif kind == "pillared paddlewheel":
        net = by_name["pcu"]
        node = paddlewheel(str(rng.choice(["Cu", "Zn", "Zn", "Co", "Ni"])))
    elif kind == "rod":
        net = by_name["pcu"]
        node = rod(str(rng.choice(["Al"] * 9 + ["Ga", "In", "Cr", "Fe", "V"])))
    elif kind == "Zn4O":
        net, node = by_name["pcu"], zinc_oxide_cluster(str(rng.choice(["Zn", "Zn", "Co", "Mg"])))
    elif kind == "trimer":
        net = by_name[str(rng.choice(["acs", "pcu"]))]
        node = trimer(str(rng.choice(["Fe", "Cr", "Al", "In", "Ga", "V"])))
    else:
        net, node = by_name["fcu"], zirconium_cluster(str(rng.choice(["Zr", "Hf"])))
    acid = _linker(rng, acids)
    second = _linker(rng, acids) if rng.random() < 0.25 else acid
    pillar = ligand("OH") if kind == "rod" else _linker(rng, nitrogens)
    if acid is None or second is None or pillar is None:
        return None
    ligands, joins = [], []
    for k, places in enumerate(_subdivide(net)):
        upright = kind in ("rod", "pillared paddlewheel") and net.edges[k][2] == (0, 0, 1)
        part = pillar if upright else (second if k % 2 else acid)
        ligands.append(part)
        for site, (at, shift) in enumerate(places):
            joins.append(Join(at, k, site, shift, "one" if upright else "bridge"))
    return Plan([node] * net.n_vertices, ligands, joins, len(ligands), net)


def _fill(plan: Plan, rng: np.random.Generator) -> bool:
    """Fill the nodes' places with terminal ligands so that charges add up to none."""
    left = []
    for k, node in enumerate(plan.nodes):
        taken = sum(
            2 if join.way == "two" else 1
            for join in plan.joins
            if join.node == k and not (join.way == "bridge" and not node.single)
        )
        ends = len(node.slots) if node.single else sum(not s.only_carboxylate for s in node.slots)
        left.append(ends - taken)
    if min(left) < 0:
        return False
    surplus = sum(node.charge for node in plan.nodes) + sum(part.charge for part in plan.ligands)
    places = sum(left)
    if surplus < 0 or surplus > places:
        return False
    n_nodes = len(plan.nodes)
    singly = ligand(_of_charge(rng, -1))
    neutral = ligand(_of_charge(rng, 0), int(rng.integers(3)))
    if singly is None or neutral is None:
        return False
    wide_minus, wide = _width(singly), _width(neutral)
    terminals: list[list[int]] = [[] for _ in range(n_nodes)]
    order = [int(k) for k in rng.permutation(n_nodes)]
    turn = 0
    while surplus > 0:
        open_ = [k for k in order if left[k] >= wide_minus]
        if not open_:
            return False
        at = open_[turn % len(open_)]
        terminals[at].append(len(plan.ligands))
        plan.ligands.append(singly)
        left[at] -= wide_minus
        surplus -= 1
        turn += 1
    water = ligand("[OH2:1]")
    assert water is not None
    for at in order:
        first = len(terminals[at])
        while left[at] >= wide and (wide == 1 or len(terminals[at]) == first):
            terminals[at].append(len(plan.ligands))
            plan.ligands.append(neutral)
            left[at] -= wide
        while left[at] > 0:
            terminals[at].append(len(plan.ligands))
            plan.ligands.append(water)
            left[at] -= 1
    plan.terminals = terminals
    return True


def _width(part: Ligand) -> int:
    """Places that a terminal ligand takes."""
    return len(part.sites[0].atoms)


def _of_charge(rng: np.random.Generator, charge: int) -> str:
    """A terminal ligand of this charge."""
    fits = {
        s: w
        for s, w in TERMINAL.items()
        if (s.count("-]") + s.count("-:")) - s.count("+]") == -charge
    }
    return draw(rng, fits)
