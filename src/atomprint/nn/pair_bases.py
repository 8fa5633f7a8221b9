"""Radial bases of pairs of atoms, summed over the periodic images of a neighbour."""

import torch
from torch import Tensor

from atomprint.nn.pair_messages import PairList
from atomprint.nn.radial import BesselBasis, cosine_cutoff
from atomprint.structures.graph import GraphBatch, sum_by_index


def pair_bases(graph: GraphBatch, radial: BesselBasis, cutoff: float) -> tuple[PairList, Tensor]:
    """Pairs of atoms that meet, and the bases of their messages.

    Every pair stands once: seen from the other atom its radial functions are the same and its
    direction is the opposite one. On the processor a compiled loop does all of it, unless a
    gradient by positions is asked for; both give the same numbers but for rounding.

    Parameters
    ----------
    graph
        Edges below the cutoff; each with its mirror image, as neighbour lists have it.
    radial
        Functions of the distance.
    cutoff
        r_c in Å, of the cosine cutoff.

    Returns
    -------
    pairs, bases
        ``bases`` is ``(n_pairs, n_radial + 1, 4)``: sums over images of the radial functions times
        the cutoff, and of the cutoff alone, each by itself and times the unit vector from the
        first to the second atom.
    """
    center, neighbor = graph.center_index, graph.neighbor_index
    arrows, distances = graph.edge_vectors, graph.distances
    if arrows.device.type == "cpu" and not arrows.requires_grad and not distances.requires_grad:
        return _compiled(graph, radial, cutoff)
    kept = torch.nonzero(center <= neighbor).squeeze(-1)
    key = center[kept] * graph.n_atoms + neighbor[kept]
    unique, index = torch.unique_consecutive(key, return_inverse=True)
    pairs = PairList(unique // graph.n_atoms, unique % graph.n_atoms, graph.n_atoms)
    distances, arrows = distances.index_select(0, kept), arrows.index_select(0, kept)
    # The column of ones carries the filter's bias; the cutoff multiplies both.
    basis = torch.cat([radial(distances), torch.ones_like(distances)[:, None]], 1)
    basis = basis * cosine_cutoff(distances, cutoff)[:, None]
    along = torch.cat([torch.ones_like(arrows[:, :1]), arrows / distances[:, None]], 1)
    return pairs, sum_by_index(basis[:, :, None] * along[:, None, :], index, len(unique))


def _compiled(graph: GraphBatch, radial: BesselBasis, cutoff: float) -> tuple[PairList, Tensor]:
    # Numba is loaded by those who compute, not by those who ask what there is.
    from atomprint.nn.pair_loops import fold_images

    first, second, bases = fold_images(
        graph.center_index.numpy(),
        graph.neighbor_index.numpy(),
        graph.edge_vectors.numpy(),
        graph.distances.numpy(),
        float(cutoff),
        len(radial.frequencies),
    )
    pairs = PairList(torch.from_numpy(first), torch.from_numpy(second), graph.n_atoms)
    return pairs, torch.from_numpy(bases)
