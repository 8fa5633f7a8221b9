"""Pre-training by the workers of Ray Train: the network that one process trains."""

import pytest
import torch
from safetensors.torch import load_file

import atomprint
from atomprint.structures.writing import write_parquet
from tests.ray_cluster import two_workers
from tests.toy import toy_crystals

SETTINGS = ["loop.n_steps=8", "loop.seed=3", "loop.device=cpu", "loop.evaluate_every=4"]
SETTINGS += [
    "model.backbone.kind=painn",
    "model.backbone.n_channels=16",
    "model.backbone.n_layers=2",
]


def test_two_workers_train_the_network_of_one_process(tmp_path):
    write_parquet(tmp_path / "crystals.parquet", toy_crystals(60), exact=True)
    data, one, two = (str(tmp_path / name) for name in ("crystals.parquet", "one", "two"))
    atomprint.pretrain(data, one, overrides=SETTINGS)

    def train() -> None:
        import atomprint
        from atomprint.ground.launches import launched

        # Each alone would train the same network.
        here = launched()
        assert here is not None
        assert here.n_processes == 2
        atomprint.pretrain(data, two, overrides=SETTINGS)

    with two_workers() as (cluster, _):
        import ray

        torch_train = pytest.importorskip("ray.train.torch", reason="Ray Train is not installed")
        from ray.train import RunConfig, ScalingConfig

        ray.init(address=cluster.address, log_to_driver=False)
        torch_train.TorchTrainer(
            train,
            scaling_config=ScalingConfig(num_workers=2, use_gpu=False),
            run_config=RunConfig(storage_path=str(tmp_path / "ray")),
        ).fit()
    expected, found = (load_file(f"{run}/model.safetensors") for run in (one, two))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-5, msg=name)
