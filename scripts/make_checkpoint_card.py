"""Describe a shipped checkpoint: checkpoint.json from a run and results, card.md from that.

    python scripts/make_checkpoint_card.py small RUN --results RESULTS.json
    python scripts/make_checkpoint_card.py --check     # are the cards what the descriptions say?
    python scripts/make_checkpoint_card.py --cards     # write them anew

RUN is the run folder of the pre-training (``run.json``, ``history.json``, ``model.json`` ...), as
``scripts/make_checkpoints.py`` leaves it. Results are rows as ``finetune --twin`` gives them
(``set``, ``unit``, ``n_train``, ``seed``, ``value``, ``twin_value``), or, of the study, those of an
arm, with ``--scratch`` for the file of the from-scratch twins.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors import safe_open

from atomprint.evaluation.coverage import FILE as COVERAGE
from atomprint.heads.shipped import DESCRIPTION, FILES, FOLDER, PREFIX, Shipped, sha256
from atomprint.training.checkpoint import write_json

ROOT = Path(__file__).resolve().parents[1]
DFT_COST = ROOT / "benchmarks" / "results" / "dft_label_cost.json"
MOST_BYTES = 4_000_000
EMBEDDED = "generated, label-free crystals that come with atomprint (docs/corpus.md)"
EMBEDDED_LICENCE = (
    "MIT, like the package. No crystal and no computed property of any database is in them; "
    "target shares of elements and classes follow aggregate statistics of the Materials Project "
    "(CC BY 4.0)"
)
NAMES = {"painn": "PaiNN", "et": "equivariant transformer"}


def rows_of(path: Path, scratch: Path | None = None) -> list[dict[str, Any]]:
    """Rows of a results file, each with set, unit, n_labels, seed, mae and twin_mae."""
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    twins: dict[Any, float] = {}
    if scratch is not None:
        for row in json.loads(scratch.read_text(encoding="utf-8"))["results"]:
            twins[row["set"], row["n_labels"], row["seed"]] = row["mae"]
    rows = []
    for row in results:
        n_labels = row.get("n_labels", row.get("n_train"))
        key = (row["set"], n_labels, row["seed"])
        rows.append(
            {
                "set": row["set"],
                "unit": row.get("unit", ""),
                "n_labels": n_labels,
                "seed": row["seed"],
                "mae": row["mae"] if "mae" in row else row["value"],
                "twin_mae": twins[key] if twins else row["twin_value"],
            }
        )
    return rows


def over_seeds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a set and number of labels: mean errors, gain of the means, its range over seeds."""
    found = []
    for name, n_labels in dict.fromkeys((row["set"], row["n_labels"]) for row in rows):
        own = [row for row in rows if (row["set"], row["n_labels"]) == (name, n_labels)]
        mae, twin = (float(np.mean([row[key] for row in own])) for key in ("mae", "twin_mae"))
        gains = [1 - row["mae"] / row["twin_mae"] for row in own]
        found.append(
            {
                "set": name,
                "unit": own[0]["unit"],
                "n_labels": n_labels,
                "n_seeds": len(own),
                "mae": mae,
                "twin_mae": twin,
                "gain": 1 - mae / twin,
                "gain_min": min(gains),
                "gain_max": max(gains),
            }
        )
    return found


