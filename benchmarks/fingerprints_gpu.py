"""How fast the fused fingerprints are on a GPU, and how far from what the GPU can do.

    python benchmarks/fingerprints_gpu.py [--atoms 4096] [--out result.json]

Needs a CUDA device, atomprint with torch, numba, numpy, scipy and pydantic, and Triton; no ASE.
Agreement
comes first: every fingerprint's rows and gradients against plain PyTorch on a part of the atoms
(float64 to 1e-10, float32 to 1e-5); what disagrees is not timed. Times are medians, of a graph that
has its neighbour list and edge vectors on the device already. Operations and bytes are those that
the sums need (:func:`count`), not what the kernels do: numbers read twice count once. The two
ceilings are measured: a large copy, and a large float32 matrix product without TF32.
"""

import argparse
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atomprint.fingerprints import ADFSettings, EADSettings, SOAPSettings, WACSFSettings
from atomprint.fingerprints.kernels.expansion import Expansion
from atomprint.structures.crystal import Crystal
from atomprint.structures.graph import GraphBatch

CASES: dict[str, Any] = {
    "soap 8/6": SOAPSettings(n_max=8, l_max=6, cutoff=6.0),
    "soap 8/6, 3 channels": SOAPSettings(
        n_max=8, l_max=6, cutoff=6.0, channels=("one", "electronegativity", "covalent_radius")
    ),
    "ead": EADSettings(per="atom"),
    "wacsf": WACSFSettings(per="atom"),
    "adf moments": ADFSettings(per="atom"),
}


@dataclass(frozen=True)
class Count:
    """Floating-point operations and bytes of one forward pass."""

    operations: int
    bytes: int

    def floor(self, operations_per_s: float, bytes_per_s: float) -> float:
        """Shortest time in seconds that the ceilings allow."""
        return max(self.operations / operations_per_s, self.bytes / bytes_per_s)


def count(e: Expansion, n_atoms: int, n_edges: int, width: int = 4) -> Count:
    """Count what the rows of an expansion need.

    Per edge: 12 for the unit vector and the place in the table; 5 for each pair (l, m >= 0) of
    harmonics; 6 for every radial column; and for every channel and block one for each weighted
    radial function and two for each of its products with harmonics. Per atom: two for every term
    of every product, and for every number of the linear map that is not zero. Bytes: edge vectors,
    elements (8) and rows, and coefficients written once and read once.
    """
    n_channels, l_max = e.weights.shape[1], int(e.degrees.max())
    terms = 2 * e.degrees + 1
    columns = np.unique(e.columns[:, None] + np.arange(e.n_radial)).size
    sums = int((terms * 2 + 1).sum()) * e.n_radial * n_channels
    per_edge = 12 + 5 * (l_max + 1) * (l_max + 2) // 2 + 6 * columns + sums
    products = int((2 * np.where(e.products.right >= 0, terms[e.products.block], 1)).sum())
    mixed = 0 if e.mix is None else 2 * int(np.count_nonzero(e.mix))
    n_columns = len(e.products.block) if e.mix is None else e.mix.shape[1]
    coefficients = int(terms.sum()) * e.n_radial * n_channels
    return Count(
        operations=n_edges * per_edge + n_atoms * (products + mixed),
        bytes=n_edges * (3 * width + 8) + n_atoms * width * (2 * coefficients + n_columns),
    )


