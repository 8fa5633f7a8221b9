"""The corpus that fuzzing begins with: small sound inputs of every format, made by code."""

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import torch
import yaml
from ase import Atoms

from atomprint.api import PretrainConfig
from atomprint.backbones import ETSettings, PaiNNSettings
from atomprint.data.embedded import CORPUS
from atomprint.data.store.store import SHARDS
from atomprint.data.store.writer import StoreWriter
from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.saved import ModelInfo, save_model
from atomprint.heads.target import Target
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals

# CIF as data bases write it: symmetry, disorder, uncertainties, quotes, text fields, two blocks.
CIF = b"""data_NaCl
_cell_length_a 5.64(2)
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90.0
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
'-x, -y, z+1/2'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na+ 0 0 0 1.0
Cl1 Cl 0.5 0.5 0.5(1) 1
data_second
_audit_creation_method
;
text # of
several lines
;
_cell_length_a 3
"""


def corpus(n: int = 4) -> list[Crystal]:
    """A few small crystals with labels."""
    small = sorted(read_crystals(CORPUS).crystals, key=lambda crystal: crystal.n_atoms)[:n]
    return [
        crystal.with_labels({"energy": 0.5 * i, "forces": np.ones((crystal.n_atoms, 3))})
        for i, crystal in enumerate(small)
    ]


def atoms_of(crystal: Crystal) -> Atoms:
    """The same for ASE."""
    return Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)


def written(form: str, several: bool) -> bytes:
    """Crystals in a format that ASE writes."""
    atoms = [atoms_of(crystal) for crystal in corpus()]
    file = io.BytesIO() if form == "cif" else io.StringIO()
    if form == "vasp":
        ase.io.write(file, atoms[0], format=form, direct=several)
    else:
        ase.io.write(file, atoms if several else atoms[0], format=form)
    text = file.getvalue()
    return text if isinstance(text, bytes) else text.encode()


def cif() -> list[bytes]:
    """CIF, one of them disordered."""
    mixed = CIF.replace(b"0.5(1) 1", b"0.5(1) 0.4\nBr1 Br 0.5 0.5 0.5 0.5\nF1 F 0.5 0.6 0.5 .1")
    return [CIF, mixed, written("cif", False), written("cif", True)]


def poscar() -> list[bytes]:
    """POSCAR, direct and Cartesian, with selective dynamics and a negative scale."""
    plain = written("vasp", False)
    lines = plain.decode().splitlines()
    lines[1] = " -100.0"
    moving = [*lines[:7], "Selective dynamics", *(f"{line} T F T" for line in lines[7:])]
    return [plain, written("vasp", True), "\n".join(moving).encode()]


def extxyz() -> list[bytes]:
    """Extended XYZ, with properties, quotes, arrays and several frames."""
    rich = (
        b'2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3:tag:I:1 '
        b"energy=-1.5 name='a b' ok=T pbc=\"T T T\" stress={1 2 3 4 5 6 7 8 9}\n"
        b"Na 0 0 0 0.1 0.2 0.3 1\nCl 2 2 2 -0.1 -0.2 -0.3 2\n"
    )
    return [rich, rich * 3, written("extxyz", True)]


def pymatgen_json() -> list[bytes]:
    """Structures as pymatgen writes them: one, a list of entries, a table, one disordered."""
    entries = []
    for crystal in corpus():
        sites = [
            {
                "species": [{"element": atom.symbol, "occu": 1}],
                "abc": [float(x) for x in frac],
                "xyz": [float(x) for x in atom.position],
                "label": atom.symbol,
                "properties": {},
            }
            for atom, frac in zip(atoms_of(crystal), crystal.frac, strict=True)
        ]
        entries.append(
            {
                "@module": "pymatgen.core.structure",
                "@class": "Structure",
                "charge": 0,
                "lattice": {"matrix": crystal.cell.tolist(), "pbc": [True, True, True]},
                "sites": sites,
            }
        )
    listed = [{"material_id": f"m{i}", "structure": e, "gap": i} for i, e in enumerate(entries)]
    split = {"index": [0], "columns": ["structure", "y"], "data": [[entries[0], 1.5]]}
    mixed = json.loads(json.dumps(entries[1]))
    mixed["sites"][0]["species"] = [{"element": "Li", "occu": 0.5}, {"element": "Na", "occu": 0.2}]
    return [json.dumps(value).encode() for value in (entries[0], listed, split, mixed)]


def store() -> list[bytes]:
    """Shards of a store, with and without labels."""
    shards = []
    for crystals, exact in ((corpus(), False), ([c.with_labels({}) for c in corpus(2)], True)):
        with tempfile.TemporaryDirectory() as folder:
            with StoreWriter(Path(folder) / "s", exact=exact) as writer:
                for crystal in crystals:
                    writer.add(crystal)
            shards += [f.read_bytes() for f in (Path(folder) / "s" / SHARDS).glob("*.shard")]
    return shards


def checkpoint() -> list[bytes]:
    """Checkpoints: length of model.json in four bytes, model.json, model.safetensors."""
    found = []
    backbones = (
        PaiNNSettings(n_channels=4, n_layers=1, n_radial=2),
        ETSettings(n_channels=4, n_layers=1, n_heads=2, n_radial=2),
    )
    for backbone in backbones:
        torch.manual_seed(0)
        model = Model(ModelSettings(backbone=backbone, n_hidden=4), (Target(name="gap"),))
        with tempfile.TemporaryDirectory() as folder:
            save_model(Path(folder), model, model.state_dict(), ModelInfo("finetune", {"seed": 0}))
            about = (Path(folder) / "model.json").read_bytes()
            weights = (Path(folder) / "model.safetensors").read_bytes()
        found.append(len(about).to_bytes(4, "little") + about + weights)
    return found


def settings() -> list[bytes]:
    """Settings files: all of them, and a short one with anchors."""
    whole = yaml.safe_dump(PretrainConfig().model_dump(mode="json"))
    short = (
        "data: {embedded: 1.0, mine: 2}\nout: run\n"
        "loop: &loop {n_steps: 10, batch: {max_crystals: 8}}\nvalid_fraction: 0.1\n"
        "objectives:\n  - {kind: masking, fraction: 0.2}\n  - kind: denoising\n"
    )
    return [whole.encode(), short.encode()]


def labels() -> list[bytes]:
    """Tables of labels, for crystals that are named a, b and c."""
    return [
        b"id,gap,energy (eV)\na,1.5,2\nb,,3e0\nc,0.1,-4\n",
        b'file;gap\n"a.vasp";"1,5"\nb;2,5\nc;3\n',
        b"# comment\nmaterial_id\tband gap\tclass\na\t1\tyes\nb\t2\tno\nc\tnan\tno\n",
    ]


def table() -> list[bytes]:
    """Tables with a column of structures."""
    text = CIF.split(b"data_second")[0].decode()
    rows = [["id", "cif", "gap"], ["a", text, "1.0"], ["b", text, ""]]
    quoted = "\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in r) for r in rows)
    lines = pymatgen_json()[0].decode().replace('"', '""')
    return [quoted.encode(), f'id,structure\na,"{lines}"\n'.encode()]


def archive() -> list[bytes]:
    """A zip of files, as bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("one.cif", CIF)
        opened.writestr("../two/POSCAR", written("vasp", False))
        opened.writestr("id_prop.csv", "one,1.5\n")
    return [file.getvalue()]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "cif": cif,
    "poscar": poscar,
    "extxyz": extxyz,
    "json": pymatgen_json,
    "store": store,
    "checkpoint": checkpoint,
    "yaml": settings,
    "labels": labels,
    "table": table,
    "archive": archive,
}
