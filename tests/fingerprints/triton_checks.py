"""Checks of the GPU kernels in Triton's interpreter, on the processor.

Run as a program in a process of its own, because Triton reads TRITON_INTERPRET when it is
imported; prints one JSON object, the largest relative error of every check.
"""

import json

import numpy as np
import torch

from atomprint.fingerprints.kernels.bridge import block_of_graph
from atomprint.fingerprints.kernels.edges import EdgeBlock
from atomprint.fingerprints.kernels.expansion import (
    LINEAR,
    SELF,
    Expansion,
    Products,
    hermite_table,
)
from atomprint.fingerprints.kernels.gpu.kernel import GpuKernel
from atomprint.fingerprints.kernels.quadratic import QuadraticKernel
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch
from tests.contracts.test_fingerprints import MEMBERS
from tests.fingerprints.common import SAMPLES

CUTOFF = 3.3
LONE = Crystal.make("lone", np.array([8]), 20.0 * np.eye(3), positions=np.zeros((1, 3)))
# An atom without neighbours before atoms that have them.
CRYSTALS = [LONE, SAMPLES["five"]]


def expansion(degrees, columns, n_radial, n_channels, right, root=False):
    """Make an expansion by hand, of two tables, with random weights and a centre that counts."""
    random = np.random.default_rng(len(degrees) + n_channels)
    degrees, columns = np.array(degrees), np.array(columns)
    r = np.linspace(0, CUTOFF, 400)
    width = int(columns.max()) + n_radial
    k, shift = np.arange(1, width + 1), np.array([0.0, 0.3])[:, None, None]
    envelope, fall = (1 - r / CUTOFF) ** 3, -3 / CUTOFF * (1 - r / CUTOFF) ** 2
    inner = k * r[:, None] / 2 + shift
    values = np.cos(inner) * envelope[:, None]
    slopes = np.cos(inner) * fall[:, None] - k / 2 * np.sin(inner) * envelope[:, None]
    blocks, left, other = [], [], []
    for b in range(len(degrees)):
        for a in range(n_channels * n_radial):
            wanted = right if right != LINEAR or degrees[b] == 0 else 0
            last = range(a, n_channels * n_radial) if wanted == 0 else [wanted]
            blocks += [b] * len(last)
            left += [a] * len(last)
            other += list(last)
        if right == SELF:  # and squares beside the self terms
            blocks += [b] * n_radial
            left += list(range(n_radial))
            other += list(range(n_radial))
    center = random.normal(size=(2, len(degrees), n_radial)) * (degrees == 0)[None, :, None]
    n = len(blocks)
    return Expansion(
        cutoff=CUTOFF,
        table=hermite_table(0.0, r[1], values, slopes),
        table_of_element=np.arange(119) % 2,
        weights=random.normal(size=(119, n_channels)),
        n_radial=n_radial,
        degrees=degrees,
        columns=columns,
        center_weights=random.normal(size=(119, n_channels)),
        center=center,
        products=Products(
            np.array(blocks), np.array(left), np.array(other), random.uniform(0.5, 1, n)
        ),
        mix=np.abs(random.normal(size=(n, 7))) if root else None,
        root=root,
    )


EXPANSIONS = {
    "soap-like": expansion([0, 1, 2, 3], [0, 3, 6, 9], 3, 2, 0),
    "shared-columns": expansion([2, 0, 1, 0], [2, 0, 0, 2], 2, 1, 0),
    "self-terms": expansion([0, 4], [0, 0], 1, 2, SELF),
    "linear": expansion([0, 1], [0, 1], 2, 2, LINEAR),
    "root": expansion([0, 2], [0, 2], 2, 1, 0, root=True),
}


def relative(found, wanted):
    """Largest difference, in units of the largest value of a column (tails: of all)."""
    scale = wanted.abs().amax(0) + 1e-3 * wanted.abs().max()
    return float(((found - wanted).abs() / scale).max())


