"""What part of a pre-training step is spent on computing its targets.

    python benchmarks/pretraining/target_cost.py --data DIR

For each fingerprint of the study: batches of 32 crystals of the study's corpus, the default
network, one thread. Processor time of the targets within each step, and of the whole step (building
the batch with its neighbour list, targets, network forwards and backwards, optimiser); medians over
steps with quartiles.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from arms import ARMS
from sets import load_corpus

from atomprint.data.batching import BatchStream, LabelSpec
from atomprint.heads.model import Model
from atomprint.objectives import FingerprintObjective, Mixture, Sample
from atomprint.training.checkpoint import write_json
from atomprint.training.loop import Trainer
from atomprint.training.pretrain import PretrainSettings
from atomprint.training.run import environment, make_fabric
from atomprint.training.tasks import PretrainTask

OUT = Path(__file__).parents[1] / "results" / "pretraining" / "target_cost.json"
MEASURED = (
    "ead",
    "ead+soap+denoising",
    "ead+soap+denoising, wide",
    "ead+soap+properties+denoising, wide",
    "soap",
    "gmp",
    "wacsf",
    "adf",
    "rdf",
    "all six",
    "ead+masking",
)


def quartiles(values: list[float]) -> dict[str, float]:
    """Median with quartiles."""
    names = ("lower", "median", "upper")
    found = np.quantile(values, (0.25, 0.5, 0.75))
    return {name: round(float(value), 3) for name, value in zip(names, found, strict=True)}


class _Clock:
    """Adds up the processor time of calls."""

    seconds = 0.0

    def around(self, function: Any) -> Any:
        """The function, timed."""

        def timed(*arguments: Any) -> Any:
            begun = time.process_time()
            result = function(*arguments)
            self.seconds += time.process_time() - begun
            return result

        return timed


def measure(arm: str, corpus: list[Any], n_steps: int) -> dict[str, Any]:
    """Milliseconds of targets and of whole steps."""
    settings = PretrainSettings.model_validate(ARMS[arm])
    loop = settings.loop.model_copy(update={"device": "cpu", "n_steps": n_steps + 8})
    torch.manual_seed(0)
    model = Model(settings.model, ())
    members = [s.build(model.backbone, settings.model) for s in settings.objectives]
    mixture = Mixture(members, settings.task_weights)
    labels = [LabelSpec(t.name, t.per, t.size) for t in mixture.labels]
    cutoff = max(model.cutoff, mixture.cutoff)
    stream = BatchStream(corpus, cutoff, loop.batch, 0, labels, settings.perturbation)
    plan = stream.plan()
    first = [stream.build(*next(plan)) for _ in range(8)]
    mixture.fit([Sample(batch.graph, batch.labels) for batch in first])
    trainer = Trainer(PretrainTask(model, mixture, loop.n_steps), loop, make_fabric(loop, None))
    spent = _Clock()
    for member in members:
        if isinstance(member, FingerprintObjective):
            member.values = spent.around(member.values)  # type: ignore[method-assign]
    targets, steps = [], []

    def batches(start: int, stop: int) -> Any:
        for k in range(start, stop):
            begun, spent.seconds = time.process_time(), 0.0
            yield stream.build(*next(plan))
            if k >= 8:
                steps.append(1e3 * (time.process_time() - begun))
                targets.append(1e3 * spent.seconds)

    trainer.run(batches)
    share = [a / b for a, b in zip(targets, steps, strict=True)]
    return {
        "ms_targets": quartiles(targets),
        "ms_step": quartiles(steps),
        "share": quartiles(share),
        "n_steps": n_steps,
    }


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus = load_corpus(arguments.data)
    found = {}
    for arm in MEASURED:
        found[arm] = measure(arm, corpus, arguments.steps)
        print(arm, found[arm], flush=True)
    about = {k: v for k, v in environment().items() if k != "command"}
    write_json(arguments.out, {"arms": found, "threads": 1, "environment": about})


if __name__ == "__main__":
    main()
