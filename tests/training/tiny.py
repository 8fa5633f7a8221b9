"""Settings that train in a second."""

from atomprint.backbones import PaiNNSettings
from atomprint.data.batching import BatchSettings
from atomprint.fingerprints import EADSettings, RDFSettings
from atomprint.heads.model import ModelSettings
from atomprint.objectives import FingerprintObjectiveSettings
from atomprint.training.finetune import FinetuneSettings
from atomprint.training.pretrain import PretrainSettings
from atomprint.training.settings import LoopSettings, OptimizerSettings

TINY_MODEL = ModelSettings(
    backbone=PaiNNSettings(cutoff=4.0, n_channels=8, n_layers=2, n_radial=4), n_hidden=8
)


def tiny_loop(n_steps: int = 6, **more: object) -> LoopSettings:
    """A loop of a few steps on the CPU."""
    values = {
        "n_steps": n_steps,
        "batch": BatchSettings(max_crystals=8),
        "optimizer": OptimizerSettings(ema_decay=0.9),
        "log_every": 2,
        "checkpoint_every": 5,
        "evaluate_every": 7,
        "device": "cpu",
    }
    return LoopSettings(**(values | more))


def tiny_pretraining(n_steps: int = 6) -> PretrainSettings:
    """Two fingerprints, one per atom and one per crystal, on a tiny PaiNN."""
    return PretrainSettings(
        model=TINY_MODEL,
        objectives=(
            FingerprintObjectiveSettings(
                fingerprints=(
                    EADSettings(cutoff=4.0, n_shells=3, l_max=2),
                    RDFSettings(cutoff=4.0, n_bins=8, per="crystal"),
                )
            ),
        ),
        loop=tiny_loop(n_steps),
        valid_fraction=0.2,
        n_standardize=16,
    )


def tiny_finetuning(n_steps: int = 20) -> FinetuneSettings:
    """Two learning rates, a few steps."""
    return FinetuneSettings(learning_rates=(1e-3, 5e-3), n_steps=n_steps, loop=tiny_loop())
