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
from structures import SYMBOLS, Array, apply_variant, distance_ratio, is_cubic, plan

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

#: Settings of the label calculation; `K_DENSITY` in k points per Å^-1 (reciprocal incl. 2 pi).
ECUT = 650.0
K_DENSITY = {"compound": 4.0, "elemental": 5.0}
SMEARING = {"name": "fermi-dirac", "width": 0.1}
CONVERGENCE = {"energy": 1e-4, "density": 1e-3, "eigenstates": 1e-6, "bands": "occupied"}
SEARCH_DENSITY = {"compound": 2.0, "elemental": 3.0}
B_PRIME = 4.5
TIMEOUT = 150

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
        "maxiter": 80,
        "spinpol": entry["magmom"] != 0.0,
        "magmom": entry["magmom"],
    }
    if entry["prototype"] == "molecule":
        params["kpts"] = {"size": [1, 1, 1], "gamma": True}
        params["occupations"] = {"name": "fermi-dirac", "width": 0.0, "fixmagmom": True}
    else:
        kind = "elemental" if len(set(entry["numbers"])) == 1 else "compound"
        density = (K_DENSITY if stage == "label" else SEARCH_DENSITY)[kind]
        params["kpts"] = {"density": density, "gamma": True}
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
    kwargs = {k: params[k] for k in keep}
    mix = params["mixer"]
    mixer = MixerSum if params["spinpol"] else Mixer
    atoms = Atoms(numbers=numbers, cell=cell, scaled_positions=frac, pbc=True)
    if params["spinpol"]:
        atoms.set_initial_magnetic_moments([params["magmom"]] * len(numbers))
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
        while entry["prototype"] != "molecule":
            scaled = cell * (volume / np.linalg.det(cell)) ** (1 / 3)
            out = run_gpaw(
                entry["numbers"], scaled, frac, parameters(entry, "search"), timeout, log
            )
            points.append((volume, out["pressure"]))
            search.append({k: out[k] for k in ("pressure", "energy", "cpu_seconds")})
            search[-1]["volume"] = volume
            guess = zero_pressure_volume(points)
            nearest = min(abs(np.log(guess / v)) for v, _ in points)
            volume = guess
            if len(points) == 1 and abs(points[0][1]) < 0.5:
                break
            if len(points) >= 2 and nearest < (0.02 if entry["reference"] else 0.06):
                break
            if len(points) == 5:
                break
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
    out = run_gpaw(entry["numbers"], cell, frac, parameters(entry, "label"), timeout, log)
    return result | out | {"status": "ok"}


def stage_run(work: Path, deadline: float) -> None:
    """Run planned crystals that have no result yet until `deadline` (epoch seconds)."""
    for name in ("results", "logs"):
        (work / name).mkdir(parents=True, exist_ok=True)
    for entry in (e.to_dict() for e in plan()):
        path = work / "results" / f"{entry['key']}.json"
        if path.exists():
            continue
        if time.time() > deadline:
            print("time budget reached", flush=True)
            return
        try:
            result = compute(entry, work)
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


def main() -> None:
    """Run the command line interface."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="resumable work directory")
    parser.add_argument("--gpaw-python", default="/usr/bin/python3", help="imports gpaw")
    parser.add_argument("--minutes", type=float, default=1e9, help="wall-clock budget of the runs")
    parser.add_argument("--stage", choices=("all", "run"), default="all")
    args = parser.parse_args()
    if args.stage == "run":
        stage_run(args.work, time.time() + 60 * args.minutes)
        return


if __name__ == "__main__":
    main()
