"""Organic parts: SMILES with the atoms that bind, their three-dimensional forms, functional groups.

Atoms that bind carry a map number: the same number is the same metal, so that two atoms of one
number are a chelate. Carboxylates without numbers are left open: they bind one metal with one
oxygen or with both, or bridge two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

DITOPIC: dict[str, float] = {
    # carboxylates
    "[O-]C(=O)c1ccc(cc1)C(=O)[O-]": 8, "[O-]C(=O)c1cccc(c1)C(=O)[O-]": 6,
    "[O-]C(=O)c1ccccc1C(=O)[O-]": 2, "[O-]C(=O)/C=C/C(=O)[O-]": 5, "[O-]C(=O)CCC(=O)[O-]": 4,
    "[O-]C(=O)CC(=O)[O-]": 2, "[O-]C(=O)C#CC(=O)[O-]": 2, "[O-]C(=O)CCCC(=O)[O-]": 2,
    "[O-]C(=O)c1ccc(cc1)c1ccc(cc1)C(=O)[O-]": 3, "[O-]C(=O)c1ccc2cc(ccc2c1)C(=O)[O-]": 2,
    "[O-]C(=O)c1sc(cc1)C(=O)[O-]": 2, "[O-]C(=O)c1oc(cc1)C(=O)[O-]": 2,
    "[O-]C(=O)C1CCC(CC1)C(=O)[O-]": 1, "[O-]C(=O)c1ccc(nc1)C(=O)[O-]": 1,
    "[O-]C(=O)C12CCC(CC1)(CC2)C(=O)[O-]": 1, "[O-]C(=O)c1cc(nc(c1)C)C(=O)[O-]": 0.5,
    # one carboxylate, one nitrogen
    "[n:1]1ccc(cc1)C(=O)[O-]": 8, "[n:1]1cccc(c1)C(=O)[O-]": 5, "[n:1]1ccc(cc1)/C=C/C(=O)[O-]": 1,
    "[n:1]1ccc(cc1)c1ccc(cc1)C(=O)[O-]": 1, "[NH2:1]CC(=O)[O-]": 2, "[NH2:1]C(C)C(=O)[O-]": 1,
    "[n:1]1cncc(c1)C(=O)[O-]": 1, "[NH2:1]c1ccc(cc1)C(=O)[O-]": 1,
    # nitrogens
    "[n:1]1cc[n:2]cc1": 9, "[n:1]1ccc(cc1)c1cc[n:2]cc1": 12, "[n:1]1ccc(cc1)/C=C/c1cc[n:2]cc1": 2,
    "[n:1]1ccc(cc1)CCc1cc[n:2]cc1": 2, "[N:1]12CC[N:2](CC1)CC2": 2, "[NH:1]1CC[NH:2]CC1": 1,
    "[n:1]1cc[n:2]c(c1)C": 1, "[n:1]1c[n:2]ccc1": 2, "[NH2:1]CC[NH2:2]": 1,
    "[n:1]1ccc(cc1)N=Nc1cc[n:2]cc1": 1, "[n:1]1ccc(cc1)C#Cc1cc[n:2]cc1": 1,
    "[N:1]#Cc1ccc(cc1)C#[N:2]": 1, "[n:1]1ccc(cc1)C#[N:2]": 1, "[n:1]1ccc2cc[n:2]cc2c1": 0.3,
    "[n:1]1ccn(c1)Cn1cc[n:2]c1": 1, "[N:1]#CCCC#[N:2]": 0.5, "[N:1]1=CC=[N:2]NC1": 0.2,
    # azolates
    "[n-:1]1cc[n:2]c1": 4, "[n-:1]1cc[n:2]c1C": 2, "[n-:1]1c2ccccc2[n:2]c1": 2,
    "[n-:1]1ccc[n:2]1": 4, "[n-:1]1c(C)cc([n:2]1)C": 2, "[n-:1]1cn[n:2]c1": 1,
    "[n-:1]1nc[n:2]c1": 4, "[n-:1]1nn[n:2]c1": 1, "[n-:1]1nn[n:2]c1C": 1,
    "[n-:1]1cc[n:2]c1C=O": 0.5,
    # small anions
    "[C-:1]#[N:2]": 9, "[N-:1]=[N+]=[N-:2]": 2, "[S-:1]C#[N:2]": 9, "[N:1]#C[N-]C#[N:2]": 3,
    "[O:1]=C[O-:2]": 5,
    "[O:1]=C(C)[O-:2]": 2, "[O:1]=C([O-:2])c1ccccc1": 1.5,
    # chelates on both sides
    "[O:1]=C1C=C([O-:2])C(=[O:2])C=C1[O-:1]": 2, "[n:1]1cc[n:2]c(c1C(=O)[O-:1])C(=O)[O-:2]": 1,
    "[n:1]1c[n:2]c(cc1C(=O)[O-:1])C(=O)[O-:2]": 0.5, "[n:1]1cc[n:2]cc1C(=O)[O-:1]": 2,
    "OXALATE": 7, "[NH2:1]CCS(=O)(=O)[O-:2]": 0.5, "[O-:1]S(=O)(=O)c1ccc(cc1)S(=O)(=O)[O-:2]": 1,
    "[O-:1]c1ccc(cc1)[O-:2]": 0.5,
    "[O-:1]P(=O)(C)[O-:2]": 2, "[O-:1]P(=O)(c1ccccc1)[O-:2]": 2.5, "[O-:1]S(=O)(=O)[O-:2]": 2.5,
}  # fmt: skip
"""Linkers of two metals, with how often they are drawn."""

TRITOPIC: dict[str, float] = {
    "[O-]C(=O)c1cc(cc(c1)C(=O)[O-])C(=O)[O-]": 4, "[n-:1]1c[n:2]c[n:3]1": 4,
    "[n:1]1c[n:2]c[n:3]c1": 1, "[n:1]1cc(cc(c1)C(=O)[O-])C(=O)[O-]": 3,
    "[n-:1]1nc(C)[n:2][n:3]1": 1, "[n-:1]1c([NH2])[n:2]c[n:3]1": 1,
    "[n:1]1ccc(c(c1)C(=O)[O-])C(=O)[O-]": 1, "[n:1]1c[n-:2]cc1C(=O)[O-]": 1,
    "[n:1]1ccc(cc1)-c1nn[n-:2][n:3]1": 1, "[n:1]1cc[n:2]cc1C(=O)[O-]": 1,
    "[O-:1]C(=O)CC(O)(CC(=O)[O-:2])C(=O)[O-:3]": 1,
    "[NH2:1]C(CC(=O)[O-])C(=O)[O-]": 1, "[O-:1]P([O-:2])([O-:3])=O": 1,
    "[O-:1]P(=O)([O-:2])CC(=O)[O-:3]": 0.7,
}  # fmt: skip
"""Linkers of three metals."""

TETRATOPIC: dict[str, float] = {
    "[O-]C(=O)c1cc(C(=O)[O-])c(cc1C(=O)[O-])C(=O)[O-]": 2,
    "[N:1]#CC(C#[N:2])=C(C#[N:3])C#[N:4]": 0.7,
    "[O:1]=C([O-:2])c1ccc(cc1)C(=[O:3])[O-:4]": 4, "[O:1]=C([O-:2])/C=C/C(=[O:3])[O-:4]": 3,
    "[O:1]=C([O-:2])CCC(=[O:3])[O-:4]": 2, "[O:1]=C([O-:2])C#CC(=[O:3])[O-:4]": 1,
    "[O:1]=C([O-:2])c1cccc(c1)C(=[O:3])[O-:4]": 2, "[O-:1]C1=C([O-:2])C(=[O:3])C1=[O:4]": 1.5,
    "[O-:1]S(=[O:2])(=[O:3])[O-:4]": 0.7, "[O-]C(=O)CC(C(=O)[O-])C(CC(=O)[O-])C(=O)[O-]": 0.3,
    "[O:1]=C([O-:2])CC(=[O:3])[O-:4]": 1,
}  # fmt: skip
"""Linkers of four metals."""

TERMINAL: dict[str, float] = {
    "[OH2:1]": 10, "[OH-:1]": 0.5, "[NH3:1]": 1.5, "[Cl-:1]": 6, "[Br-:1]": 3, "[I-:1]": 2.5,
    "[F-:1]": 0.5, "[n:1]1ccccc1": 4, "[n:1]1ccc(cc1)C": 1, "[n:1]1cc[nH]c1": 4,
    "[O:1]=CN(C)C": 2, "[O:1]=S(C)C": 1, "[OH:1]C": 1.5, "[N:1]#CC": 1, "[OH:1]CC": 0.4,
    "[O-]C=O": 1.5, "[O-]C(=O)C": 2, "[O-]C(=O)c1ccccc1": 1, "[S-]C#[N:1]": 5,
    "[N-:1]=[N+]=[N-]": 1, "[O-:1][N+](=O)[O-]": 1.5, "[O-:1][N+](=[O:1])[O-]": 1.5,
    "[n:1]1ccccc1-c1cccc[n:1]1": 5, "[n:1]1cccc2ccc3ccc[n:1]c3c21": 4, "[NH2:1]CC[NH2:1]": 2,
    "[n:1]1ccccc1C(=O)[O-:1]": 2, "[n:1]1ccc[nH]1": 1, "[S:1]=C(N)N": 3, "[O:1]=C(N)N": 0.5,
    "[O-:1]Cl(=O)(=O)=O": 0.7, "[n:1]1cc[nH]c1C": 0.5,
}  # fmt: skip
"""What fills a metal's remaining places."""

