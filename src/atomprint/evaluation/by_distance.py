"""Errors of arms by how far judged crystals lie from the corpora behind the runs."""

from collections.abc import Sequence
from typing import Any

from atomprint.evaluation.distance_errors import error_against_distance
from atomprint.evaluation.summary_rows import CoverageRow, DistanceBinRow, DistanceRow, Estimate
from atomprint.ground.errors import DataError

N_DRAWS = 300


def coverage_rows(about: dict[str, Any]) -> list[CoverageRow]:
    """What ``evaluation.json`` says of its set and the corpora; nothing if it has not looked."""
    return [
        CoverageRow(
            runs=tuple(entry["runs"]),
            verdict=entry["verdict"],
            sentence=entry["sentence"],
            n_corpus=(entry.get("corpus") or {}).get("n_corpus"),
            beyond_95=entry.get("beyond_95"),
            beyond_99=entry.get("beyond_99"),
            auc=entry.get("auc"),
        )
        for entry in entries_of(about)
    ]


def entries_of(about: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of ``evaluation.json["coverage"]``, one a corpus."""
    found = about.get("coverage")
    return [one for one in found if "runs" in one] if isinstance(found, list) else []


def distance_rows(
    about: dict[str, Any], units: Sequence[dict[str, Any]], arms: Sequence[str]
) -> list[DistanceRow]:
    """Errors by distance, of every arm seen from every corpus.

    Parameters
    ----------
    about
        Content of ``evaluation.json``.
    units
        Finished ones; of a learning curve those with one number of labels.
    arms
        Their order.
    """
    found = []
    for place, entry in enumerate(entries_of(about)):
        if not entry.get("distances"):
            continue
        for arm in arms:
            mine = [unit for unit in units if unit["arm"] == arm]
            try:
                one = error_against_distance(mine, entry["distances"], n_draws=N_DRAWS)
            except DataError:
                continue
            found.append(
                DistanceRow(
                    corpus=place,
                    arm=arm,
                    bins=tuple(
                        DistanceBinRow(low=b.low, high=b.high, value=b.error, n_crystals=b.n)
                        for b in one.bins
                    ),
                    correlation=Estimate.of(one.correlation),
                    n_crystals=one.n,
                )
            )
    return found
