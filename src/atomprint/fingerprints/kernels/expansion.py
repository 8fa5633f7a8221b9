r"""One form that most fingerprints have: quadratic in an expansion of the neighbours' density.

With edges j of a centre, element channels a, radial functions R and real spherical harmonics Y,

.. math::
    c^a_{b n m} = Σ_j w_a(Z_j) R_{b n}(r_j) Y_{l_b m}(\hat r_j) \quad\text{(+ the centre's own)}

for every block b (a degree l_b and a run of radial columns), and columns of the fingerprint are a
fixed linear map of products :math:`f Σ_m c^a_{bnm} c^{a'}_{bn'm}`, of coefficients themselves
(which do not change under rotation where l = 0), and of the self terms
:math:`Σ_j (w_a R_{b n})²`. SOAP, ADF moments and curves, EAD, wACSF and G5 without r_jk for
integer ζ, and GMP are all of it; see their ``make_kernel``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LINEAR, SELF = -1, -2
"""In :attr:`Products.right`: the product is the coefficient itself; is a self term."""


@dataclass(frozen=True)
class RadialTable:
    """Radial functions as piecewise cubics, every factor that depends on r alone folded in.

    Cutoff functions, weights by distance and the mixing to orthonormal functions are applied in
    float64 before tabulation: mixed after the sum over neighbours, float32 would lose digits.

    Attributes
    ----------
    start, step
        In Å: interval k reaches from ``start + k step`` to ``start + (k + 1) step``. A kink of a
        folded function lies on a node. ``start`` is 0 or a little below.
    coefficients
        Of 1, t, t², t³ with t from 0 to 1 in the interval,
        ``(n_tables, n_intervals, 4, n_columns)``; the last interval ends at the cutoff or beyond.
    """

    start: float
    step: float
    coefficients: Float64s


def hermite_table(start: float, step: float, values: Float64s, slopes: Float64s) -> RadialTable:
    """Tabulate functions by Hermite's cubics, which have their values and slopes at every node.

    Parameters
    ----------
    start, step
        Nodes are at ``start + k step``, in Å.
    values, slopes
        Of the functions and of their derivatives by r at the nodes, ``(n_nodes, n_columns)``; one
        table, or ``(n_tables, n_nodes, n_columns)``.
    """
    if values.ndim == 2:
        values, slopes = values[None], slopes[None]
    v, s = values, slopes * step
    rise = v[:, 1:] - v[:, :-1]
    first, last = s[:, :-1], s[:, 1:]
    coefficients = np.stack(
        [v[:, :-1], first, 3 * rise - 2 * first - last, first + last - 2 * rise]
    )
    return RadialTable(start, step, np.ascontiguousarray(np.moveaxis(coefficients, 0, 2)))


@dataclass(frozen=True)
class Products:
    """Which products of coefficients are made, one entry each, before the linear map.

    Attributes
    ----------
    block
        Block of the two factors, ``(n_products,)``.
    left, right
        ``channel * n_radial + n`` of the factors, ``(n_products,)``; right may be :data:`LINEAR`
        (the value is the coefficient left alone) or :data:`SELF` (the value is ``Σ_j (w R)²`` of
        left, without harmonics).
    factor
        The product is multiplied by this, ``(n_products,)``.
    order
        ``l + m`` of the coefficients where right is :data:`LINEAR`, ``(n_products,)``; None where
        those have l = 0.
    """

    block: Ints
    left: Ints
    right: Ints
    factor: Float64s
    order: Ints | None = None


@dataclass(frozen=True)
class Expansion:
    """A fingerprint of this form, complete.

    Attributes
    ----------
    cutoff
        In Å; edges at or beyond it are skipped.
    table
        The radial functions.
    table_of_element
        Which table a neighbour of each element uses, ``(119,)``; all zero where there is one.
    weights
        Channel weights w_a(Z) of neighbours, ``(119, n_channels)``.
    n_radial
        Radial functions of a block.
    degrees
        l of every block, ``(n_blocks,)``.
    columns
        First column of the table of every block, ``(n_blocks,)``; blocks may share columns.
    center_weights
        Channel weights of the centre atom itself, ``(119, n_channels)``; zero where it does not
        count.
    center
        What the centre atom of weight 1 adds to coefficients of l = 0, a row per table of the
        centre's element, ``(n_tables, n_blocks, n_radial)``; zero in blocks with l > 0.
    products
        The products.
    mix
        Linear map from products to columns, ``(n_products, n_columns)``; None for the identity.
    root
        Whether columns are the square roots of what the map gives.
    """

    cutoff: float
    table: RadialTable
    table_of_element: Ints
    weights: Float64s
    n_radial: int
    degrees: Ints
    columns: Ints
    center_weights: Float64s
    center: Float64s
    products: Products
    mix: Float64s | None = None
    root: bool = False
