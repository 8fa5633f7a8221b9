"""On what terms a model may be passed on: where the crystals behind it are from, and who says so.

Sources, licences and citations travel from a store into ``run.json`` and ``model.json`` of a
pre-training, from there into every model that starts from it, and into ``card.md`` for people.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from atomprint.heads.saved import load_info
from atomprint.heads.shipped import DESCRIPTION, locate, read_description

CARD = "card.md"
NOT_STATED = "not stated"
Terms = list[dict[str, str]]
"""Of each source its name (``source``), ``licence`` and ``citation``."""


def terms(source: str, licence: str = "", citation: str = "") -> dict[str, str]:
    """Terms of one source."""
    return {"source": source, "licence": licence or NOT_STATED, "citation": citation}


def united(parts: Iterable[Mapping[str, str]]) -> Terms:
    """Terms of several sources, each once."""
    found: Terms = []
    for part in parts:
        if dict(part) not in found:
            found.append(dict(part))
    return found


def terms_of_model(source: str | Path) -> Terms:
    """Terms that a model carries; what it does not say is said to be missing.

    Parameters
    ----------
    source
        Folder of a model, or the name of one that comes with the package.
    """
    folder = locate(Path(source))
    if (folder / DESCRIPTION).is_file():
        shipped = read_description(folder)
        return [terms(f"{shipped.name}: {shipped.data}", shipped.data_licence)]
    notes = load_info(folder).notes
    data = notes.get("data")
    known = (data if isinstance(data, Mapping) else notes).get("provenance")
    if not isinstance(known, list):
        return [terms(f"the corpus of {source}")]
    return united(part for part in known if isinstance(part, Mapping))


def write_card(
    folder: Path, made_by: str, provenance: Sequence[Mapping[str, str]], facts: Mapping[str, Any]
) -> Path:
    """Write ``card.md``: what a model is, and what its corpus asks of those who pass it on.

    Parameters
    ----------
    folder
        Of the model.
    made_by
        ``pretrain`` or ``finetune``.
    provenance
        Where the crystals of the corpus are from.
    facts
        Lines of a table.
    """
    rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    parts = "".join(
        f"- {part['source']}. Licence: {part.get('licence') or NOT_STATED}."
        + (f" Cite: {part['citation']}." if part.get("citation") else "")
        + "\n"
        for part in provenance
    )
    missing = any((part.get("licence") or NOT_STATED) == NOT_STATED for part in provenance)
    note = (
        "\nThe licence of a part is not stated: look it up before you pass the model on.\n"
        if missing
        else ""
    )
    text = (
        f"# A model made by `atomprint {made_by}`\n\n"
        f"| | |\n|---|---|\n{rows}\n"
        "All settings, versions and hashes: `run.json`.\n\n"
        f"## What it was pre-trained on\n\n{parts or '- Nothing: it was trained from scratch.'}"
        f"{note}"
    )
    path = folder / CARD
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
    return path