def check(e):
    """Errors of rows and gradients of an expansion against the kernel of the processor."""
    kernel, errors = GpuKernel(e), {}
    exact = GraphBatch.from_crystals(CRYSTALS, CUTOFF + 0.4, torch.float64)
    for dtype in (torch.float64, torch.float32):
        graph = exact.to(dtype=dtype)
        block = block_of_graph(exact, exact.edge_vectors)
        wanted = torch.from_numpy(QuadraticKernel(e).rows(block))
        rows = kernel.rows(graph)
        assert rows.dtype == dtype
        name = str(dtype).removeprefix("torch.")
        errors[f"rows {name}"] = relative(rows.double(), wanted)
        pull = torch.from_numpy(np.random.default_rng(1).normal(size=tuple(rows.shape)))
        errors[f"gradient {name}"] = gradient_error(kernel, e, graph, block, pull)
    errors["weights"], errors["second"] = (
        weight_error(kernel, e, exact),
        second_error(kernel, exact),
    )
    return errors


def gradient_error(kernel, e, graph, block: EdgeBlock, pull):
    """Error of the gradient by edge vectors."""
    wanted = torch.from_numpy(QuadraticKernel(e).gradient(block, pull.numpy()))
    vectors = graph.edge_vectors.clone().requires_grad_()
    graph = graph.to()
    graph.__dict__["edge_vectors"] = vectors
    rows = kernel.rows(graph)
    (found,) = torch.autograd.grad(rows, vectors, pull.to(rows.dtype))
    return float((found - wanted).abs().max() / wanted.abs().max())


def weight_error(kernel, e, graph):
    """Error of a derivative by channel weights against central differences."""
    weights = torch.as_tensor(e.weights).clone().requires_grad_()
    direction = torch.from_numpy(np.random.default_rng(2).normal(size=e.weights.shape))
    (found,) = torch.autograd.grad(kernel.rows(graph, weights).sum(), weights)
    step = 1e-5
    with torch.no_grad():
        up = kernel.rows(graph, weights + step * direction).sum()
        down = kernel.rows(graph, weights - step * direction).sum()
    wanted = (up - down) / (2 * step)
    return float(((found * direction).sum() - wanted).abs() / wanted.abs())


def second_error(kernel, graph):
    """Error of first derivatives made for second ones, by positions and cells."""
    found = []
    for again in (False, True):
        moved = [graph.positions.clone().requires_grad_(), graph.cells.clone().requires_grad_()]
        total = kernel.rows(graph.with_geometry(*moved)).square().sum()
        found.append(torch.autograd.grad(total, moved, create_graph=again))
    pairs = zip(*found, strict=True)
    return max(float((a - b).detach().abs().max() / b.detach().abs().max()) for a, b in pairs)


def check_member(name):
    """Errors of a member through ``path='fused'`` against its plain PyTorch."""
    fingerprint, errors = MEMBERS[name].build(), {}
    graph = GraphBatch.from_crystals([SAMPLES["two"]], fingerprint.cutoff, torch.float64)
    fingerprint.path = "fused"
    true, GraphBatch.device = GraphBatch.device, property(lambda _: torch.device("cuda"))
    try:  # the graph says that it is on a GPU, so that the path is taken
        for dtype in (torch.float64, torch.float32):
            given = graph.to(dtype=dtype)
            # Of the same edge vectors: what rounding of positions does is no error of the kernel.
            exact = given.to(dtype=torch.float64)
            exact.__dict__["edge_vectors"] = given.edge_vectors.double()
            wanted = fingerprint.reference(exact).detach()
            found = fingerprint(given).double().detach()
            errors[f"rows {str(dtype).removeprefix('torch.')}"] = relative(found, wanted)
    finally:
        GraphBatch.device = true
    assert fingerprint._gpu_kernel is not None
    return errors


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {name: check(e) for name, e in EXPANSIONS.items()}
    for member in ("soap-channels", "soap-featomic-step", "ead", "wacsf"):
        found[member] = check_member(member)
    print(json.dumps(found))  # noqa: T201 (this is what the test reads)
