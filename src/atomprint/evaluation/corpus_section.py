"""What the page of an evaluation says of the set and the corpora behind the runs."""

from collections.abc import Container
from typing import Any

from markupsafe import Markup

from atomprint.evaluation import evaluation_figures as figures
from atomprint.evaluation.summary_rows import Summary


def distance_parts(
    summary: Summary, drawn: Container[str], colors: dict[str, str], axis: str
) -> list[dict[str, Any]]:
    """A table of all arms, and a figure of some, for each corpus: error by distance from it."""
    parts = []
    for number, corpus in enumerate(summary.coverage):
        places = [i for i, row in enumerate(summary.by_distance) if row.corpus == number]
        if not places:
            continue
        bins = summary.by_distance[places[0]].bins
        names = [f"{b.low:.2g} to {b.high:.2g}" for b in bins]
        rows = [summary.by_distance[i] for i in places if summary.by_distance[i].arm in drawn]
        figure = figures.by_distance(rows, names, colors, axis) if rows else ""
        part = {"runs": corpus.runs, "names": names, "places": places, "figure": Markup(figure)}
        parts.append(part)
    return parts


def overlap_sentence(leakage: Any) -> str | None:
    """How many judged crystals the corpus has, in a sentence."""
    if not isinstance(leakage, dict) or "n_leaked" not in leakage:
        return None
    n, total, corpus = leakage["n_leaked"], leakage["n_test"], leakage["corpus"]
    done = "and judge nothing" if leakage["excluded"] else "and judge all the same"
    if not n:
        return f"None of the {total} judged crystals is in the corpus ({corpus})."
    return f"{n} of {total} judged crystals are in the corpus ({corpus}) {done}."
