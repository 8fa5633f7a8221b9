"""CIF: symmetry against ase, spglib and pymatgen; every bad file named."""

import io

import ase.io
import numpy as np
import pytest
from ase.spacegroup import crystal as ase_crystal

from atomprint.structures.reading import Problem, read_crystals
from tests.structures.crystal_files import NACL_CIF, cif, sorted_distances, write

SIX = "label type_symbol fract_x fract_y fract_z occupancy"


def read_text(tmp_path, text):
    return read_crystals(write(tmp_path / "x.cif", text))


def only(tmp_path, text):
    result = read_text(tmp_path, text)
    assert not result.problems
    (crystal,) = result.crystals
    return crystal


def problem(tmp_path, text):
    result = read_text(tmp_path, text)
    assert not result.crystals
    (found,) = result.problems
    assert found.file.endswith("x.cif")
    return found


def test_space_group_by_name_is_expanded(tmp_path):
    salt = only(tmp_path, NACL_CIF)
    assert salt.id == "x"
    assert sorted(salt.numbers) == [11] * 4 + [17] * 4
    assert salt.volume == pytest.approx(5.64**3)
    np.testing.assert_allclose(sorted_distances(salt.positions, salt.cell, 3)[:6], 2.82)


SYMMETRY_LINES = {
    "name": "_symmetry_space_group_name_H-M 'F m -3 m'",
    "alternative name": "_space_group_name_H-M_alt 'F m -3 m'",
    "number": "_space_group_IT_number 225",
    "old number": "_symmetry_Int_Tables_number 225",
    "Hall": "_space_group_name_Hall '-F 4 2 3'",
    "dots": "_space_group.IT_number 225",
}


@pytest.mark.parametrize("line", SYMMETRY_LINES.values(), ids=SYMMETRY_LINES)
def test_every_way_to_state_the_space_group(tmp_path, line):
    text = NACL_CIF.replace("_symmetry_space_group_name_H-M 'F m -3 m'", line)
    assert line in text
    assert only(tmp_path, text).n_atoms == 8


# Settings, cells and sites (symbol, x, y, z) of textbook structures; ase expands them by its own
# tables.
PROTOTYPES = {
    "rutile": (136, 1, (4.59, 4.59, 2.96, 90, 90, 90), [("Ti", 0, 0, 0), ("O", 0.305, 0.305, 0)]),
    "quartz": (
        152,
        1,
        (4.91, 4.91, 5.40, 90, 90, 120),
        [("Si", 0.4697, 0, 1 / 3), ("O", 0.4135, 0.2669, 0.2859)],
    ),
    "corundum": (
        167,
        1,
        (4.76, 4.76, 12.99, 90, 90, 120),
        [("Al", 0, 0, 0.3523), ("O", 0.3064, 0, 0.25)],
    ),
    "wurtzite": (
        186,
        1,
        (3.82, 3.82, 6.26, 90, 90, 120),
        [("Zn", 1 / 3, 2 / 3, 0), ("S", 1 / 3, 2 / 3, 0.375)],
    ),
    "perovskite": (
        62,
        1,
        (5.38, 7.64, 5.44, 90, 90, 90),
        [
            ("Ca", 0.0065, 0.25, 0.0359),
            ("Ti", 0, 0, 0.5),
            ("O", 0.5711, 0.25, -0.0161),
            ("O", 0.2897, 0.0371, 0.2888),
        ],
    ),
    "baddeleyite": (
        14,
        1,
        (5.15, 5.21, 5.32, 90, 99.2, 90),
        [("Zr", 0.275, 0.039, 0.208), ("O", 0.07, 0.332, 0.345), ("O", 0.449, 0.757, 0.48)],
    ),
}


