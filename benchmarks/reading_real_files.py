"""Read three archives of real CIFs and compare with pymatgen, file by file.

Run from the repository root, with the archives in ``../shared/data``::

    python benchmarks/reading_real_files.py

writes ``benchmarks/results/reading_real_files.json``. For every archive: how many crystals are
read, what is left out and why, how many of those read agree with pymatgen (same composition,
same volume within 0.1 %, same sorted periodic neighbour distances below 4 Å), what pymatgen makes
of the files that are left out, and the processor seconds both take in one process (ours: median
of three runs after a warm-up, archive and labels included; pymatgen's: one run of its CIF parser,
the archive's unpacking not counted). The tables of ``docs/reading.md`` are written from the JSON.
"""

import contextlib
import io
import json
import platform
import statistics
import tarfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pymatgen.core
from pymatgen.io.cif import CifParser

from atomprint.structures.crystal import Crystal
from atomprint.structures.neighbors import find_neighbors
from atomprint.structures.reading import KINDS, read_crystals

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "reading.md"
BEGIN, END = "<!-- real files: begin -->", "<!-- real files: end -->"
RESULT = ROOT / "benchmarks" / "results" / "reading_real_files.json"
ARCHIVES = {
    "mp_cifs_3000": None,
    "cod_cifs": None,
    "obelix_cifs": "obelix_labels.csv",
}
CUTOFF = 4.0  # Å
TOLERANCE = 0.02  # Å; what rounded coordinates on special positions may move


