"""The table of fine-tuning: what pre-training bought, against the from-scratch twin."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from atomprint.cli.output import number, percent, print_table


def print_results(results: Sequence[Mapping[str, Any]], name: str) -> None:
    """Print rows of results, seeds of one target together.

    Parameters
    ----------
    results
        As :class:`atomprint.evaluation.twin.Outcome` describes them.
    name
        Of the labelled set.
    """
    metric = results[0]["metric"]
    with_twin = "twin_value" in results[0]
    header = ["set", "target", "labels", "test", f"{metric}"]
    if with_twin:
        header = [*header[:4], f"twin's {metric}", f"pre-trained {metric}", "gain"]
    print_table(header, _rows(results, name, with_twin))


def _rows(
    results: Sequence[Mapping[str, Any]], name: str, with_twin: bool
) -> Iterator[Sequence[str]]:
    ordered = sorted(results, key=lambda row: str(row["target"]))
    for target, group in groupby(ordered, key=lambda row: str(row["target"])):
        rows = list(group)
        unit = rows[0]["unit"]
        first = [name, target, str(rows[0]["n_train"]), str(rows[0]["n_test"])]
        value = _mean(rows, "value")
        if not with_twin:
            yield [*first, _with_unit(value, unit)]
            continue
        yield [
            *first,
            _with_unit(_mean(rows, "twin_value"), unit),
            _with_unit(value, unit),
            gain_with_spread([row["gain"] for row in rows]),
        ]


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    known = [float(row[key]) for row in rows if row[key] is not None]
    return statistics.fmean(known) if known else None


def _with_unit(value: float | None, unit: str) -> str:
    return f"{number(value)} {unit}".rstrip()


def gain_with_spread(gains: Sequence[float | None]) -> str:
    """Mean gain over seeds ± its standard deviation, with the number of seeds."""
    known = [gain for gain in gains if gain is not None]
    if not known:
        return "-"
    mean = percent(statistics.fmean(known))
    if len(known) == 1:
        return f"{mean} (1 seed)"
    return f"{mean[:-2]} ± {100 * statistics.stdev(known):.1f} % ({len(known)} seeds)"