@pytest.mark.parametrize("given", ["operations", "name"])
@pytest.mark.parametrize("prototype", PROTOTYPES)
def test_expansion_agrees_with_ase(tmp_path, prototype, given):
    group, setting, cell, sites = PROTOTYPES[prototype]
    reference = ase_crystal(
        [site[0] for site in sites],
        [site[1:] for site in sites],
        spacegroup=group,
        setting=setting,
        cellpar=cell,
    )
    from ase.spacegroup import Spacegroup

    sg = Spacegroup(group, setting)
    rows = "\n".join(f"{s}{i} {x} {y} {z}" for i, (s, x, y, z) in enumerate(sites))
    if given == "operations":
        buffer = io.BytesIO()
        ase.io.write(buffer, reference, format="cif")  # only for the form of its operations
        operations = [
            ",".join(
                "".join(f"{int(r):+d}*{axis}" for r, axis in zip(row, "xyz", strict=True) if r)
                + f"+{shift:.6f}"
                for row, shift in zip(rotation, translation, strict=True)
            )
            for rotation, translation in sg.get_symop()
        ]
        text = cif(rows, cell=cell, operations=tuple(operations))
    else:
        head = f"_symmetry_space_group_name_H-M '{sg.symbol}'"
        text = cif(rows, cell=cell, operations=None, head=head)
    ours = only(tmp_path, text)
    assert sorted(ours.numbers) == sorted(reference.numbers)
    assert ours.volume == pytest.approx(reference.get_volume(), rel=1e-9)
    np.testing.assert_allclose(
        sorted_distances(ours.positions, ours.cell, 4),
        sorted_distances(reference.positions, reference.cell.array, 4),
        atol=1e-6,
    )


@pytest.mark.parametrize("prototype", PROTOTYPES)
def test_expanded_crystal_has_its_space_group(tmp_path, prototype):
    spglib = pytest.importorskip("spglib", reason="spglib, the judge here, is not installed")
    group, _, cell, sites = PROTOTYPES[prototype]
    rows = "\n".join(f"{s}{i} {x} {y} {z}" for i, (s, x, y, z) in enumerate(sites))
    from ase.spacegroup import Spacegroup

    head = f"_symmetry_space_group_name_H-M '{Spacegroup(group).symbol}'"
    crystal = only(tmp_path, cif(rows, cell=cell, operations=None, head=head))
    found = spglib.get_spacegroup((crystal.cell, crystal.frac, crystal.numbers), symprec=1e-4)
    assert f"({group})" in found


@pytest.mark.parametrize("prototype", PROTOTYPES)
def test_expansion_agrees_with_pymatgen(tmp_path, prototype):
    core = pytest.importorskip("pymatgen.core", reason="pymatgen, the judge, is not installed")
    from pymatgen.io.cif import CifParser, CifWriter
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    group, _, cell, sites = PROTOTYPES[prototype]
    atoms = ase_crystal(
        [s[0] for s in sites], [s[1:] for s in sites], spacegroup=group, cellpar=cell
    )
    structure = core.Structure(atoms.cell.array, atoms.numbers, atoms.get_scaled_positions())
    assert SpacegroupAnalyzer(structure, 1e-3).get_space_group_number() == group
    text = str(CifWriter(structure, symprec=1e-3))
    assert "equiv_pos" in text
    theirs = CifParser.from_str(text).parse_structures(primitive=False)[0]
    ours = only(tmp_path, text)
    assert sorted(ours.numbers) == sorted(site.specie.Z for site in theirs)
    assert ours.volume == pytest.approx(theirs.volume, rel=1e-6)
    np.testing.assert_allclose(
        sorted_distances(ours.positions, ours.cell, 4),
        sorted_distances(theirs.cart_coords, theirs.lattice.matrix, 4),
        atol=1e-5,
    )


def test_rounded_special_positions_become_one_atom_in_its_place(tmp_path):
    operations = ("x,y,z", "-y,x-y,z", "-x+y,-x,z")
    text = cif("B1 0.333 0.667 0.0", cell=(2.5, 2.5, 6.6, 90, 90, 120), operations=operations)
    crystal = only(tmp_path, text)
    assert crystal.n_atoms == 1
    np.testing.assert_allclose(crystal.frac[0], [1 / 3, 2 / 3, 0], atol=1e-12)


def test_an_atom_near_a_special_position_but_not_on_it_is_refused(tmp_path):
    text = cif("O1 0.02 0.1 0.3", operations=("x,y,z", "-x,y,z"))
    found = problem(tmp_path, text)
    assert found.kind == "overlap"
    assert "0.20 Å" in found.reason


