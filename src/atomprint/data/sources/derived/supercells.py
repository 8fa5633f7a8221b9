"""Supercells of any shape, strained and rattled."""

import numpy as np
import numpy.typing as npt

from atomprint.structures.crystal import Crystal, FloatArray

IntArray = npt.NDArray[np.int64]

_MOST_COPIES = 32
_DRAWS = 3


def draw_supercell(
    parent: Crystal, min_atoms: int, max_atoms: int, rng: np.random.Generator
) -> Crystal:
    """A supercell of as many copies as chance says, of the roundest of a few shapes drawn.

    Every sublattice has exactly one matrix in Hermite normal form (lower triangular, entries below
    the diagonal smaller than the diagonal entry of their column).

    Parameters
    ----------
    parent
        With at most ``max_atoms`` atoms.
    min_atoms
        Fewer only where not even one more copy would fit.
    max_atoms
        Of the supercell.
    rng
        Source of chance.
    """
    most = min(max_atoms // parent.n_atoms, _MOST_COPIES)
    least = min(-(-min_atoms // parent.n_atoms), most)
    n = int(rng.integers(least, most + 1))
    best, roundest = np.eye(3, dtype=np.int64), -1.0
    for _ in range(_DRAWS if n > 1 else 0):
        matrix = _hermite(n, rng)
        spacing = 1.0 / np.linalg.norm(np.linalg.inv(matrix @ parent.cell), axis=0)
        if spacing.min() > roundest:
            best, roundest = matrix, float(spacing.min())
    return supercell(parent, best)


def _hermite(n: int, rng: np.random.Generator) -> IntArray:
    """A random matrix of this determinant in Hermite normal form."""
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    a = int(rng.choice(divisors))
    b = int(rng.choice([d for d in divisors if (n // a) % d == 0]))
    c = n // (a * b)
    below = [int(rng.integers(a)), int(rng.integers(a)), int(rng.integers(b))]
    return np.array([[a, 0, 0], [below[0], b, 0], [below[1], below[2], c]])


def supercell(parent: Crystal, matrix: IntArray) -> Crystal:
    """The supercell of a lower triangular matrix: copy after copy of all atoms."""
    a, b, c = np.diag(matrix)
    # One translation of every coset of the sublattice, because the matrix is triangular.
    grid = np.stack(np.meshgrid(range(a), range(b), range(c), indexing="ij"), axis=-1)
    shifts = grid.reshape(-1, 3) @ parent.cell
    positions = (parent.positions[None] + shifts[:, None]).reshape(-1, 3)
    numbers = np.tile(parent.numbers, len(shifts))
    return Crystal(parent.id, numbers, positions, matrix @ parent.cell)


def strained(crystal: Crystal, strain: float, rng: np.random.Generator) -> Crystal:
    """Under a random symmetric strain: components up to ``strain``, half of it off the diagonal.

    Eigenvalues are at most ``2 strain`` (Gershgorin), so that volumes change by factors between
    ``(1 - 2 strain)³`` and ``(1 + 2 strain)³``.
    """
    draws = rng.uniform(-strain, strain, (3, 3))
    tensor = np.diag(np.diag(draws)) + np.triu(draws, 1) / 2 + np.triu(draws, 1).T / 2
    deformation = np.eye(3) + tensor
    return crystal.with_geometry(crystal.positions @ deformation, crystal.cell @ deformation)


def rattled(crystal: Crystal, rattle: float, rng: np.random.Generator) -> Crystal:
    """Every atom displaced at random; the crystal's own size of it is up to ``rattle`` Å."""
    size = rng.uniform(0.0, rattle)
    moves: FloatArray = size * rng.standard_normal(crystal.positions.shape)
    return crystal.with_geometry(crystal.positions + moves, crystal.cell)