def crystals(n_atoms: int, seed: int = 0) -> list[Crystal]:
    """Rattled rock salts of 8 atoms, of random elements."""
    random = np.random.default_rng(seed)
    grid = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    made = []
    for index in range(max(1, n_atoms // 8)):
        spacing = random.uniform(2.0, 2.6)
        numbers = random.integers(1, 90, size=2)[grid.sum(1).astype(int) % 2]
        positions = grid * spacing + random.normal(scale=0.1, size=grid.shape)
        made.append(Crystal.make(str(index), numbers, 2 * spacing * np.eye(3), positions=positions))
    return made


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference, in units of the largest value of a column (tails: of all)."""
    scale = wanted.abs().amax(0) + 1e-3 * wanted.abs().max()
    return float(((found - wanted).abs() / scale).max())


def agreement(fingerprint: Any, graph: GraphBatch) -> dict[str, float]:
    """Largest errors against plain PyTorch in float64, of the same edge vectors."""
    errors = {}
    for dtype in (torch.float64, torch.float32):
        given = graph.to(dtype=dtype)
        vectors = given.edge_vectors.detach().requires_grad_()
        exact = given.to(dtype=torch.float64)
        exact_vectors = vectors.detach().double().requires_grad_()
        given.__dict__["edge_vectors"] = vectors
        exact.__dict__["edge_vectors"] = exact_vectors
        rows, wanted = fingerprint(given), fingerprint.reference(exact)
        name = str(dtype).removeprefix("torch.")
        errors[f"rows {name}"] = relative(rows.detach().double(), wanted.detach())
        (found,) = torch.autograd.grad(rows.square().sum(), vectors)
        (slope,) = torch.autograd.grad(wanted.square().sum(), exact_vectors)
        errors[f"gradient {name}"] = float((found - slope).abs().max() / slope.abs().max())
    return errors


def agrees(errors: dict[str, float]) -> bool:
    """Whether errors are within what is promised."""
    return all(error < (1e-10 if "64" in name else 1e-5) for name, error in errors.items())


def ceilings(bench: Any) -> tuple[float, float]:
    """Measured operations and bytes a second."""
    torch.backends.cuda.matmul.allow_tf32 = False
    a = torch.randn(8192, 8192, device="cuda")
    matmul = bench(lambda: a @ a) / 1e3
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    copy = bench(lambda: target.copy_(source)) / 1e3
    return 2 * 8192**3 / matmul, 2 * 4 * 2**28 / copy


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--atoms", type=int, default=4096)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("fingerprints_gpu: there is no CUDA device here; run it where there is")
    import triton
    import triton.testing

    def bench(call: Any) -> float:
        return float(triton.testing.do_bench(call, return_mode="median"))

    flops, bandwidth = ceilings(bench)
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
        "matmul_flops_per_s": flops,
        "copy_bytes_per_s": bandwidth,
        "cases": {},
    }
    print(f"{result['device']}: {flops / 1e12:.1f} TFLOP/s, {bandwidth / 1e12:.2f} TB/s")
    for name, settings in CASES.items():
        fingerprint = settings.build().to("cuda")
        fingerprint.path = "fused"
        cutoff, e = fingerprint.cutoff, fingerprint.kernel.expansion
        few = GraphBatch.from_crystals(crystals(32), cutoff, torch.float64).to("cuda")
        errors = agreement(fingerprint, few)
        case: dict[str, Any] = {"errors": errors}
        result["cases"][name] = case
        if not agrees(errors):
            print(f"{name}: DISAGREES, not timed: {errors}")
            continue
        graph = GraphBatch.from_crystals(crystals(given.atoms), cutoff).to("cuda")
        positions = graph.positions.clone().requires_grad_()
        _ = graph.edge_vectors, graph.distances

        def both(f: Any = fingerprint, g: GraphBatch = graph, x: torch.Tensor = positions) -> None:
            torch.autograd.grad(f(g.with_geometry(x)).sum(), x)

        with torch.no_grad():
            forward = bench(lambda f=fingerprint, g=graph: f(g)) / 1e3
            plain = bench(lambda f=fingerprint, g=graph: f.reference(g)) / 1e3
        needed = count(e, graph.n_atoms, graph.n_edges)
        floor = needed.floor(flops, bandwidth)
        case |= {
            "atoms": graph.n_atoms,
            "edges": graph.n_edges,
            "forward_s": forward,
            "reference_forward_s": plain,
            "forward_backward_s": bench(both) / 1e3,
            "operations": needed.operations,
            "bytes": needed.bytes,
            "roofline_s": floor,
            "times_roofline": forward / floor,
        }
        print(
            f"{name}: forward {forward * 1e3:.3f} ms ({graph.n_atoms / forward:.3g} atoms/s), "
            f"with gradient {case['forward_backward_s'] * 1e3:.3f} ms, reference "
            f"{plain * 1e3:.3f} ms, {forward / floor:.1f} times the roofline"
        )
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
