"""Have MatBench's own package load, validate and score a record that atomprint wrote.

matbench 0.6 pins packages of 2022 that current systems cannot install; it runs with current ones
in an environment of its own:

    python -m venv matbench-env
    matbench-env/bin/pip install matminer "pandas<3"
    matbench-env/bin/pip install --no-deps matbench==0.6
    matbench-env/bin/python scripts/check_matbench_record.py RECORD.json [--wanted LABELS.json]

Nothing of atomprint is imported here. LABELS.json maps MatBench's ids to labels; with it, the
scores in the record are compared with those that MatBench's own functions compute, fold by fold.
"""

import argparse
import json
import logging
import math
import sys
from pathlib import Path


def main() -> int:
    """Print what MatBench says, and return 0 if it is content."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record")
    parser.add_argument("--wanted", help="JSON of labels by id, to compute the scores anew")
    arguments = parser.parse_args()

    from matbench.bench import MatbenchBenchmark
    from matbench.data_ops import score_array

    logging.getLogger("matbench").setLevel(logging.ERROR)
    try:
        benchmark = MatbenchBenchmark.from_file(arguments.record)
    except (KeyError, TypeError, ValueError) as error:
        print(f"matbench does not load it: {error}")
        return 1
    ok = bool(benchmark.is_valid and benchmark.is_recorded)
    print(f"is_valid: {benchmark.is_valid}")
    print(f"is_recorded: {benchmark.is_recorded}")
    for task in benchmark.tasks:
        for metric, values in task.scores.items():
            print(f"{task.dataset_name} {metric}: {values.mean:.6g} (std {values.std:.6g})")
    if arguments.wanted:
        wanted = json.loads(Path(arguments.wanted).read_text(encoding="utf-8"))
        ok &= same_scores(benchmark, wanted, score_array)
    return 0 if ok else 1


def same_scores(benchmark, wanted, score_array) -> bool:
    """Whether MatBench's functions give the scores of the record."""
    worst = 0.0
    for task in benchmark.tasks:
        is_class = task.metadata.task_type == "classification"
        for fold in task.results.values():
            labels = [wanted[id] for id in fold["data"]]
            truth = [bool(value) for value in labels] if is_class else labels
            scores = score_array(truth, list(fold["data"].values()), task.metadata.task_type)
            for metric, value in scores.items():
                stated = fold["scores"][metric]
                worst = max(worst, abs(value - stated) / max(1.0, abs(value)))
    print(f"largest difference of a score from matbench's own: {worst:.1e}")
    return worst < 1e-9 and math.isfinite(worst)


if __name__ == "__main__":
    sys.exit(main())
