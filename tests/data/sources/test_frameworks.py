"""Frameworks: nets against known facts, crystals against independent analyses."""

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry.dimensionality import analyze_dimensionality
from ase.neighborlist import neighbor_list

from atomprint.data.sources import FrameworksSettings
from atomprint.data.sources.frameworks import source as module
from atomprint.data.sources.frameworks.metals import DONOR_RADIUS, POLYHEDRA, RADII, ion, rod
from atomprint.data.sources.frameworks.nets import NETS, Net, random_net, realise
from atomprint.ground.errors import UsageError

# Vertices one, two, three edges away (RCSR's coordination sequences).
SEQUENCES = {
    "sql": (4, 8, 12), "hcb": (3, 6, 9), "hxl": (6, 12, 18), "kgm": (4, 8, 14), "pcu": (6, 18, 38),
    "dia": (4, 12, 24), "bcu": (8, 26, 56), "fcu": (12, 42, 92), "cds": (4, 12, 30),
    "acs": (6, 20, 42), "srs": (3, 6, 12), "ths": (3, 6, 12), "nbo": (4, 12, 28),
    "sod": (4, 10, 20), "hex": (8, 26, 56),
}  # fmt: skip


def sequence(net, start, n=3):
    """Vertices at each distance from one."""
    shell = seen = {(start, (0, 0, 0))}
    counts = []
    for _ in range(n):
        reached = set()
        for vertex, cell in shell:
            for i, j, shift in net.edges:
                for a, b, sign in ((i, j, 1), (j, i, -1)):
                    if a == vertex:
                        reached.add(
                            (b, tuple(c + sign * s for c, s in zip(cell, shift, strict=True)))
                        )
        shell = reached - seen
        seen = seen | shell
        counts.append(len(shell))
    return tuple(counts)


@pytest.mark.parametrize("net", NETS, ids=lambda net: f"{net.name}-{net.n_vertices}")
def test_nets_are_those_of_the_reticular_database(net):
    if net.name in SEQUENCES:
        for vertex in range(net.n_vertices):
            assert sequence(net, vertex) == SEQUENCES[net.name]
    frac, cell = realise(net)
    # every vertex is in the middle of its neighbours
    pull = np.zeros((net.n_vertices, 3))
    for i, j, shift in net.edges:
        way = (frac[j] + shift - frac[i]) @ cell
        pull[i] += way
        pull[j] -= way
    np.testing.assert_allclose(pull, 0, atol=1e-9)


def edge_ways(net, vertex):
    frac, cell = realise(net)
    ways = []
    for i, j, shift in net.edges:
        way = (frac[j] + shift - frac[i]) @ cell
        ways += [way] * (i == vertex) + [-way] * (j == vertex)
    return np.array(ways)


@pytest.mark.parametrize(
    ("name", "cosine"),
    [("dia", -1 / 3), ("srs", -1 / 2), ("hcb", -1 / 2), ("pcu", 0), ("fcu", 0.5)],
)
def test_nets_stand_in_their_most_symmetric_form(name, cosine):
    net = next(net for net in NETS if net.name == name)
    ways = edge_ways(net, 0)
    lengths = np.linalg.norm(ways, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-9)
    angles = (ways @ ways.T)[np.triu_indices(len(ways), 1)]
    assert np.isclose(angles, cosine, atol=1e-9).any()
    if name not in ("pcu", "fcu"):
        np.testing.assert_allclose(angles, cosine, atol=1e-9)


def test_edges_take_the_lengths_asked_for():
    _, cell = realise(NETS[[net.name for net in NETS].index("pcu")], np.array([1.0, 2.0, 4.0]))
    np.testing.assert_allclose(np.linalg.norm(cell, axis=1), [1, 2, 4])


def test_drawn_nets_go_on_in_the_directions_asked_for():
    rng = np.random.default_rng(0)
    drawn = [random_net(rng, [4, 4, 2, 2, 2, 2], [0, 0, 1, 1, 1, 1], d) for d in (2, 3) * 60]
    kept = [net for net in drawn if net is not None]
    assert len(kept) > 10
    for net in kept:
        assert net.degrees == [4, 4, 2, 2, 2, 2]
        far = sequence(net, 0, 12)
        # the number of vertices within n edges grows as n to the dimension
        assert (sum(far) > 2.6 * sum(far[:6])) == (net.dimension >= 2)


def test_a_net_in_pieces_is_none():
    rng = np.random.default_rng(0)
    loops = [random_net(rng, [2, 2], [0, 0], 1) for _ in range(50)]
    for net in filter(None, loops):
        assert {frozenset(edge[:2]) for edge in net.edges} == {frozenset((0, 1))}


def test_polyhedra_have_their_corners():
    for directions in POLYHEDRA.values():
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
        cosines = (directions @ directions.T)[np.triu_indices(len(directions), 1)]
        assert cosines.max() < np.cos(np.radians(55))


def test_a_rod_has_octahedra():
    node = rod("Al")
    ways = {0: [], 1: []}
    for slot in node.slots:
        for metal, way in zip(slot.metals, slot.directions, strict=True):
            ways[metal].append(way)
    inner = node.positions[2]  # the oxygen between the two
    for metal, found in ways.items():
        found = [
            *found,
            (inner - node.positions[metal]) / np.linalg.norm(inner - node.positions[metal]),
        ]
        assert len(found) == 6
        cosines = np.array(found) @ np.array(found).T
        assert (np.sort(cosines, axis=1)[:, 0] < -0.85).all()  # each has one across from it


def test_copper_is_longer_in_two_directions():
    node = ion("Cu", 2, 6, np.random.default_rng(0))
    assert sorted(slot.stretch for slot in node.slots) == [0, 0, 0, 0, 0.35, 0.35]