BRIDGES: dict[str, float] = {"Cl": 6, "Br": 5, "I": 4, "F": 1, "OH": 2}
"""Ions of one donor atom that binds two metals."""

GROUPS: dict[str, float] = {
    "F": 3, "Cl": 3, "Br": 2, "C": 4, "N": 3, "O": 3, "OC": 1, "[N+](=O)[O-]": 2, "C#N": 0.5,
    "C(F)(F)F": 0.7, "I": 0.5,
}  # fmt: skip
"""Functional groups in place of a ring's hydrogen."""


@dataclass(frozen=True)
class Site:
    """Atoms of a ligand that bind one metal, or the oxygens of a carboxylate that is left open.

    Attributes
    ----------
    atoms
        Indices.
    open
        Whether it is a carboxylate that may bind in any way.
    """

    atoms: tuple[int, ...]
    open: bool = False


@dataclass(frozen=True)
class Ligand:
    """An organic part, or a small ion.

    Attributes
    ----------
    smiles
        What it is, with the map numbers.
    numbers, positions
        Atoms; Å.
    bonds
        Pairs of atoms, ``(n, 2)``.
    block
        Which rigid piece an atom belongs to, ``(n,)``.
    sites
        Where it binds.
    charge
        In elementary charges.
    polar
        Hydrogens on O and N, ``(n,)``.
    """

    smiles: str
    numbers: npt.NDArray[np.int64]
    positions: FloatArray
    bonds: npt.NDArray[np.int64]
    block: npt.NDArray[np.int64]
    sites: tuple[Site, ...]
    charge: int
    polar: npt.NDArray[np.bool_]

    def neighbours(self, atom: int) -> list[int]:
        """Atoms bonded to one."""
        return [int(b if a == atom else a) for a, b in self.bonds if atom in (a, b)]