def describe(
    name: str,
    run: Path,
    rows: list[dict[str, Any]],
    *,
    data: str,
    data_licence: str,
    notes: list[str],
    licence: str,
) -> Shipped:
    """Describe a run as a shipped checkpoint.

    Parameters
    ----------
    name
        Without ``atomprint/``.
    run
        Its folder.
    rows
        Of results, a row a seed.
    data
        What it was trained on.
    data_licence
        Licence of that.
    notes
        Sentences to put before the limits that all have.
    licence
        Of the weights.
    """
    record, history, cost, corpus = (
        json.loads((run / file).read_text(encoding="utf-8"))
        for file in ("run.json", "history.json", "cost.json", "corpus.json")
    )
    with safe_open(run / "model.safetensors", framework="np") as weights:
        shapes = [weights.get_slice(key).get_shape() for key in weights.keys()]  # noqa: SIM118
    size = (run / "model.safetensors").stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{run}: the weights take {size:,} bytes; at most {MOST_BYTES:,} can ship")
    for place in absolute_paths(record["settings"]):
        raise SystemExit(
            f"{run}: the recipe names the place {place}, which nobody else has; give a path from "
            "the folder that the script is run in"
        )
    backbone = record["settings"]["model"]["backbone"]
    kinds = [objective["kind"] for objective in record["settings"]["objectives"]]
    n_parameters = sum(int(np.prod(shape)) for shape in shapes)
    environment = record["environment"]
    label = json.loads(DFT_COST.read_text(encoding="utf-8"))["label_cpu_seconds"]["mean"]
    return Shipped(
        name=PREFIX + name,
        summary=f"{NAMES.get(backbone['kind'], backbone['kind'])}, {backbone['n_channels']} "
        f"channels, {backbone['n_layers']} layers, pre-trained for "
        f"{history['n_steps']:,} steps on {' and '.join(kinds)}",
        licence=licence,
        data=data,
        data_licence=data_licence,
        n_crystals=record["data"]["n_crystals"],
        corpus_hash=record["data"]["hash"],
        n_parameters=n_parameters,
        n_bytes=size,
        sha256={file: sha256(run / file) for file in FILES},
        recipe=record["settings"],
        cost={**cost, "seconds": round(history["seconds"], 1), "dft_cpu_seconds_a_label": label},
        results=tuple(over_seeds(rows)),
        limits=(*notes, *limits(corpus)),
        made_with={key: environment[key] for key in ("versions", "python", "processor", "commit")},
    )


def absolute_paths(value: Any) -> list[str]:
    """Absolute paths among settings."""
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        return [path for member in members for path in absolute_paths(member)]
    return [value] if isinstance(value, str) and Path(value).is_absolute() else []


def limits(corpus: dict[str, Any]) -> list[str]:
    """What no network trained on these crystals can do."""
    return [
        "It predicts no property: fine-tune it on labels, or embed crystals with it.",
        f"It has seen cells of at most {corpus['max_atoms']} atoms and {len(corpus['elements'])} "
        f"elements: {' '.join(corpus['elements'])}. Others it knows nothing of.",
        "It has seen ordered crystals near equilibrium: no molecules, surfaces, disorder or high "
        "pressures, and few porous frameworks or none. Far from what it has seen it may gain "
        "nothing, so ask atomprint coverage, train the twin too (--twin) and look.",
    ]


def card(shipped: Shipped) -> str:
    """The model card, for people."""
    cost, made = shipped.cost, shipped.made_with
    dft = cost["dft_cpu_seconds_a_label"] * shipped.n_crystals
    where = f"{cost['device']}, {cost['threads']} thread(s), {made['processor']}"
    lines = [
        f"# {shipped.name}",
        "",
        f"<!-- Written by scripts/make_checkpoint_card.py from {DESCRIPTION}. -->",
        "",
        f"{shipped.summary}.",
        "",
        "```console",
        f"$ atomprint finetune --from {shipped.name} --data LABELLED --target COLUMN --twin "
        "--out RUN",
        f"$ atomprint embed {shipped.name} CRYSTALS --out embeddings.parquet",
        "```",
        "",
        "## Data and licence",
        "",
        f"- Weights: {shipped.licence}.",
        f"- Trained on {shipped.n_crystals:,} crystals (hash `{shipped.corpus_hash}`): "
        f"{shipped.data}.",
        f"- Licence of the crystals: {shipped.data_licence}.",
        "",
        "## Size",
        "",
        f"{shipped.n_parameters:,} parameters, {shipped.n_bytes / 1e6:.2f} MB.",
        "",
        "## Cost",
        "",
        f"- Pre-training, targets included: {cost['seconds']:,.0f} s of wall time, "
        f"{cost['cpu_seconds']:,.0f} CPU seconds ({where}).",
        f"- For comparison, one DFT label a crystal would take {dft / 3600:,.1f} CPU hours at "
        f"{cost['dft_cpu_seconds_a_label']:.1f} s a label, the mean over this project's own "
        "labels, whose cells are smaller than those of the corpus.",
        "",
        "## Results",
        "",
        *_results(shipped),
        "",
        "## Limits",
        "",
        *[f"- {limit}" for limit in shipped.limits],
        "",
        "## Recipe",
        "",
        f"All settings; atomprint {made['versions']['atomprint']}, torch "
        f"{made['versions']['torch']}, Python {made['python']}, commit {made['commit']}.",
        "",
        "```yaml",
        yaml.safe_dump(shipped.recipe, sort_keys=False, allow_unicode=True, width=96).rstrip(),
        "```",
        "",
        "## Checksums (SHA-256)",
        "",
        *[f"- `{file}`: `{value}`" for file, value in shipped.sha256.items()],
    ]
    return "\n".join(lines) + "\n"


