"""Small organic molecules: a core, groups in place of its hydrogens, and a conformation.

RDKit keeps the valences; the rules here keep out what would fall apart (bonds between hetero atoms
that the fragments do not have). Conformations are ETKDG's (Riniker and Landrum, J. Chem. Inf.
Model. 55, 2562, 2015), relaxed with MMFF94 (Halgren, J. Comput. Chem. 17, 490, 1996).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CORES: dict[str, float] = {
    "c1ccccc1": 14, "n1ccccc1": 5, "n1ccncc1": 2, "n1cnccc1": 2, "c1ccnnc1": 0.7, "n1cncnc1": 0.7,
    "c1cc[nH]c1": 2, "c1c[nH]cn1": 3, "c1cn[nH]c1": 2, "c1nc[nH]n1": 1, "c1ccoc1": 2, "c1ccsc1": 2,
    "c1cocn1": 0.7, "c1cscn1": 1, "c1conc1": 0.7, "c1ccc2ccccc2c1": 2, "c1ccc2[nH]ccc2c1": 1.5,
    "c1ccc2ncccc2c1": 1, "c1ccc2[nH]cnc2c1": 1, "O=c1cc[nH]c(=O)[nH]1": 1.5,
    "c1ncc2nc[nH]c2n1": 0.7,
    "C1CCCCC1": 3, "C1CCCC1": 2, "C1CC1": 1, "C1CCC1": 0.7, "C1CCNCC1": 2, "C1COCCN1": 1.5,
    "C1CNCCN1": 1, "C1CCOC1": 1.5, "C1CCNC1": 1, "C1CCOCC1": 1, "C1CC2CCC1C2": 0.5,
    "O=C1CCCC1": 0.7,
    "O=C1CCCN1": 0.7, "O=C1CCCO1": 0.5, "O=C1CCC(=O)N1": 0.7, "O=C1C=CC(=O)C=C1": 0.7, "C": 1,
    "CC": 3, "CCC": 3, "CCCC": 2, "C=C": 1.5, "C=CC=C": 0.5, "C#C": 0.7, "COC": 1, "CNC": 0.7,
    "CC(C)C": 1.5, "NC(=O)N": 1, "NC(=S)N": 0.7, "CNC(=O)C": 1, "CS(=O)(=O)C": 0.7, "CSC": 0.7,
    "c1ccc(-c2ccccc2)cc1": 1, "c1ccc(Cc2ccccc2)cc1": 0.7, "O=C(c1ccccc1)c1ccccc1": 0.5,
    "c1ccc(/N=N/c2ccccc2)cc1": 0.4, "C1COCO1": 0.4, "C1=CCCCC1": 0.7,
}  # fmt: skip
"""Where a molecule begins, with weights."""

GROUPS: dict[str, float] = {
    "C": 14, "CC": 3, "C(C)C": 2, "C(C)(C)C": 0.7, "O": 9, "N": 7, "F": 5, "Cl": 5, "Br": 2.5,
    "I": 1,
    "OC": 5, "C(=O)O": 8, "C(=O)N": 4, "C(=O)OC": 3, "C=O": 2, "C(=O)C": 2, "C#N": 3,
    "[N+](=O)[O-]": 4, "NC(=O)C": 2, "N(C)C": 1.5, "NC": 1, "S": 0.5, "SC": 1, "S(=O)(=O)N": 1.5,
    "C(F)(F)F": 2, "CO": 2, "CN": 1, "CC(=O)O": 1.5, "C=C": 0.7, "C#C": 0.7, "c1ccccc1": 2,
    "c1ccncc1": 1, "C=NO": 0.5, "OC(=O)C": 0.7, "B(O)O": 0.5, "P(=O)(O)O": 0.5, "NC(=O)N": 0.5,
}  # fmt: skip
"""What takes the place of a hydrogen on carbon, joined by its first atom."""


@dataclass(frozen=True)
class Molecule:
    """A molecule with a conformation.

    Attributes
    ----------
    smiles
        RDKit's canonical one.
    numbers, positions
        Atoms; Å.
    polar
        Hydrogens on O, N and S, ``(n,)``.
    """

    smiles: str
    numbers: IntArray
    positions: FloatArray
    polar: npt.NDArray[np.bool_]


def draw_molecule(rng: np.random.Generator, max_atoms: int) -> Molecule | None:
    """Draw a molecule; None where it is too large or no conformation is found.

    Parameters
    ----------
    rng
        Makes the choices.
    max_atoms
        Largest number of atoms, hydrogens included.
    """
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    mol = Chem.MolFromSmiles(_draw(rng, CORES))
    for _ in range(int(rng.choice(6, p=[0.08, 0.22, 0.3, 0.22, 0.12, 0.06]))):
        places = [a.GetIdx() for a in mol.GetAtoms() if _takes_a_group(a)]
        if not places:
            break
        place = int(rng.choice(places))
        group = Chem.MolFromSmiles(_draw(rng, GROUPS))
        joined = Chem.RWMol(Chem.CombineMols(mol, group))
        joined.AddBond(place, mol.GetNumAtoms(), Chem.BondType.SINGLE)
        mol = joined.GetMol()
        Chem.SanitizeMol(mol)
    smiles = Chem.MolToSmiles(mol)
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if not 3 < mol.GetNumAtoms() <= max_atoms:
        return None
    # ETKDG knows no ring that is bent beyond measure: such molecules are drawn anew.
    if rdDistGeom.EmbedMolecule(mol, randomSeed=int(rng.integers(2**31 - 1))) != 0:
        return None
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.UFFOptimizeMolecule(mol, maxIters=500)
    else:
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=500)
    positions = np.array(mol.GetConformer().GetPositions())
    polar = [
        atom.GetSymbol() == "H" and atom.GetNeighbors()[0].GetSymbol() in ("N", "O", "S")
        for atom in mol.GetAtoms()
    ]
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)
    return Molecule(smiles, numbers, positions - positions.mean(0), np.array(polar))


def _takes_a_group(atom: object) -> bool:
    """Whether a group may take a hydrogen's place: on carbon that carries no hetero atom twice."""
    if atom.GetSymbol() != "C" or atom.GetTotalNumHs() == 0:  # type: ignore[attr-defined]
        return False
    if atom.GetIsAromatic():  # type: ignore[attr-defined]
        return True
    # no hemiacetals, aminals and the like: they fall apart
    around = [other.GetSymbol() for other in atom.GetNeighbors()]  # type: ignore[attr-defined]
    return all(symbol == "C" for symbol in around)


def _draw(rng: np.random.Generator, table: dict[str, float]) -> str:
    weights = np.fromiter(table.values(), float)
    return str(list(table)[int(rng.choice(len(weights), p=weights / weights.sum()))])