def test_rhombohedral_axes_are_told_by_the_angles(tmp_path):
    head = "_symmetry_space_group_name_H-M 'R -3'"
    sites = "Fe1 0.3333 0.3333 0.3333\nCl1 -0.256 0.41 0.077"
    rhombohedral = only(
        tmp_path, cif(sites, cell=(6.69, 6.69, 6.69, 52.3, 52.3, 52.3), operations=None, head=head)
    )
    assert rhombohedral.n_atoms == 8
    sites = "Fe1 0 0 0.3333\nCl1 0.333 0.077 0.077"
    hexagonal = only(
        tmp_path, cif(sites, cell=(5.9, 5.9, 17.2, 90, 90, 120), operations=None, head=head)
    )
    assert hexagonal.n_atoms == 24


SPINEL = "Mg1 {0} {0} {0}\nAl1 {1} {1} {1}\nO1 {2} {2} {2}"


def test_origin_choice_is_settled_by_the_formula_or_refused(tmp_path):
    head = "_symmetry_space_group_name_H-M 'F d -3 m'"
    formula = "\n_chemical_formula_sum 'Mg Al2 O4'\n_cell_formula_units_Z 8"
    first = SPINEL.format(0, 0.625, 0.3875)  # origin choice 1
    second = SPINEL.format(0.125, 0.5, 0.2625)  # origin choice 2
    reference = None
    for sites in (first, second):
        text = cif(sites, cell=(8.08, 8.08, 8.08, 90, 90, 90), operations=None, head=head + formula)
        crystal = only(tmp_path, text)
        assert crystal.n_atoms == 56
        distances = sorted_distances(crystal.positions, crystal.cell, 2.5)
        reference = distances if reference is None else reference
        np.testing.assert_allclose(distances, reference, atol=1e-9)
    unclear = cif("C1 0.05 0.11 0.23", cell=(20, 20, 20, 90, 90, 90), operations=None, head=head)
    found = problem(tmp_path, unclear)
    assert found.kind == "symmetry"
    assert "F d -3 m:1 or F d -3 m:2" in found.reason
    named = cif(
        "C1 0.05 0.11 0.23",
        cell=(20, 20, 20, 90, 90, 90),
        operations=None,
        head=head + "\n_space_group.IT_coordinate_system_code 2",
    )
    assert only(tmp_path, named).n_atoms == 192


def test_number_with_several_settings_is_refused(tmp_path):
    text = cif(
        "C1 0.1 0.2 0.3",
        cell=(7, 8, 9, 90, 105, 90),
        operations=None,
        head="_space_group_IT_number 14",
    )
    found = problem(tmp_path, text)
    assert found.kind == "symmetry"
    assert "P 1 21/c 1 or" in found.reason


def test_blocks_become_crystals_with_block_names(tmp_path):
    text = (
        cif("Cu1 0 0 0", name="copper")
        + "data_biblio\n_journal_year 1999\n"
        + cif("Ag1 0 0 0", name="silver")
    )
    result = read_text(tmp_path, text)
    assert [crystal.id for crystal in result.crystals] == ["x#copper", "x#silver"]
    assert not result.problems


def test_no_symmetry_at_all_is_p1(tmp_path):
    assert only(tmp_path, cif("Cu1 0 0 0", operations=None)).n_atoms == 1


def test_uncertainties_and_decimal_shifts(tmp_path):
    text = cif(
        "Cu1 0.1250(3) 0.2 0.3",
        cell=("5.01(2)", 5, 5, 90, 90, "90.0"),
        operations=("x,y,z", "1/2-x, -y, z+.5"),
    )
    crystal = only(tmp_path, text)
    assert crystal.cell[0, 0] == 5.01
    np.testing.assert_allclose(crystal.frac[1], [0.375, 0.8, 0.8], atol=1e-12)


def test_rounded_thirds_in_operations(tmp_path):
    operations = ("x,y,z", "-y,x-y,z+0.333", "y-x,-x,0.6667+z")
    text = cif("Te1 0.26 0 0.1", cell=(4.5, 4.5, 5.9, 90, 90, 120), operations=operations)
    crystal = only(tmp_path, text)
    np.testing.assert_allclose(np.sort(crystal.frac[:, 2]), 0.1 + np.arange(3) / 3, atol=1e-12)


