"""Verbs that apply a trained network to crystals."""

from pathlib import Path
from typing import Any, Literal

from atomprint.api.columns import Columns, row_ids
from atomprint.api.inputs import Data, PathInput, Progress, choose_device, read_data
from atomprint.evaluation.intervals import ensemble, read_held_out
from atomprint.evaluation.twin import prediction_columns
from atomprint.ground.errors import UsageError
from atomprint.heads.ensemble import Ensemble
from atomprint.training import predict as inference
from atomprint.training.checkpoint import load_model


def predict(
    run: PathInput,
    data: Data,
    out: PathInput | None = None,
    *,
    per: Literal["atom", "crystal"] | None = None,
    interval: float | None = None,
    device: str = "auto",
    strict: bool = False,
    progress: Progress | None = None,
) -> Columns:
    """Predict the properties of crystals with a fine-tuned model.

    Parameters
    ----------
    run
        Folder of a fine-tuned model.
    data
        Crystals, or where to read them from.
    out
        A .parquet or .csv to write.
    per
        Which targets, where a model has some per atom and some per crystal.
    interval
        Probability with which a label shall lie between two more columns, 0.9 for instance; see
        :mod:`atomprint.evaluation.intervals`. Targets that are numbers per crystal only.
    device, strict, progress
        As elsewhere.

    Returns
    -------
    Columns
        ``<target>_predicted`` for every target; a row a crystal (a row an atom, if the model's
        targets are per atom); with `interval` also ``<target>_low`` and ``<target>_high``; of an
        ensemble also ``<target>_spread``, the standard deviation of its members' predictions.

    Raises
    ------
    UsageError
        If the model has nothing to predict, or too few held-out crystals for the interval.
    """
    model, info = load_model(Path(run))
    if info.made_by != "finetune":
        raise UsageError(
            f"{run}: this model was only pre-trained and has no targets to predict; "
            "fine-tune it on labels first, or use embed"
        )
    kinds = sorted({target.per for target in model.targets})
    if per is None:
        if len(kinds) > 1:
            raise UsageError(f"{run}: the model predicts per atom and per crystal; give per one")
        per = kinds[0]
    if per not in kinds:
        raise UsageError(f"{run}: the model predicts nothing per {per}; leave per out")
    held_out = {}
    if interval is not None:
        numeric = [t.name for t in model.targets if t.per == per == "crystal" and not t.is_class]
        if not numeric:
            raise UsageError(f"{run}: intervals are for numbers per crystal, and it predicts none")
        held_out = {name: read_held_out(Path(run), name, interval) for name in numeric}
    result = read_data(data, None, strict, progress)

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("predict", done, total, {})

    import numpy as np

    spreads: dict[str, Any] = {}
    chosen = choose_device(device)
    if isinstance(model, Ensemble):
        members = inference.predict_members(model, result.crystals, chosen, count)
        predicted = {}
        for name in members[0]:
            predicted[name], spreads[name] = ensemble([member[name] for member in members])
    else:
        predicted = inference.predict(model, result.crystals, chosen, count)
    values: dict[str, Any] = {}
    units: dict[str, str] = {}

    for target in model.targets:
        if target.per != per:
            continue
        parts = {"predicted": predicted[target.name]}
        if target.name in spreads and not target.is_class:
            parts["spread"] = spreads[target.name]
        if interval is not None and target.name in held_out:
            ends = held_out[target.name].interval(parts["predicted"], interval)
            parts |= {"low": ends[0], "high": ends[1]}
        for suffix, part in parts.items():
            for name, column in prediction_columns(target, part, suffix).items():
                values[name] = np.asarray(column, dtype=np.float64)
                units[name] = target.unit
    about: dict[str, Any] = {"model": str(run)}
    if interval is not None:
        about["interval"] = interval
    table = Columns(row_ids(result.crystals, per), values, units, per, about, result.problems)
    if out is not None:
        table.write(out)
    return table


def embed(
    run: PathInput,
    data: Data,
    out: PathInput | None = None,
    *,
    per: Literal["atom", "crystal"] = "crystal",
    device: str = "auto",
    strict: bool = False,
    progress: Progress | None = None,
) -> Columns:
    """Features that a trained backbone has of crystals (the mean over atoms) or of atoms.

    ``run`` is the folder of a model, or the name of one that comes with the package.
    """
    model, _ = load_model(Path(run))
    result = read_data(data, None, strict, progress)

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress("embed", done, total, {})

    values = inference.embed(model, result.crystals, per, choose_device(device), count)
    names = [f"e{i}" for i in range(values.shape[1])]
    table = Columns(
        row_ids(result.crystals, per),
        {name: values[:, i] for i, name in enumerate(names)},
        dict.fromkeys(names, "1"),
        per,
        {"model": str(run)},
        result.problems,
    )
    if out is not None:
        table.write(out)
    return table
