"""Corpora of the study: real crystals, generated ones, and sums of them."""

import json
import time
from pathlib import Path
from typing import Any

from sets import SETS, alike, load_corpus, load_set

from atomprint.api import fetch_corpus, source_settings
from atomprint.data.embedded import CORPUS
from atomprint.data.sources.generated.source import GeneratedShares
from atomprint.data.store import Store
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import read_crystals
from atomprint.training.checkpoint import write_json

N_CRYSTALS = 16_000
MAX_ATOMS = 30


def route(name: str) -> dict[str, Any]:
    """The generator, restricted to one of its routes."""
    shares = {one: float(one == name) for one in GeneratedShares.model_fields}
    return {"kind": "generated", "max_atoms": MAX_ATOMS, "shares": shares}


SOURCES: dict[str, dict[str, Any]] = {
    "generated": {"kind": "generated", "max_atoms": MAX_ATOMS},
    **{f"generated/{name}": route(name) for name in GeneratedShares.model_fields},
    "derived": {"kind": "derived", "max_atoms": MAX_ATOMS},
    "slabs": {"kind": "slabs", "max_atoms": MAX_ATOMS},
    "layers": {"kind": "layers", "max_atoms": MAX_ATOMS},
    # Of 30 atoms there are few.
    "frameworks": {"kind": "frameworks", "max_atoms": 60},
    "molecules": {"kind": "molecules", "max_atoms": 60},
}


def crystals_of(part: str, n: int, data: Path, work: Path) -> tuple[list[Crystal], dict[str, Any]]:
    """Crystals of one part of a corpus, and what it took to make them."""
    if part in ("real", "embedded"):
        known = part == "real"
        found = load_corpus(data, MAX_ATOMS) if known else list(read_crystals(CORPUS).crystals)
        return found, {"n_crystals": len(found)}
    folder = work / "corpora" / part.replace("/", "-")
    note = folder.with_suffix(".json")
    about = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if about.get("n_crystals") != n:
        values = dict(SOURCES[part])
        started = time.process_time()
        fetched = fetch_corpus(source_settings(values.pop("kind"), values), folder, n)
        about = {
            "n_crystals": len(fetched.store),
            "cpu_seconds": round(time.process_time() - started, 1),
            "source": fetched.store.provenance[0].model_dump(mode="json"),
        }
        write_json(note, about)
    store = Store(folder)
    return [store[i] for i in range(n)], about


def mixture(
    name: str, data: Path, work: Path, n: int = N_CRYSTALS, *, apart: bool = False
) -> tuple[list[Crystal], dict[str, Any]]:
    """All crystals of a sum of corpora, such as ``real+generated+2000 layers``.

    Made parts have ``n`` crystals where the sum does not say how many. With ``apart`` made crystals
    that are like one of any labelled set are left out, as they are of ``real``.
    """
    crystals: list[Crystal] = []
    made: dict[str, Any] = {}
    for part in name.split("+"):
        count, _, kind = part.rpartition(" ")
        more, made[part] = crystals_of(kind, int(count or n), data, work)
        crystals += more
    if apart:
        labelled = [crystal for one in SETS for crystal in load_set(one, data)]
        likes = alike(crystals, labelled)
        crystals = [c for c, like in zip(crystals, likes, strict=True) if not like]
        made["alike, left out"] = sum(likes)
    return crystals, made