def test_cell_of_a_triclinic_crystal(tmp_path):
    crystal = only(tmp_path, cif("Cu1 0 0 0", cell=(4, 5, 6, 80, 95, 110)))
    a, b, c = crystal.cell
    lengths = [np.linalg.norm(v) for v in (a, b, c)]
    np.testing.assert_allclose(lengths, [4, 5, 6])
    for u, v, angle in ((b, c, 80), (a, c, 95), (a, b, 110)):
        cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
        assert np.degrees(np.arccos(cosine)) == pytest.approx(angle)
    assert a[1] == a[2] == b[2] == 0


def test_deuterium_is_hydrogen(tmp_path):
    head = "_chemical_formula_sum 'D2 O'"
    text = cif("O1 O 0 0 0 1\nD1 D 0.2 0 0 1\nD2 D 0 0.2 0 1", SIX, head=head)
    assert sorted(only(tmp_path, text).numbers) == [1, 1, 8]


def test_two_charges_of_one_element_on_one_site_are_one_atom(tmp_path):
    text = cif("Fe1 Fe2+ 0 0 0 0.34\nFe2 Fe3+ 0 0 0 0.66", SIX)
    assert only(tmp_path, text).numbers.tolist() == [26]


def test_nearly_full_and_empty_sites(tmp_path):
    text = cif("Fe1 Fe 0 0 0 0.995\nO1 O 0.5 0.5 0.5 0\nO2 O 0.5 0 0 .", SIX)
    assert only(tmp_path, text).numbers.tolist() == [26, 8]


LABELS = {
    "Fe1": 26, "C12A": 6, "Cl": 17, "O2": 8, "Na+": 11, "H1W": 1, "Ow": 8, "D1": 1, "B": 5,
    "CA1": 20,
}  # fmt: skip


@pytest.mark.parametrize(("label", "number"), LABELS.items())
def test_elements_from_labels(tmp_path, label, number):
    symbols = {26: "Fe", 6: "C", 17: "Cl", 8: "O", 11: "Na", 1: "H", 5: "B", 20: "Ca"}
    head = f"_chemical_formula_sum '{symbols[number]}'"
    assert only(tmp_path, cif(f"{label} 0 0 0", head=head)).numbers.tolist() == [number]


def test_formula_decides_what_a_label_means(tmp_path):
    head = "_chemical_formula_sum '{}'"
    carbonate = cif("CO1 0 0 0\nO1 0.25 0 0", head=head.format("C O"))
    cobalt = cif("CO1 0 0 0\nO1 0.45 0 0", head=head.format("Co O"))
    hydroxide = cif("Ho1 0 0 0\nO1 0.2 0 0", head=head.format("H O"))
    assert sorted(only(tmp_path, hydroxide).numbers) == [1, 8]
    assert only(tmp_path, cif("Ho1 0 0 0")).numbers.tolist() == [67]
    assert sorted(only(tmp_path, carbonate).numbers) == [6, 8]
    assert sorted(only(tmp_path, cobalt).numbers) == [8, 27]