def _with_unit(row: dict[str, Any]) -> str:
    return f"{row['set']} ({row['unit']})" if row["unit"] else str(row["set"])


def _results(shipped: Shipped) -> list[str]:
    if not shipped.results:
        return ["Not measured."]
    lines = [
        "Mean absolute errors on crystals set aside, beside the from-scratch twin (same network, "
        "data, seeds, steps and learning rates tried).",
        "",
        "| set | labels | seeds | from scratch | fine-tuned | gain | over seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {_with_unit(row)} | {row['n_labels']} | {row['n_seeds']} "
        f"| {row['twin_mae']:.4g} | {row['mae']:.4g} | {row['gain']:+.1%} "
        f"| {row['gain_min']:+.1%} to {row['gain_max']:+.1%} |"
        for row in shipped.results
    ]
    return lines


def publish(shipped: Shipped, run: Path, folder: Path = FOLDER) -> Path:
    """Put model, description and card where the package finds them."""
    place = folder / shipped.name.removeprefix(PREFIX)
    place.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copyfile(run / file, place / file)
    (place / COVERAGE).unlink(missing_ok=True)
    if (run / COVERAGE).is_file():
        shutil.copyfile(run / COVERAGE, place / COVERAGE)
    write_json(place / DESCRIPTION, shipped.model_dump(mode="json"))
    (place / "card.md").write_text(card(shipped), encoding="utf-8")
    return place


def stale_cards(folder: Path = FOLDER, write: bool = False) -> list[str]:
    """Names of cards that are not what their descriptions say."""
    stale = []
    for path in sorted(folder.glob(f"*/{DESCRIPTION}")):
        text = card(Shipped.model_validate_json(path.read_text(encoding="utf-8")))
        place = path.with_name("card.md")
        if not place.is_file() or place.read_text(encoding="utf-8") != text:
            stale.append(path.parent.name)
            if write:
                place.write_text(text, encoding="utf-8")
    return stale


def main() -> int:
    """Publish a run, or look after the cards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="small for atomprint/small")
    parser.add_argument("run", nargs="?", type=Path, help="run folder")
    parser.add_argument("--results", type=Path, nargs="*", default=[])
    parser.add_argument("--scratch", type=Path, help="the study's file of from-scratch twins")
    parser.add_argument("--data", default=EMBEDDED, help="what it was trained on")
    parser.add_argument("--data-licence", default=EMBEDDED_LICENCE)
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--note", action="append", default=[], help="a sentence for the limits")
    parser.add_argument("--check", action="store_true", help="only compare the cards")
    parser.add_argument("--cards", action="store_true", help="write the cards anew")
    given = parser.parse_args()
    if given.check or given.cards:
        stale = stale_cards(write=given.cards)
        if stale and given.check:
            print(f"not up to date: the cards of {', '.join(stale)}", file=sys.stderr)
            return 1
        return 0
    if given.run is None:
        parser.error("give a name and a run folder")
    rows = [row for path in given.results for row in rows_of(path, given.scratch)]
    shipped = describe(
        given.name,
        given.run,
        rows,
        data=given.data,
        data_licence=given.data_licence,
        notes=given.note,
        licence=given.licence,
    )
    print(publish(shipped, given.run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