@pytest.fixture(scope="module")
def made():
    pytest.importorskip("rdkit", reason="building frameworks needs rdkit (atomprint[frameworks])")
    from atomprint.data.sources.frameworks.assembly import make_framework

    rejected = Counter()
    crystals = [make_framework((11, k), 100, 2000, rejected) for k in range(10)]
    assert sum(rejected.values()) < 100 * len(crystals)
    return crystals


def as_atoms(framework):
    return Atoms(framework.numbers, framework.positions, cell=framework.cell, pbc=True)


def test_no_atoms_are_too_close(made):
    for framework in made:
        i, j, distance = neighbor_list("ijd", as_atoms(framework), 2.5)
        both = covalent_radii[framework.numbers[i]] + covalent_radii[framework.numbers[j]]
        # a triple bond of carbon is the shortest there is
        assert (distance / both).min() > 0.77
        assert len(framework.numbers) <= 100


def test_they_go_on_in_as_many_directions_as_their_nets(made):
    """ASE's analysis knows nothing of bonds but radii."""
    for framework in made:
        best = analyze_dimensionality(as_atoms(framework), method="TSA", merge=True)
        likely = sorted(best, key=lambda found: -found.score)
        wanted = framework.dimension
        scores = {found.dimtype: found.score for found in likely}
        assert any(str(wanted) in kind for kind, score in scores.items() if score > 0.1), scores
    assert {framework.dimension for framework in made} >= {1, 3}


def test_metals_have_the_donors_they_should_have(made):
    radii = {}
    for (symbol, _), by_number in RADII.items():
        radii[symbol] = max(radii.get(symbol, 0), *by_number.values())
    for framework in made:
        atoms = as_atoms(framework)
        symbols = np.array(atoms.get_chemical_symbols())
        i, j, distance = neighbor_list("ijd", atoms, 4.0)
        for metal, n_bonds in framework.bonds.items():
            around, far = symbols[j[i == metal]], distance[i == metal]
            reach = [radii[symbols[metal]] + DONOR_RADIUS.get(s, -9.0) + 0.6 for s in around]
            assert (far < reach).sum() >= n_bonds
            # and the hydrogens of other ligands stay away
            assert far[around == "H"].min(initial=9.0) > 1.9


def test_charges_add_up_to_none():
    pytest.importorskip("rdkit", reason="building frameworks needs rdkit (atomprint[frameworks])")
    from rdkit import Chem

    from atomprint.data.sources.frameworks.plans import draw_plan

    plans = [draw_plan(np.random.default_rng((2, k)), 150) for k in range(120)]
    plans = [plan for plan in plans if plan is not None]
    assert len(plans) > 15
    for plan in plans:
        charges = [
            Chem.GetFormalCharge(Chem.MolFromSmiles(part.smiles))
            if part.smiles not in ("OXALATE", "Cl", "Br", "I", "F", "OH")
            else {"OXALATE": -2}.get(part.smiles, -1)
            for part in plan.ligands
        ]
        assert sum(charges) + sum(node.charge for node in plan.nodes) == 0


def test_functional_groups_leave_the_binding_atoms_alone():
    pytest.importorskip("rdkit", reason="building frameworks needs rdkit (atomprint[frameworks])")
    from atomprint.data.sources.frameworks.linkers import decorate, ligand

    rng = np.random.default_rng(0)
    plain = ligand("[n:1]1ccc(cc1)c1cc[n:2]cc1")
    for _ in range(5):
        part = ligand(decorate(rng, "[n:1]1ccc(cc1)c1cc[n:2]cc1"))
        assert part.smiles != plain.smiles
        assert [part.numbers[list(site.atoms)].tolist() for site in part.sites] == [[7], [7]]
        assert part.charge == 0


def test_a_crystal_is_a_function_of_seed_and_number(made):
    from atomprint.data.sources.frameworks.assembly import make_framework

    again = make_framework((11, 5), 100, 2000, Counter())
    np.testing.assert_array_equal(again.positions, made[5].positions)
    np.testing.assert_array_equal(again.cell, made[5].cell)
    other = make_framework((12, 5), 100, 2000, Counter())
    assert other.positions.shape != made[5].positions.shape or (other.cell != made[5].cell).any()


def test_it_goes_on_where_it_stood(get, tmp_path, monkeypatch):
    pytest.importorskip("rdkit", reason="building frameworks needs rdkit (atomprint[frameworks])")
    from atomprint.data.sources.frameworks import assembly

    monkeypatch.setattr(module, "BLOCK", 2)
    make, known = assembly.make_framework, {}

    def once(seed, *more):
        """Make each crystal once; that it is the same again is tested by itself."""
        known[seed] = known.get(seed) or make(seed, *more)
        return known[seed]

    monkeypatch.setattr(assembly, "make_framework", once)
    source = FrameworksSettings(seed=5)
    get(source, tmp_path / "a", n=3)
    more = get(source, tmp_path / "a", n=4)
    assert (more.resumed, more.problems) == (3, [])
    whole = get(source, tmp_path / "b", n=4).store
    assert [c.id for c in more.store] == [f"mof-5-{row:07d}" for row in range(4)]
    for one, two in zip(more.store, whole, strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)


def test_without_the_package_the_extra_is_named(get, tmp_path, monkeypatch):
    monkeypatch.setattr("atomprint.data.sources.blocks.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"atomprint\[frameworks\]"):
        get(FrameworksSettings(), tmp_path / "s", n=2)


def test_a_net_that_cannot_stand_is_none():
    # two vertices on one chain's link fall together
    assert (
        realise(Net("ladder", 2, ((0, 0, (1, 0, 0)), (1, 1, (1, 0, 0)), (0, 1, (0, 0, 0))), 1))
        is None
    )