FULL_OPS = ("x,y,z", "-x,-y,-z")
BAD = {
    "partial": (cif("Li1 Li 0 0 0 0.5", SIX), "disorder", "site Li1 (Li) is occupied only to 0.5"),
    "mixed": (
        cif("Na1 Na 0 0 0 0.5\nK1 K 0 0 0 0.5", SIX),
        "disorder",
        "sites Na1 and K1 share one position (Na and K)",
    ),
    "too full": (cif("Na1 Na 0 0 0 3", SIX), "disorder", "occupancy of 3"),
    "unknown element": (cif("Q1 Xx 0 0 0 1", SIX), "element", "'Xx' is no element"),
    "group as element": (cif("O1 OH 0 0 0 1", SIX), "element", "'OH' is no element"),
    "tetrahedral site": (cif("T1 0 0 0"), "element", "'T1' names no element"),
    "unclear label": (cif("CO1 0 0 0"), "element", "may mean Co or C"),
    "hydrogens in a label": (cif("OH1 0 0 0"), "formula", "site OH1 stands for"),
    "hydrogens in a column": (
        cif("O1 0 0 0 2", "label fract_x fract_y fract_z attached_hydrogens"),
        "formula",
        "hydrogens that have no positions",
    ),
    "missing angle": (cif("Cu1 0 0 0", cell=(5, 5, 5, 90, 90, "?")), "cell", "gamma missing"),
    "no cell": (
        "data_x\nloop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n"
        "_atom_site_fract_z\nCu 0 0 0\n",
        "cell",
        "a, b, c, alpha, beta, gamma missing",
    ),
    "zero length": (cif("Cu1 0 0 0", cell=(0, 5, 5, 90, 90, 90)), "cell", "no cell has"),
    "impossible angles": (cif("Cu1 0 0 0", cell=(5, 5, 5, 30, 30, 100)), "cell", "no cell has"),
    "flat": (cif("Cu1 0 0 0", cell=(5, 5, 5, 90, 90, 0.001)), "cell", "the cell is flat"),
    "other volume": (
        cif("Cu1 0 0 0", head="_cell_volume 250"),
        "cell",
        "the cell has 125 Å³, but the file says 250 Å³",
    ),
    "overlap": (cif("Cu1 0 0 0\nCu2 0.04 0 0"), "overlap", "0.20 Å apart"),
    "overlap through the boundary": (cif("Cu1 0.98 0 0\nO1 0.01 0 0"), "overlap", "0.15 Å"),
    "broken": ("data_x\nloop_\n_a\n_b\n1 2 3\n", "broken", "is no sound CIF"),
    "cut off": (NACL_CIF[:-8] + "'", "broken", "is no sound CIF"),
    "not a CIF": ("hello", "broken", "is no sound CIF"),
    "empty": ("", "empty", "has no data block"),
    "no atoms": ("data_x\n_cell_length_a 5\n", "empty", "no atom sites"),
    "Cartesian": (
        "data_x\nloop_\n_atom_site_label\n_atom_site_Cartn_x\n_atom_site_Cartn_y\n"
        "_atom_site_Cartn_z\nCu 0 0 0\n",
        "empty",
        "write fractional ones",
    ),
    "all sites empty": (cif("Cu1 Cu 0 0 0 0", SIX), "empty", "every site is declared empty"),
    "unknown coordinate": (cif("Cu1 0 ? 0"), "coordinates", "site Cu1 has no coordinates"),
    "absent coordinate": (cif("Cu1 0 . 0"), "coordinates", "site Cu1 has no coordinates"),
    "coordinate as text": (cif("Cu1 0 abc 0"), "coordinates", "site Cu1 has no coordinates"),
    "no hydrogens": (
        cif("O1 0 0 0", head="_chemical_formula_sum 'H2 O'"),
        "formula",
        "the formula says H2, the sites give none",
    ),
    "too few hydrogens": (
        cif("O1 0 0 0\nH1 0.2 0 0", head="_chemical_formula_sum 'H2 O'"),
        "formula",
        "the sites give H1 O1, the formula says H2 O1",
    ),
    "other element": (
        cif("O1 0 0 0\nS1 0.5 0 0", head="_chemical_formula_sum 'O'"),
        "formula",
        "there are S sites",
    ),
    "too few units": (
        cif("Cu1 0 0 0", head="_chemical_formula_sum Cu\n_cell_formula_units_Z 4"),
        "formula",
        "the sites give 1 formula units Cu1 in the cell, the file says 4",
    ),
    "water as oxygen": (
        cif("Wat1 0 0 0", head="_chemical_formula_sum '(O H2)'"),
        "formula",
        "the formula says H2, the sites give none",
    ),
    "bad operation": (cif("Cu1 0 0 0", operations=("x,y",)), "symmetry", "'x,y' cannot be read"),
    "singular operation": (
        cif("Cu1 0 0 0", operations=("x,x,z",)),
        "symmetry",
        "is no symmetry operation",
    ),
    "operations missing": (
        cif("Cu1 0.1 0.2 0.3", operations=("x,y,z", "-x,-y,z", "x,-y,-z")),
        "symmetry",
        "are no group",
    ),
    "no identity": (cif("Cu1 0.1 0.2 0.3", operations=("-x,-y,-z",)), "symmetry", "are no group"),
    "cell against symmetry": (
        cif("Cu1 0 0 0", operations=("x,y,z", "-y,x-y,z", "-x+y,-x,z")),
        "symmetry",
        "the cell does not have the symmetry",
    ),
    "unknown space group": (
        cif("Cu1 0 0 0", operations=None, head="_symmetry_space_group_name_H-M 'Q 4 x'"),
        "symmetry",
        "'Q 4 x' is not known",
    ),
    "number out of range": (
        cif("Cu1 0 0 0", operations=None, head="_space_group_IT_number 231"),
        "symmetry",
        "number 231",
    ),
    "all atoms and another symmetry": (
        cif("In1 0 0 0\nIn2 .5 .5 0\nIn3 .5 0 .5\nIn4 0 .5 .5", cell=(4.6, 4.6, 4.9, 90, 90, 90),
            operations=None, head="_symmetry_space_group_name_H-M 'I 4/m m m'"),
        "symmetry",
        "although the symmetry already makes it",
    ),
    "fewer operations than the space group has": (
        NACL_CIF.replace("_chemical_formula_sum 'Na Cl'\n_cell_formula_units_Z 4\n", "").replace(
            "loop_", "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\nloop_"
        ),
        "symmetry",
        "lists 1 symmetry operations, but F m -3 m has 192",
    ),
    "disorder groups": (
        cif("C1 0 0 0 1\nC2 .5 0 0 2", "label fract_x fract_y fract_z disorder_group"),
        "disorder",
        "site C1 is one of several alternatives",
    ),
    "labels of other number": (
        cif("0 0 0\n.5 0 0", "fract_x fract_y fract_z", head="_atom_site_label Cu1"),
        "empty",
        "no atom sites",
    ),
    "occupancies of other number": (
        cif("Cu1 0 0 0\nCu2 .5 0 0", head="_atom_site_occupancy 1"),
        "broken",
        "2 sites but 1 values",
    ),
    "endless operation": (
        cif("Cu1 0 0 0", operations=("x,y,z+1/" + "9" * 5000,)), "symmetry", "cannot be read"
    ),
    "modulated": (
        cif("Cu1 0 0 0", head="_cell_modulation_dimension 1"), "symmetry", "modulated"
    ),
    "enormous": (cif("Cu1 0 0 0", cell=(1e6, 5, 5, 90, 90, 90)), "cell", "is no crystal's"),
    "tiny": (cif("Cu1 0 0 0\nO1 .5 .5 .5", cell=(0.5, 0.5, 0.5, 90, 90, 90)), "cell", "too small"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "words"), BAD.values(), ids=BAD)
