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
    header = ["set", "labels", "test", metric]
    if "twin_value" in results[0]:
        header = ["set", "labels", "test", f"twin's\n{metric}", f"pre-trained\n{metric}", "gain"]
        header += ["seeds"]
    print_table(header, _rows(results, name))


def _rows(results: Sequence[Mapping[str, Any]], name: str) -> Iterator[Sequence[str]]:
    ordered = sorted(results, key=lambda row: str(row["target"]))
    for target, group in groupby(ordered, key=lambda row: str(row["target"])):
        rows = list(group)
        unit = f" ({rows[0]['unit']})" if rows[0]["unit"] else ""
        first = [f"{name}: {target}{unit}", str(rows[0]["n_train"]), str(rows[0]["n_test"])]
        value = number(_mean(rows, "value"))
        if "twin_value" not in rows[0]:
            yield [*first, value]
            continue
        gain = gain_with_spread([row["gain"] for row in rows])
        if len(rows) == 1 and rows[0].get("gain_interval"):
            low, high = rows[0]["gain_interval"]
            gain += f"\n[{round(100 * low)}, {round(100 * high)}]"
        yield [*first, number(_mean(rows, "twin_value")), value, gain, str(len(rows))]


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    known = [float(row[key]) for row in rows if row[key] is not None]
    return statistics.fmean(known) if known else None


def gain_with_spread(gains: Sequence[float | None]) -> str:
    """Mean gain over seeds ± its standard deviation."""
    known = [gain for gain in gains if gain is not None]
    if not known:
        return "-"
    mean = percent(statistics.fmean(known))
    if len(known) == 1:
        return mean
    return f"{mean[:-2]} ± {100 * statistics.stdev(known):.1f} %"
