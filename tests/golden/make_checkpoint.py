"""Freeze a tiny checkpoint of the present format: run once for each new format number.

python -m tests.golden.make_checkpoint
"""

import json
from pathlib import Path

import torch

from atomprint.heads.model import Model
from atomprint.heads.target import Target
from atomprint.training.checkpoint import FORMAT, ModelInfo, save_model
from atomprint.training.predict import predict
from tests.toy import toy_crystals
from tests.training.tiny import TINY_MODEL


def main() -> None:
    """Write the checkpoint and what it predicts for three crystals."""
    folder = Path(__file__).parent / f"checkpoint_v{FORMAT}"
    torch.manual_seed(0)
    targets = [
        Target(name="energy", unit="eV"),
        Target(name="metal", size=2, task="classification"),
    ]
    model = Model(TINY_MODEL, targets)
    model.standardizer("energy").fit(torch.randn(20, 1) * 2 + 5)
    save_model(folder, model, model.state_dict(), ModelInfo("finetune", {"seed": 0}))
    predictions = {k: v.tolist() for k, v in predict(model, toy_crystals(3)).items()}
    (folder / "predictions.json").write_text(json.dumps(predictions))


if __name__ == "__main__":
    main()