def test_bad_files_are_named(tmp_path, text, kind, words):
    found = problem(tmp_path, text)
    assert (found.kind, words in found.reason) == (kind, True), found


def test_listing_every_atom_beside_the_symmetry_is_fine(tmp_path):
    body = "Cs1 0 0 0\nCl1 .5 .5 .5\n"
    text = cif("Cu1 0 0 0\nCu2 .5 .5 .5", operations=("x,y,z", "x+1/2,y+1/2,z+1/2"))
    assert only(tmp_path, text).n_atoms == 2
    assert only(tmp_path, cif(body, operations=FULL_OPS)).n_atoms == 2


def test_every_atom_listed_with_the_name_of_the_space_group(tmp_path):
    head = "_symmetry_space_group_name_H-M 'F m -3 m'"
    sites = "Cu1 0 0 0\nCu2 .5 .5 0\nCu3 .5 0 .5\nCu4 0 .5 .5"
    assert only(tmp_path, cif(sites, head=head)).n_atoms == 4


def test_whole_cell_formula_beside_z(tmp_path):
    head = "_chemical_formula_sum 'Cu2 O2'\n_cell_formula_units_Z 2"
    sites = "Cu1 0 0 0\nCu2 .5 .5 0\nO1 .5 0 0\nO2 0 .5 0"
    assert only(tmp_path, cif(sites, head=head)).n_atoms == 4


def test_one_bad_block_leaves_the_other(tmp_path):
    text = cif("Cu1 0 0 0", name="good") + cif("Li1 Li 0 0 0 0.5", SIX, name="bad")
    result = read_text(tmp_path, text)
    assert [c.id for c in result.crystals] == ["x#good"]
    assert [(p.id, p.kind) for p in result.problems] == [("x#bad", "disorder")]


def test_reasons_carry_no_control_characters_to_the_terminal(tmp_path):
    raw = Problem("a\x1b[31m.cif", "b", "it says\x1b[31m\n  red\x07", "cell")
    assert raw.reason == "it says [31m red"
    assert str(raw) == "a [31m.cif (b): it says [31m red"
    found = problem(tmp_path, cif(f"{'Q' * 5000} 0 0 0"))
    assert len(found.reason) == 300
