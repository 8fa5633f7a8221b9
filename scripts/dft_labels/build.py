"""Compute the embedded DFT-labelled set: structures -> GPAW inputs -> runs -> parquet.

``python build.py --work DIR`` runs every stage and can be repeated: finished crystals are
skipped.  GPAW and its PAW datasets come from Debian (``apt-get install gpaw gpaw-data``); the
interpreter that imports ``gpaw`` is given with ``--gpaw-python``.  The packing stages need
``numpy`` and ``pyarrow`` only.
"""

import argparse
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from structures import (
    IONIC,
    SYMBOLS,
    VARIANT_COST,
    Array,
    apply_variant,
    distance_ratio,
    plan,
    relative_cost,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

#: Settings of the label calculation; `K_DENSITY` in k points per Å^-1 (reciprocal incl. 2 pi).
ECUT = 650.0
K_DENSITY = {"compound": 4.0, "ionic": 3.0, "elemental": 5.0}
SMEARING = {"name": "fermi-dirac", "width": 0.1}
CONVERGENCE = {"energy": 1e-4, "density": 1e-3, "eigenstates": 1e-6, "bands": "occupied"}
SEARCH_DENSITY = {"compound": 2.0, "ionic": 1.5, "elemental": 3.0}
#: Stop the volume search after n steps if the next change of ln V is below this.
SEARCH_STOP = {1: 0.04, 2: 0.10}
#: Compounds: largest pressure in GPa at which a start volume is kept as it is.
ACCEPT_PRESSURE = 6.0
B_PRIME = 4.5
TIMEOUT = 45

MAX_FORMATION_ENERGY = 6.0
MIN_DISTANCE_RATIO = 0.6
MAX_PARENT_PRESSURE = 60.0
EV_A3_TO_GPA = 160.21766


class ScfTimeoutError(RuntimeError):
    """A calculation went over its time limit."""


def _alarm(_signum: int, _frame: FrameType | None) -> None:
    raise ScfTimeoutError


def parameters(entry: dict[str, Any], stage: str) -> dict[str, Any]:
    """Return the GPAW keyword arguments of one calculation as plain data.

    Parameters
    ----------
    entry
        Planned crystal.
    stage
        ``label`` or ``search``.

    Returns
    -------
    dict
        JSON-serialisable parameters (``mode`` holds the plane-wave cutoff in eV).
    """
    params: dict[str, Any] = {
        "ecut": ECUT,
        "xc": "PBE",
        "setups": "paw",
        "occupations": dict(SMEARING),
        "convergence": dict(CONVERGENCE),
        "symmetry": {"point_group": True, "tolerance": 1e-5},
        "mixer": {"beta": 0.25, "nmaxold": 5, "weight": 50.0},
        "maxiter": 60,
        # empty bands; the default is too few for metals with small PAW valences (Ca, Sr, K, ...)
        "nbands": -(4 + len(entry["numbers"])),
        "spinpol": entry["magmom"] != 0.0,
        "magmom": entry["magmom"],
    }
    if entry["prototype"] == "molecule":
        params["kpts"] = {"size": [1, 1, 1], "gamma": True}
        params["nbands"] = None  # the default is enough for closed shells and fixed moments
        params["occupations"] = {"name": "fermi-dirac", "width": 0.0, "fixmagmom": True}
    else:
        kind = "ionic" if IONIC.intersection(entry["numbers"]) else "compound"
        if len(set(entry["numbers"])) == 1:
            kind = "elemental"
        density = (K_DENSITY if stage == "label" else SEARCH_DENSITY)[kind]
        params["kpts"] = {"density": density, "gamma": True}
        params["odd_mesh"] = entry.get("odd_mesh", False)
    return params


def run_gpaw(
    numbers: list[int], cell: Array, frac: Array, params: dict[str, Any], timeout: int, log: str
) -> dict[str, Any]:
    """Run one self-consistent calculation.

    Parameters
    ----------
    numbers
        Atomic numbers.
    cell
        Cell rows in Å.
    frac
        Fractional coordinates.
    params
        Output of `parameters`.
    timeout
        Wall-clock limit in seconds.
    log
        File for the text output of GPAW.

    Returns
    -------
    dict
        Energies (eV per cell), pressure (GPa), gap (eV), magnetisation, counters and times.
    """
    from ase import Atoms
    from gpaw import GPAW, PW, Mixer, MixerSum

    keep = ("xc", "setups", "occupations", "convergence", "symmetry", "maxiter", "spinpol", "kpts")
    keep += ("nbands",)
    kwargs = {k: params[k] for k in keep}
    mix = params["mixer"]
    mixer = MixerSum if params["spinpol"] else Mixer
    atoms = Atoms(numbers=numbers, cell=cell, scaled_positions=frac, pbc=True)
    if params["spinpol"]:
        atoms.set_initial_magnetic_moments([params["magmom"]] * len(numbers))
    if params.get("odd_mesh"):
        density = params["kpts"]["density"]
        lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
        size = [int(np.ceil(density * b)) | 1 for b in lengths]
        kwargs["kpts"] = {"size": size, "gamma": True}
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(timeout)
    cpu, wall = time.process_time(), time.time()
    try:
        calc = GPAW(
            mode=PW(params["ecut"]),
            mixer=mixer(mix["beta"], mix["nmaxold"], mix["weight"]),
            txt=log,
            **kwargs,
        )
        atoms.calc = calc
        energy = atoms.get_potential_energy(force_consistent=False)
        free = atoms.get_potential_energy(force_consistent=True)
        molecular = params["kpts"].get("size") == [1, 1, 1]
        stress = [0.0] * 6 if molecular else atoms.get_stress().tolist()
    finally:
        signal.alarm(0)
    cpu, wall = time.process_time() - cpu, time.time() - wall
    n_k, n_spin = len(calc.get_ibz_k_points()), calc.get_number_of_spins()
    electrons = calc.get_number_of_electrons()
    levels = np.array([calc.get_eigenvalues(k, s) for s in range(n_spin) for k in range(n_k)])
    filled = round(electrons) // 2
    gap = 0.0
    if round(electrons) % 2 == 0 and n_spin == 1 and levels.shape[1] > filled:
        gap = max(0.0, float(levels[:, filled].min() - levels[:, filled - 1].max()))
    return {
        "energy": float(energy),
        "free_energy": float(free),
        "pressure": -float(np.mean(stress[:3])) * EV_A3_TO_GPA,
        "stress": stress,
        "band_gap": gap,
        "magnetization": float(calc.get_magnetic_moment()) if params["spinpol"] else 0.0,
        "spin_polarized": params["spinpol"],
        "n_electrons": float(electrons),
        "n_kpoints": n_k,
        "k_mesh": [int(n) for n in calc.wfs.kd.N_c],
        "scf_steps": int(calc.scf.niter),
        "cpu_seconds": cpu,
        "wall_seconds": wall,
    }


def zero_pressure_volume(points: list[tuple[float, float]]) -> float:
    """Estimate the zero-pressure volume from (volume, pressure) pairs.

    One pair: a Murnaghan step with a bulk modulus of 80 GPa.  Two pairs: the pressure is linear
    in ``V**-B'`` for the Murnaghan equation, so its zero is exact for the assumed ``B'``.

    Parameters
    ----------
    points
        Volumes in Å^3 and pressures in GPa; the two of smallest absolute pressure are used.

    Returns
    -------
    float
        Estimated volume, within 0.75-1.4 times the volume of smallest absolute pressure.
    """
    best = sorted(points, key=lambda p: abs(p[1]))[:2]
    v0, p0 = best[0]
    if len(best) == 1:
        scale = max(0.5, 1 + B_PRIME * p0 / 80.0) ** (1 / B_PRIME)
        return v0 * min(max(scale, 0.85), 1.15)
    v1, p1 = best[1]
    u0, u1 = v0**-B_PRIME, v1**-B_PRIME
    slope = (p1 - p0) / (u1 - u0)
    if slope <= 0:
        return v0
    u = u0 - p0 / slope
    low, high = v0 * 0.75, v0 * 1.4
    return min(max(u ** (-1 / B_PRIME), low), high) if u > 0 else high


def compute(entry: dict[str, Any], work: Path) -> dict[str, Any]:
    """Fix the geometry of one planned crystal, round it to float32 and compute its label.

    Parameters
    ----------
    entry
        Planned crystal.
    work
        Work directory holding finished results.

    Returns
    -------
    dict
        Result record.
    """
    log = str(work / "logs" / "last.txt")
    timeout = TIMEOUT * (4 if entry["reference"] else 1)
    search: list[dict[str, float]] = []
    label: dict[str, Any] | None = None
    if entry["parent"]:
        parent = json.loads((work / "results" / f"{entry['parent']}.json").read_text())
        if parent["status"] != "ok":
            return {"status": f"parent {parent['status']}"}
        cell = np.array(parent["cell"]).reshape(3, 3)
        frac = np.array(parent["frac"]).reshape(-1, 3)
        cell, frac = apply_variant(entry["variant"], cell, frac, entry["key"])
    else:
        cell, frac = np.array(entry["cell"]), np.array(entry["frac"])
        volume = float(np.linalg.det(cell))
        points: list[tuple[float, float]] = []
        # references search on a coarser mesh; compounds first try the label mesh at the start
        # volume, which is the label itself if the pressure is small
        stage = "search" if entry["reference"] else "label"
        while entry["prototype"] != "molecule":
            scaled = cell * (volume / np.linalg.det(cell)) ** (1 / 3)
            scaled = scaled.astype(np.float32).astype(float)
            if distance_ratio(entry["numbers"], scaled, frac) < MIN_DISTANCE_RATIO:
                break
            frac = (frac % 1.0).astype(np.float32).astype(float)
            out = run_gpaw(entry["numbers"], scaled, frac, parameters(entry, stage), timeout, log)
            points.append((volume, out["pressure"]))
            if stage == "label" and (abs(out["pressure"]) < ACCEPT_PRESSURE or len(points) == 3):
                label, cell = out, scaled
                break
            search.append({k: out[k] for k in ("pressure", "energy", "cpu_seconds")})
            search[-1]["volume"] = volume
            guess = zero_pressure_volume(points)
            nearest = min(abs(np.log(guess / v)) for v, _ in points)
            volume = guess
            # stop when the next step would be small: the label belongs to the stored geometry,
            # so a residual pressure of a few GPa is recorded, not an error
            if stage == "search" and (
                nearest < SEARCH_STOP[min(len(points), 2)] or len(points) == 5
            ):
                break
        if label is None:
            cell = cell * (volume / np.linalg.det(cell)) ** (1 / 3)
    cell32, frac32 = cell.astype(np.float32), (frac % 1.0).astype(np.float32)
    frac32[frac32 >= 1.0] = 0.0
    cell, frac = cell32.astype(float), frac32.astype(float)
    ratio = distance_ratio(entry["numbers"], cell, frac)
    result: dict[str, Any] = {
        "cell": cell.ravel().tolist(),
        "frac": frac.ravel().tolist(),
        "distance_ratio": ratio,
        "search": search,
        "search_cpu_seconds": sum(s["cpu_seconds"] for s in search),
    }
    if ratio < MIN_DISTANCE_RATIO:
        return result | {"status": "too close"}
    if label is None:
        params = parameters(entry, "label")
        label = run_gpaw(entry["numbers"], cell, frac, params, timeout, log)
    return result | label | {"status": "ok"}


def stage_run(work: Path, deadline: float, max_cost: float) -> None:
    """Run planned crystals that have no result yet.

    Parameters
    ----------
    work
        Work directory.
    deadline
        Epoch seconds after which no crystal is started.
    max_cost
        Crystals of a larger expected relative cost are left for a later call.
    """
    for name in ("results", "logs"):
        (work / name).mkdir(parents=True, exist_ok=True)
    planned = plan()
    costs = {e.key: relative_cost(e) for e in planned if not e.parent}
    for e in planned:
        entry = e.to_dict()
        path = work / "results" / f"{e.key}.json"
        cost = costs[e.parent] * VARIANT_COST.get(e.variant, 1) if e.parent else costs[e.key]
        if path.exists() or (cost > max_cost and not e.reference):
            continue
        if e.parent and not (work / "results" / f"{e.parent}.json").exists():
            continue
        if time.time() > deadline:
            print("time budget reached", flush=True)
            return
        try:
            try:
                result = compute(entry, work)
            except OverflowError:
                # the code's k-point reduction gives a zero weight for some even meshes
                result = compute(entry | {"odd_mesh": True}, work)
                result["odd_mesh"] = True
        except ScfTimeoutError:
            result = {"status": "timeout"}
        except Exception as error:  # a failed crystal is recorded and dropped, never fatal
            result = {"status": f"failed: {type(error).__name__}: {str(error)[:120]}"}
        record = {k: v for k, v in entry.items() if k not in ("cell", "frac")} | result
        path.write_text(json.dumps(record))
        print(
            time.strftime("%H:%M:%S"),
            entry["key"],
            result["status"],
            *(
                f"{k}={result[k]:.3g}"
                for k in ("cpu_seconds", "search_cpu_seconds", "pressure", "band_gap")
                if k in result
            ),
            flush=True,
        )


def load_results(work: Path) -> list[dict[str, Any]]:
    """Return finished records in the order of the plan."""
    paths = [work / "results" / f"{e.key}.json" for e in plan()]
    return [json.loads(p.read_text()) for p in paths if p.exists()]


def reference_energies(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Collect the reference energy of each element.

    Parameters
    ----------
    results
        Finished records.

    Returns
    -------
    dict
        Symbol to ``energy_per_atom`` (eV), ``structure`` and ``magnetization`` (per atom).
    """
    out: dict[str, dict[str, Any]] = {}
    for r in results:
        if r["reference"] and r["status"] == "ok":
            n = len(r["numbers"])
            out[r["reference"]] = {
                "energy_per_atom": r["energy"] / n,
                "structure": r["key"],
                "magnetization_per_atom": r["magnetization"] / n,
            }
    return out


def formation_energy(record: dict[str, Any], references: dict[str, dict[str, Any]]) -> float:
    """Return the formation energy in eV per atom of a finished record."""
    total = record["energy"] - sum(
        references[SYMBOLS[z]]["energy_per_atom"] for z in record["numbers"]
    )
    return total / len(record["numbers"])


def select(
    results: list[dict[str, Any]], references: dict[str, dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Apply the acceptance rules.

    Parameters
    ----------
    results
        Finished records in plan order.
    references
        Output of `reference_energies`.

    Returns
    -------
    kept, dropped
        Accepted records with ``id`` and ``formation_energy_per_atom``; reason to dropped keys.
    """
    kept: list[dict[str, Any]] = []
    dropped: dict[str, list[str]] = {}
    for r in results:
        if r["prototype"] == "molecule":
            continue
        reason = ""
        if r["status"] != "ok":
            reason = r["status"].split(":")[0]
        elif any(SYMBOLS[z] not in references for z in r["numbers"]):
            reason = "no reference energy"
        else:
            r["formation_energy_per_atom"] = formation_energy(r, references)
            if abs(r["formation_energy_per_atom"]) > MAX_FORMATION_ENERGY:
                reason = "formation energy"
            elif r["variant"] == "parent" and abs(r["pressure"]) > MAX_PARENT_PRESSURE:
                reason = "pressure"
        if reason:
            dropped.setdefault(reason, []).append(r["key"])
        else:
            kept.append(r)
    present = {r["key"] for r in kept}
    orphans = [r["key"] for r in kept if r["parent"] and r["parent"] not in present]
    if orphans:
        dropped["parent dropped"] = orphans
    kept = [r for r in kept if r["key"] not in orphans]
    for i, r in enumerate(kept):
        r["id"] = f"ap-dft-{i + 1:04d}"
    ids = {r["key"]: r["id"] for r in kept}
    for r in kept:
        r["parent_id"] = ids.get(r["parent"], "")
    return kept, dropped


COLUMNS = (
    ("formation_energy_per_atom", "float64", "eV/atom"),
    ("energy_per_atom", "float64", "eV/atom, GPAW zero (sum of reference atoms of the setups)"),
    ("pressure", "float32", "GPa, minus the mean diagonal stress"),
    ("band_gap", "float32", "eV, Kohn-Sham, on the k mesh; 0 for metals"),
    ("magnetization", "float32", "Bohr magnetons per cell; 0 where not spin-polarised"),
    ("spin_polarized", "bool", ""),
    ("n_kpoints", "int16", "irreducible k points"),
    ("scf_steps", "int16", ""),
    ("cpu_seconds", "float32", "s, label calculation (self-consistency and stress)"),
    ("search_cpu_seconds", "float32", "s, volume search before it (0 for variants)"),
)


def hardware() -> str:
    """Return the processor description of this machine."""
    text = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    pairs = [line.split(":", 1) for line in text.splitlines() if ":" in line]
    info = {k.strip(): v.strip() for k, v in pairs}
    keys = ("Model name", "CPU family", "Model")
    name = ", ".join(f"{info[k]}" if k == "Model name" else f"{k.lower()} {info[k]}" for k in keys)
    return f"{name}; one core, one thread, virtual machine with {info['CPU(s)']} cores"


def settings() -> dict[str, Any]:
    """Return the settings of the label calculations as plain data."""
    return {
        "code": "GPAW 22.8.0 (Debian 22.8.0-2+b1), ASE 3.22.1, libxc 5.2.3",
        "mode": "plane waves",
        "functional": "PBE",
        "paw_datasets": "default PBE datasets of gpaw-setups 0.9.20000 (Debian gpaw-data)",
        "cutoff_eV": ECUT,
        "kpoint_density_per_inverse_angstrom": K_DENSITY,
        "kpoint_mesh": "Gamma-centred, ceil(density * |b_i|) points, |b_i| including 2 pi; "
        "the next odd number where `odd_mesh` is set in the input",
        "smearing": SMEARING,
        "energy": "extrapolated to zero smearing",
        "scf_convergence": CONVERGENCE,
        "relativity": "scalar-relativistic, no spin-orbit coupling",
        "spin": "unpolarised except the fcc Ni reference and O2",
        "search_kpoint_density_per_inverse_angstrom": SEARCH_DENSITY,
    }


def stage_pack(work: Path) -> None:
    """Write the parquet table, timings, inputs and the cost summary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    results = load_results(work)
    references = reference_energies(results)
    kept, dropped = select(results, references)
    table: dict[str, Any] = {
        "id": pa.array([r["id"] for r in kept]),
        "numbers": pa.array([r["numbers"] for r in kept], pa.list_(pa.uint8())),
        "cell": pa.array([r["cell"] for r in kept], pa.list_(pa.float32())),
        "frac": pa.array([r["frac"] for r in kept], pa.list_(pa.float32())),
    }
    for r in kept:
        r["energy_per_atom"] = r["energy"] / len(r["numbers"])
        if r["band_gap"] < 1e-3:  # symmetry-enforced band touching, not a gap
            r["band_gap"] = 0.0
    for name, kind, _ in COLUMNS:
        typ = {"bool": pa.bool_()}.get(kind) or pa.type_for_alias(kind)
        table[name] = pa.array([r[name] for r in kept], typ)
    for name in ("prototype", "variant", "parent_id"):
        table[name] = pa.array([r[name] for r in kept])
    units = {"cell": "Å, rows are lattice vectors, row-major", "frac": "fractional, row-major"}
    units |= {name: unit for name, _, unit in COLUMNS if unit}
    meta = {
        "units": units,
        "code": settings()["code"],
        "functional": "PBE",
        "settings": settings(),
        "label": "formation energy per atom of the stored geometry, relative to `references`",
        "references": references,
        "licence": "computed by the atomprint project, same licence as the project; the PAW "
        "datasets (GPL-3+) were used to run the code and are not part of this file",
        "n_dropped": {k: len(v) for k, v in dropped.items()},
    }
    out = pa.table(table).replace_schema_metadata({"atomprint": json.dumps(meta)})
    target = ROOT / "src/atomprint/data/embedded/dft_labels.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(out, target, compression="zstd", compression_level=19)

    cost = summarise_cost(kept, results)
    write_json(ROOT / "benchmarks/results/dft_label_cost.json", cost)
    write_json(
        HERE / "timings.json",
        {
            "summary": cost,
            "dropped": dropped,
            "crystals": {
                r["id"]: {
                    "key": r["key"],
                    "cpu_seconds": round(r["cpu_seconds"], 3),
                    "search_cpu_seconds": round(r["search_cpu_seconds"], 3),
                    "n_kpoints": r["n_kpoints"],
                    "n_electrons": r["n_electrons"],
                    "scf_steps": r["scf_steps"],
                }
                for r in kept
            },
        },
        indent=None,
    )
    write_inputs(kept, results)
    convergence = work / "convergence.json"
    if convergence.exists():
        write_json(HERE / "convergence.json", json.loads(convergence.read_text()))
    labels = np.array([r["formation_energy_per_atom"] for r in kept])
    elements = sorted({SYMBOLS[z] for r in kept for z in r["numbers"]})
    print(f"{len(kept)} crystals, {len(elements)} elements, dropped {meta['n_dropped']}")
    print(f"label mean {labels.mean():.3f} std {labels.std():.3f}", target.stat().st_size, "bytes")


def write_json(path: Path, data: Any, indent: int | None = 2) -> None:
    """Write `data` as JSON with a final newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    if indent is None:
        text = text.replace("}, ", "},\n")
    path.write_text(text + "\n")


def summarise_cost(kept: list[dict[str, Any]], results: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the CPU cost of a label."""
    label = [r["cpu_seconds"] for r in kept]
    full = [r["cpu_seconds"] + r["search_cpu_seconds"] for r in kept]
    parents = [t for t, r in zip(full, kept, strict=True) if r["variant"] == "parent"]
    everything = sum(r.get("cpu_seconds", 0) + r.get("search_cpu_seconds", 0) for r in results)

    def stats(values: list[float]) -> dict[str, float]:
        return {
            "median": round(statistics.median(values), 2),
            "mean": round(statistics.fmean(values), 2),
            "max": round(max(values), 2),
            "total": round(sum(values), 1),
        }

    return {
        "what": "CPU seconds of a DFT label (one core); start-up of the code not counted",
        "n_crystals": len(kept),
        "label_cpu_seconds": stats(label),
        "label_and_volume_search_cpu_seconds": stats(full),
        "parents_label_and_volume_search_cpu_seconds": stats(parents),
        "all_finished_calculations_cpu_seconds": round(everything, 1),
        "median_atoms_per_cell": statistics.median(len(r["numbers"]) for r in kept),
        "hardware": hardware(),
        "settings": settings(),
        "command": "python scripts/dft_labels/build.py --work DIR",
    }


def write_inputs(kept: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
    """Write one JSON input per calculation (geometry and GPAW parameters) to a tar archive."""
    molecules = [r | {"id": r["key"]} for r in results if r["prototype"] == "molecule"]
    with tarfile.open(HERE / "inputs.tar.gz", "w:gz") as tar:
        for r in molecules + kept:
            data = {
                "numbers": r["numbers"],
                "cell": np.reshape(r["cell"], (3, 3)).tolist(),
                "frac": np.reshape(r["frac"], (-1, 3)).tolist(),
                "parameters": parameters(r, "label"),
            }
            raw = json.dumps(data).encode()
            info = tarfile.TarInfo(f"inputs/{r['id']}.json")
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))


#: Number of crystals of the convergence check and prototypes of cheap enough references.
CONVERGENCE_SAMPLE = 12
CHEAP_REFERENCES = ("bcc", "fcc", "diamond", "molecule")
SLOW_REFERENCES = ("fcc-Ni", "bcc-Nb", "bcc-Ta", "bcc-W", "bcc-Mo", "bcc-V")
#: A level is a pair of calculations; the error is the change of the formation energy.
CONVERGENCE_LEVELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cutoff": ({"mesh": "search"}, {"mesh": "search", "ecut": 900.0}),
    "kpoints": ({"mesh": "label", "ecut": 400.0}, {"mesh": "label", "ecut": 400.0, "k": 1.5}),
}


def convergence_sample(kept: list[dict[str, Any]], references: dict[str, Any]) -> list[str]:
    """Pick crystals of different prototypes whose references are cheap to recompute.

    Parameters
    ----------
    kept
        Accepted records in id order.
    references
        Output of `reference_energies`.

    Returns
    -------
    list of str
        Keys, at most `CONVERGENCE_SAMPLE`, first one of each prototype, then second ones.
    """
    groups: dict[str, list[str]] = {}
    for r in kept:
        refs = [references[SYMBOLS[z]]["structure"] for z in set(r["numbers"])]
        cheap = not set(refs) & set(SLOW_REFERENCES)
        cheap &= {f.rpartition("-")[0] for f in refs} <= set(CHEAP_REFERENCES)
        if cheap and len(refs) > 1 and r["variant"] == "parent":
            groups.setdefault(r["prototype"], []).append(r["key"])
    rounds = [g[i] for i in range(4) for g in groups.values() if len(g) > i]
    return rounds[:CONVERGENCE_SAMPLE]


def stage_converge(work: Path, minutes: float) -> None:
    """Recompute a sample with a higher cutoff and with a denser k mesh, references included."""
    results = {r["key"]: r for r in load_results(work)}
    references = reference_energies(list(results.values()))
    kept, _ = select(list(results.values()), references)
    folder = work / "convergence"
    folder.mkdir(exist_ok=True)
    stop = time.time() + 60 * minutes

    def energy(record: dict[str, Any], level: str, side: int) -> float | None:
        change = CONVERGENCE_LEVELS[level][side]
        path = folder / f"{level}-{side}-{record['key']}.json"
        if not path.exists():
            if time.time() > stop:
                return None
            params = parameters(record, change["mesh"])
            params["ecut"] = change.get("ecut", params["ecut"])
            if "k" in change:
                params["kpts"]["density"] *= change["k"]
            cell = np.reshape(record["cell"], (3, 3))
            frac = np.reshape(record["frac"], (-1, 3))
            try:
                out = run_gpaw(record["numbers"], cell, frac, params, 300, str(folder / "log.txt"))
            except Exception as error:  # shows up as a missing entry of the table
                print(record["key"], level, "failed", repr(error), flush=True)
                return None
            path.write_text(json.dumps(out))
        return json.loads(path.read_text())["energy"]

    def error(record: dict[str, Any], level: str) -> float | None:
        """Change of the formation energy in meV/atom, or None if something is missing."""
        total, n = 0.0, len(record["numbers"])
        elements = sorted(set(record["numbers"])) if level == "cutoff" else []
        for z in [0, *elements]:
            item = results[references[SYMBOLS[z]]["structure"]] if z else record
            weight = -record["numbers"].count(z) / len(item["numbers"]) if z else 1.0
            low, high = energy(item, level, 0), energy(item, level, 1)
            if low is None or high is None:
                return None
            total += weight * (high - low)
        return 1000 * total / n

    by_key = {r["key"]: r for r in kept}
    rows = []
    for level in reversed(CONVERGENCE_LEVELS):
        for key in convergence_sample(kept, references):
            value = error(by_key[key], level)
            rows.append({"id": by_key[key]["id"], "key": key, "level": level, "meV_atom": value})
            print(time.strftime("%H:%M:%S"), key, level, value, flush=True)
    summary = {}
    for level in CONVERGENCE_LEVELS:
        values = [
            abs(r["meV_atom"]) for r in rows if r["level"] == level and r["meV_atom"] is not None
        ]
        if values:
            summary[level] = {
                "n": len(values),
                "mean_abs_meV_atom": round(statistics.fmean(values), 2),
                "max_abs_meV_atom": round(max(values), 2),
            }
    out = {
        "what": "change of the formation energy per atom with tighter settings, same geometry; "
        "cutoff: references recomputed with the same change; kpoints: the crystal alone, the "
        "references being on a denser mesh already",
        "levels": {
            "cutoff": f"{ECUT:.0f} -> 900 eV, both on the k mesh of the volume search",
            "kpoints": "label mesh -> 1.5 times its density (3.4 times as many points), both at a "
            "cutoff of 400 eV to save time: the mesh error does not depend on the cutoff",
        },
        "summary": summary,
        "rows": rows,
    }
    write_json(work / "convergence.json", out)


def main() -> None:
    """Run the command line interface."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="resumable work directory")
    parser.add_argument("--gpaw-python", default="/usr/bin/python3", help="imports gpaw")
    parser.add_argument("--minutes", type=float, default=1e9, help="wall-clock budget of the runs")
    parser.add_argument(
        "--max-cost", type=float, default=1e9, help="skip crystals dearer than this"
    )
    parser.add_argument(
        "--stage", choices=("all", "run", "converge", "pack"), default="all", help="one stage only"
    )
    args = parser.parse_args()
    if args.stage == "run":
        stage_run(args.work, time.time() + 60 * args.minutes, args.max_cost)
    elif args.stage == "converge":
        stage_converge(args.work, args.minutes)
    if args.stage == "all":
        env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        for stage in ("run", "converge"):
            command = [args.gpaw_python, __file__, "--stage", stage, "--work", str(args.work)]
            subprocess.run([*command, "--minutes", str(args.minutes)], check=True, env=env)
    if args.stage in ("all", "pack"):
        stage_pack(args.work)


if __name__ == "__main__":
    sys.exit(main())
