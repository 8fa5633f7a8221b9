"""The verb that fine-tunes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from atomprint.api.inputs import Data, PathInput, Progress, read_data
from atomprint.data.splits import split
from atomprint.evaluation.labels import describe_targets, with_logarithms
from atomprint.evaluation.twin import Outcome, run_twins, split_labelled
from atomprint.heads.model import ModelSettings
from atomprint.heads.target import Target
from atomprint.heads.terms import terms_of_model, write_card
from atomprint.structures.crystal import Crystal
from atomprint.training.checkpoint import load_model
from atomprint.training.finetune import FinetuneSettings
from atomprint.training.run import hash_crystals, make_folder, record


def finetune(
    source: PathInput | None,
    data: Data,
    target: str | Sequence[str] | Sequence[Target],
    out: PathInput | None = None,
    *,
    labels: PathInput | None = None,
    n_train: int | None = None,
    test: float | PathInput = 0.2,
    twin: bool = False,
    task: Literal["regression", "classification"] = "regression",
    seed: int = 0,
    device: str = "auto",
    settings: FinetuneSettings | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Fine-tune a pre-trained network on labels, and test it on crystals set aside.

    Parameters
    ----------
    source
        Folder of the pre-trained model, or the name of one that comes with the package
        (``atomprint/small``, see :func:`checkpoints`); None trains from scratch.
    data
        Crystals with labels, or where to read them from.
    target
        Name of the label, or of several at once; ``log10(NAME)`` learns the logarithm of one.
    out
        Run folder to write.
    labels
        A CSV with ids and labels.
    n_train
        Labels to use for training and validation together; None uses all but the test part.
    test
        Part set aside for the test (a fraction), or a file of ids, one a line.
    twin
        Train the from-scratch twin too, with the same data, seed, steps and grid.
    task
        Whether the labels are numbers or classes 0, 1, ...
    seed
        Of the split, the heads, the order.
    device
        ``auto``, ``cpu``, ``cuda``.
    settings
        Of fine-tuning.
    strict
        Refuse if anything was left out on reading.
    progress
        See the module.
    """
    pretrained = load_model(Path(source))[0] if source is not None else None
    result = with_logarithms(target, read_data(data, labels, strict, progress))
    targets = describe_targets(target, result, task)
    labelled = [c for c in result.crystals if any(t.name in c.labels for t in targets)]
    parts = split_for_test(labelled, test, seed)
    chosen = settings or FinetuneSettings()
    # Structures without a label can be adapted to.
    others = [c for c in result.crystals if not any(t.name in c.labels for t in targets)]
    loop = chosen.loop.model_copy(update={"seed": seed, "device": device})
    chosen = chosen.model_copy(update={"loop": loop})
    split_parts = split_labelled(parts[0], parts[1], n_train, chosen.valid_fraction, seed)
    split_parts = replace(split_parts, unlabelled=others)
    model_settings = pretrained.settings if pretrained is not None else ModelSettings()
    known = terms_of_model(source) if source is not None else []
    folder = None
    if out is not None:
        folder = make_folder(Path(out))
        about = {
            "hash": hash_crystals(labelled),
            "n_labelled": len(labelled),
            "n_test": len(split_parts.test),
            "problems": len(result.problems),
            "source": str(source) if source is not None else None,
            "provenance": known,
        }
        record(folder, chosen.model_dump(mode="json"), about)

    def count(step: int, total: int, numbers: dict[str, float]) -> None:
        if progress is not None:
            progress("finetune", step, total, numbers)

    outcome = run_twins(
        split_parts,
        targets,
        chosen,
        model_settings,
        pretrained,
        twin=twin,
        out=folder,
        notes={"source": str(source) if source is not None else None, "provenance": known},
        progress=count,
    )
    outcome.problems.extend(result.problems)
    if folder is not None:
        facts = {
            "predicts": ", ".join(t.name for t in targets),
            "labelled crystals": f"{len(labelled):,}",
            "starts from": str(source) if source is not None else "scratch",
        }
        write_card(folder, "finetune", known, facts)
    return outcome


def split_for_test(
    labelled: Sequence[Crystal], test: float | PathInput, seed: int
) -> tuple[list[Crystal], list[Crystal]]:
    """Set the test part aside: (the others, the test part)."""
    parts = split(labelled, test=test, valid=0.0, seed=seed)
    return [labelled[i] for i in parts.train], [labelled[i] for i in parts.test]