def main() -> None:
    """Measure every archive and write the JSON."""
    result: dict[str, Any] = {
        "machine": {
            "processor": platform.machine(),
            "cores_used": 1,
            "python": platform.python_version(),
        },
        "pymatgen": pymatgen.core.__version__,
        "cutoff_angstrom": CUTOFF,
        "archives": {name: measure(name, labels) for name, labels in ARCHIVES.items()},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page(result)
    print(tables(result))


def measure(name: str, labels: str | None) -> dict[str, Any]:
    """Read one archive with both and compare."""
    archive = DATA / f"{name}.tar.gz"
    table = DATA / labels if labels else None
    read_crystals(archive, labels=table)  # warm-up
    seconds = []
    for _ in range(3):
        start = time.process_time()
        read = read_crystals(archive, labels=table)
        seconds.append(time.process_time() - start)

    theirs: dict[str, Any] = {}
    their_seconds = 0.0
    with tarfile.open(archive) as members, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for member in members:
            if member.isfile() and member.name.endswith(".cif"):
                stream = members.extractfile(member)
                assert stream is not None
                text = stream.read().decode(errors="replace")
                start = time.process_time()
                theirs[f"{archive}/{member.name}"] = parse(text)
                their_seconds += time.process_time() - start

    differing, largest, undecided = {}, 0.0, {}
    for crystal in read.crystals:
        other = theirs[crystal.source]
        short = crystal.source.removeprefix(f"{archive}/")
        if isinstance(other, str):
            undecided[short] = other
            continue
        verdict, distance = compare(crystal, other)
        if verdict:
            differing[short] = verdict
        else:
            largest = max(largest, distance)
    left_out = []
    for problem in read.problems:
        if problem.kind != "label":
            other = theirs.get(problem.file)
            left_out.append(
                {
                    "file": problem.file.removeprefix(f"{archive}/"),
                    "kind": problem.kind,
                    "reason": problem.reason,
                    "pymatgen": describe(other),
                }
            )
    return {
        "files": len(theirs),
        "read": len(read.crystals),
        "left_out": len(left_out),
        "kinds": read.counts(),
        "label_problems": {
            "text": sum("not a number" in p.reason for p in read.problems),
            "without_crystal": sum(p.reason == "no crystal has this id" for p in read.problems),
        },
        "pymatgen_agrees": len(read.crystals) - len(differing) - len(undecided),
        "n_pymatgen_differs": len(differing),
        "pymatgen_differs": differing,
        "n_pymatgen_fails": len(undecided),
        "pymatgen_fails": undecided,
        "largest_distance_difference": float(f"{largest:.2g}"),
        "left_out_but_ordered_in_pymatgen": sum(
            entry["pymatgen"].startswith("ordered") for entry in left_out
        ),
        "seconds": round(statistics.median(seconds), 2),
        "seconds_pymatgen": round(their_seconds, 2),
        "times_faster": round(their_seconds / statistics.median(seconds), 1),
        "notes": read.notes,
        "left_out_files": left_out,
    }


def write_page(result: dict[str, Any]) -> None:
    """Put the tables into the page, between their two marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n{tables(result)}\n{END}{after}", encoding="utf-8")


def tables(result: dict[str, Any]) -> str:
    """Render the result as Markdown."""
    names = {
        "mp_cifs_3000": "Materials Project (CIFs by pymatgen)",
        "cod_cifs": "Crystallography Open Database",
        "obelix_cifs": "OBELiX (Li electrolytes)",
    }
    archives = result["archives"]
    rows = [
        ("files", "files"),
        ("read", "read"),
        ("left out", "left_out"),
        ("... of these, pymatgen gives an ordered crystal", "left_out_but_ordered_in_pymatgen"),
        (f"same crystal as pymatgen {result['pymatgen']}", "pymatgen_agrees"),
        ("another crystal than pymatgen", "n_pymatgen_differs"),
        ("read, but pymatgen fails", "n_pymatgen_fails"),
        ("largest difference of a distance (Å) where the same", "largest_distance_difference"),
        ("processor seconds", "seconds"),
        ("processor seconds, pymatgen", "seconds_pymatgen"),
        ("times faster", "times_faster"),
    ]
    lines = [
        "| | " + " | ".join(names[name] for name in archives) + " |",
        "|---|" + "---:|" * len(archives),
    ]
    for title, key in rows:
        lines.append(f"| {title} | " + " | ".join(f"{a[key]:,}" for a in archives.values()) + " |")
    lines += ["", "Why crystals were left out:", ""]
    lines += ["| reason | " + " | ".join(names[name] for name in archives) + " |"]
    lines += ["|---|" + "---:|" * len(archives)]
    kinds = {kind for archive in archives.values() for kind in archive["kinds"]}
    for kind in [kind for kind in KINDS if kind in kinds and kind != "label"]:
        counts = [archive["kinds"].get(kind, 0) for archive in archives.values()]
        lines.append(f"| {KINDS[kind]} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


def parse(text: str) -> Any:
    """Parse with pymatgen: a structure, or the error in words."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return CifParser.from_str(text).parse_structures(primitive=False)[0]
    except Exception as error:  # whatever it raises is the finding
        return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"


def describe(structure: Any) -> str:
    """Say what pymatgen made of a file."""
    if structure is None or isinstance(structure, str):
        return f"fails: {structure}"
    order = "ordered" if structure.is_ordered else "disordered"
    return f"{order} {structure.composition.formula}"


def compare(crystal: Crystal, structure: Any) -> tuple[str, float]:
    """Return what differs (empty if nothing) and the largest distance difference in Å."""
    if not structure.is_ordered:
        return f"pymatgen: disordered {structure.composition.formula}", 0.0
    ours, theirs = np.sort(crystal.numbers), np.sort([site.specie.Z for site in structure])
    if not np.array_equal(ours, theirs):
        return f"{len(ours)} atoms, pymatgen: {structure.composition.formula}", 0.0
    if abs(crystal.volume / structure.volume - 1) > 1e-3:
        return f"volume {crystal.volume:.2f}, pymatgen: {structure.volume:.2f} Å³", 0.0
    mine = distances(crystal.positions, crystal.cell)
    yours = distances(structure.cart_coords, structure.lattice.matrix)
    count = min(np.searchsorted(mine, CUTOFF - 0.05), np.searchsorted(yours, CUTOFF - 0.05))
    if count == 0:
        return "", 0.0
    worst = float(np.abs(mine[:count] - yours[:count]).max())
    return (f"distances differ by {worst:.3f} Å" if worst > TOLERANCE else ""), worst


def distances(positions: Any, cell: Any) -> Any:
    """Sorted distances (Å) below the cutoff, every pair and image."""
    positions, cell = np.array(positions, dtype=float), np.array(cell, dtype=float)
    found = find_neighbors(positions, cell, CUTOFF)
    vectors = positions[found.neighbor_index] + found.shifts @ cell - positions[found.center_index]
    return np.sort(np.linalg.norm(vectors, axis=1))


if __name__ == "__main__":
    main()
