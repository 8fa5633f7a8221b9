"""MatBench's phonons and jdft2d on the official folds, beside from-scratch twins and baselines.

    python benchmarks/evaluation/matbench.py --data DIR --from RUN --work WORK --members 5

``RUN`` is pre-trained on a corpus without any crystal of the sets (benchmarks/pretraining/study.py
makes one). Units are kept in ``WORK``; stopped at any moment, the same command goes on. Writes
``benchmarks/results/evaluation/matbench.json``, complete or not, and a page for each task.
"""

import argparse
from pathlib import Path

from pages import keep_page

from atomprint import api
from atomprint.evaluation.prepare import EvaluateSettings
from atomprint.evaluation.summary import summarize_evaluation
from atomprint.training.checkpoint import write_json
from atomprint.training.run import environment

OUT = Path(__file__).parents[1] / "results" / "evaluation" / "matbench.json"
KEPT = (
    "arm", "kind", "n_labels", "n_splits", "value", "interval", "spread", "values", "gain",
    "n_won", "verdict", "seconds", "cpu_seconds", "seconds_per_crystal", "joules", "peak_mib",
    "n_parameters",
)  # fmt: skip


def main() -> None:
    """Evaluate what is missing, and write down what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tasks", default="phonons,jdft2d")
    parser.add_argument("--members", type=int, default=1, help="networks of an ensemble")
    parser.add_argument("--only-collect", action="store_true", help="evaluate nothing more")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    settings = EvaluateSettings.model_validate(
        {
            "protocol": {"kind": "matbench"},
            "baselines": True,
            "finetuning": {"n_members": arguments.members},
        }
    )
    found = {}
    for task in arguments.tasks.split(","):
        folder = arguments.work / task
        if not arguments.only_collect:
            api.evaluate(
                folder,
                [arguments.source],
                settings=settings,
                task=task,
                folder=arguments.data,
                device="cpu",
            )
        summary = summarize_evaluation(folder).model_dump(mode="json")
        rows = [{key: row[key] for key in KEPT} for row in summary["rows"]]
        found[task] = {key: summary[key] for key in ("metric", "unit", "verdict", "complete")}
        found[task] |= {"missing": summary["missing"], "rows": rows}
        words = {str(arguments.data): "DIR", str(arguments.work): "WORK"}
        if Path(arguments.source).is_dir():
            words[arguments.source] = "RUN"
        keep_page(folder, arguments.out.with_name(f"matbench-{task}.html"), words)
    about = {k: v for k, v in environment().items() if k != "command"}
    made = {"tasks": found, "n_members": arguments.members, "environment": about}
    write_json(arguments.out, made)


if __name__ == "__main__":
    main()