def draw(rng: np.random.Generator, table: dict[str, float]) -> str:
    """One of a table, as often as its weight says."""
    weights = np.fromiter(table.values(), float)
    return str(list(table)[int(rng.choice(len(weights), p=weights / weights.sum()))])


def decorate(rng: np.random.Generator, smiles: str) -> str:
    """Put a functional group in place of a hydrogen of a ring, if it has one."""
    from rdkit import Chem

    mol = Chem.MolFromSmiles(smiles) if smiles != "OXALATE" else None
    if mol is None:
        return smiles
    places = [
        atom.GetIdx()
        for atom in mol.GetAtoms()
        if atom.GetIsAromatic()
        and atom.GetSymbol() == "C"
        and atom.GetTotalNumHs() == 1
        # beside an atom that binds there is no room
        and not any(other.GetAtomMapNum() for other in atom.GetNeighbors())
    ]
    if not places:
        return smiles
    group = Chem.MolFromSmiles(draw(rng, GROUPS))
    place = int(rng.choice(places))
    joined = Chem.RWMol(Chem.CombineMols(mol, group))
    joined.AddBond(place, mol.GetNumAtoms(), Chem.BondType.SINGLE)
    Chem.SanitizeMol(joined)
    return str(Chem.MolToSmiles(joined))


