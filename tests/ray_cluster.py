"""A Ray cluster of two workers on this machine."""

import os
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest


@contextmanager
def two_workers():
    """Yield the cluster and its two nodes of one processor each; the head computes nothing."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'atomprint[ray]')")
    from ray.cluster_utils import Cluster

    # What runs there may be of the tests.
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with patch.dict(os.environ, {"PYTHONPATH": paths}):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        try:
            nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
            cluster.wait_for_nodes()
            yield cluster, nodes
        finally:
            ray.shutdown()
            cluster.shutdown()