@lru_cache(maxsize=4096)
def ligand(smiles: str, form: int = 0) -> Ligand | None:
    """Make one of the forms of a ligand; None where none is found.

    Parameters
    ----------
    smiles
        As in the tables.
    form
        Number of the conformation, a seed.
    """
    if smiles == "OXALATE":
        return _oxalate()
    if smiles in BRIDGES:
        return _bridge_ion(smiles)
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if mol.GetNumAtoms() > 1:
        ids = list(
            rdDistGeom.EmbedMultipleConfs(
                mol, numConfs=12 if _chelates(mol) else 1, randomSeed=1 + form, clearConfs=True
            )
        )
        if not ids:
            return None
        # Without its metal a chelate turns its like charges away from each other: left as embedded.
        if len(ids) == 1:
            rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(mol, maxIters=400, numThreads=1)
        best = min(ids, key=lambda k: (round(_chelate_width(mol, k), 2), k))
        if _chelate_width(mol, best) > 3.3:
            return None
        positions = np.array(mol.GetConformer(best).GetPositions())
    else:
        positions = np.zeros((1, 3))
    mapped: dict[int, list[int]] = {}
    for atom in mol.GetAtoms():
        if atom.GetAtomMapNum():
            mapped.setdefault(atom.GetAtomMapNum(), []).append(atom.GetIdx())
    sites = [Site(tuple(mapped[k])) for k in sorted(mapped)]
    taken = {k for site in sites for k in site.atoms}
    for _, a, b in mol.GetSubstructMatches(Chem.MolFromSmarts("[#6X3](=[OX1])[OX1-]")):
        if not taken & {a, b}:
            sites.append(Site((a, b), open=True))
    bonds = np.array(
        [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()], dtype=np.int64
    ).reshape(-1, 2)
    polar = [
        a.GetSymbol() == "H" and a.GetNeighbors()[0].GetSymbol() in "NO" if a.GetDegree() else False
        for a in mol.GetAtoms()
    ]
    return Ligand(
        smiles,
        np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64),
        positions - positions.mean(0),
        bonds,
        _blocks(mol),
        tuple(sites),
        int(Chem.GetFormalCharge(mol)),
        np.array(polar, dtype=bool),
    )


def _chelates(mol: object) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for atom in mol.GetAtoms():  # type: ignore[attr-defined]
        if atom.GetAtomMapNum():
            found.setdefault(atom.GetAtomMapNum(), []).append(atom.GetIdx())
    return [atoms for atoms in found.values() if len(atoms) == 2]


def _chelate_width(mol: object, conformer: int) -> float:
    """Largest distance (Å) between the two atoms of a chelate."""
    at = np.array(mol.GetConformer(conformer).GetPositions())  # type: ignore[attr-defined]
    return max((float(np.linalg.norm(at[a] - at[b])) for a, b in _chelates(mol)), default=0.0)


def _blocks(mol: object) -> npt.NDArray[np.int64]:
    """Pieces between bonds that can be turned about."""
    from rdkit import Chem

    turning = Chem.MolFromSmarts("[!$(*#*)&!D1]-&!@[!$(*#*)&!D1]")
    pairs = mol.GetSubstructMatches(turning)  # type: ignore[attr-defined]
    cut = [
        mol.GetBondBetweenAtoms(a, b).GetIdx()  # type: ignore[attr-defined]
        for a, b in pairs
        if mol.GetAtomWithIdx(a).GetDegree() > 1 and mol.GetAtomWithIdx(b).GetDegree() > 1  # type: ignore[attr-defined]
    ]
    pieces = Chem.FragmentOnBonds(mol, cut, addDummies=False) if cut else mol
    block = np.zeros(mol.GetNumAtoms(), dtype=np.int64)  # type: ignore[attr-defined]
    for number, atoms in enumerate(Chem.GetMolFrags(pieces)):
        block[list(atoms)] = number
    return block


def _oxalate() -> Ligand:
    """Oxalate, flat, each side a chelate of one oxygen of each carbon."""
    positions = np.array(
        [[0.78, 0, 0], [-0.78, 0, 0], [1.35, 1.118, 0], [-1.35, 1.118, 0], [1.35, -1.118, 0],
         [-1.35, -1.118, 0]]
    )  # fmt: skip
    bonds = np.array([[0, 1], [0, 2], [0, 4], [1, 3], [1, 5]])
    sites = (Site((2, 3)), Site((4, 5)))
    none = np.zeros(6, dtype=bool)
    numbers = np.array([6, 6, 8, 8, 8, 8])
    return Ligand("OXALATE", numbers, positions, bonds, np.zeros(6, np.int64), sites, -2, none)


def _bridge_ion(name: str) -> Ligand:
    from atomprint.ground import elements

    water = name == "OH"
    numbers = [8, 1] if water else [elements.atomic_number[name]]
    positions = np.array([[0, 0, 0], [0, 0, 0.97]])[: len(numbers)]
    bonds = np.array([[0, 1]] if water else [], dtype=np.int64).reshape(-1, 2)
    block = np.zeros(len(numbers), np.int64)
    polar = np.array(numbers) == 1
    sites = (Site((0,)), Site((0,)))
    return Ligand(name, np.array(numbers), positions, bonds, block, sites, -1, polar)


def needed() -> Sequence[str]:
    """Packages that this takes."""
    return ("rdkit",)
