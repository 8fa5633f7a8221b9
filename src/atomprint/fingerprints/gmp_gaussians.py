"""Electron densities of atoms as sums of Gaussians: the project's own table, and users' files."""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from atomprint.ground.elements import MAX_Z, symbols
from atomprint.ground.errors import DataError

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

OWN = "atomprint"
"""Name of the project's own Gaussians."""
_TABLE = Path(__file__).with_name("gmp_gaussians.json")


@dataclass(frozen=True)
class Gaussians:
    """``Σ_g B_g exp(-β_g r²)`` for every element; elements with fewer Gaussians have zeros.

    Attributes
    ----------
    source
        Where they are from, for errors: ``"atomprint"`` or the name of a file.
    heights
        B in e/Å³, ``(119, n_gaussians)``.
    exponents
        β in Å⁻², ``(119, n_gaussians)``; 1 where the height is 0.
    known
        Which elements there are, ``(119,)``.
    """

    source: str
    heights: Float64s
    exponents: Float64s
    known: Bools

    def density(self, number: int, r: Float64s) -> Float64s:
        """Density of an element in e/Å³ at distances in Å, of the shape of ``r``."""
        decay = np.exp(-np.multiply.outer(r**2, self.exponents[number]))
        return np.asarray(decay @ self.heights[number])

    def probed(self, sigma: float, degree: int) -> tuple[Float64s, Float64s]:
        r"""Overlap with the probe of width σ and degree l, as ``C r^l exp(-γ r²)``.

        .. math::
            C = \frac{B}{(σ\sqrt{2π})^3} \Big(\frac{π}{α+β}\Big)^{3/2}
                \Big(\frac{β}{α+β}\Big)^l, \quad
            γ = \frac{αβ}{α+β}, \quad α = \frac{1}{2σ^2}

        (the product of two Gaussians is one Gaussian). With σ = 0 the density itself.

        Returns
        -------
        size, decay
            C and γ, each ``(119, n_gaussians)``.
        """
        if sigma == 0:
            return self.heights, self.exponents
        alpha, beta = 1 / (2 * sigma**2), self.exponents
        norm = (sigma * math.sqrt(2 * math.pi)) ** -3
        share = beta / (alpha + beta)
        size = norm * self.heights * (math.pi / (alpha + beta)) ** 1.5 * share**degree
        return size, alpha * share

    def reach(self, sigma: float, degree: int, threshold: float) -> float:
        """Distance in Å beyond which every Gaussian's overlap with a probe is below a threshold.

        The largest over the elements; ``|C| r^l exp(-γ r²) < threshold`` is solved by bisection
        beyond the maximum of the left side.
        """
        size, decay = (x[self.known] for x in self.probed(sigma, degree))
        size = np.abs(size)
        low = np.sqrt(degree / (2 * decay))
        high = low + 100 / np.sqrt(decay)
        for _ in range(60):
            middle = 0.5 * (low + high)
            above = size * middle**degree * np.exp(-decay * middle**2) > threshold
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return float(high[size > 0].max())


def load_gaussians(name: str) -> Gaussians:
    """Densities of elements by name.

    Parameters
    ----------
    name
        ``"atomprint"`` for the project's own table, or the path of a .gpsp file.

    Raises
    ------
    DataError
        If the file cannot be read, or is not in that format.
    """
    return own_gaussians() if name == OWN else read_gpsp(Path(name))


@lru_cache
def own_gaussians() -> Gaussians:
    """Densities of H to No, computed and fitted by the project: scripts/free_atoms."""
    elements = json.loads(_TABLE.read_text(encoding="utf-8"))["elements"]
    return _padded(OWN, {e["number"]: e["gaussians"] for e in elements.values()})


def read_gpsp(path: Path) -> Gaussians:
    """Read densities in the format of GMP-featurizer (.gpsp).

    Lines of ``#`` are comments, a line of ``!`` gives the number of elements; a block follows each
    line ``****``: one of ``symbol Z n`` and n of ``B β``, in e/Å³ and Å⁻². Of a dummy element
    (Z = 0) nothing is kept.

    Raises
    ------
    DataError
        With the line at fault.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Gaussians of atoms: cannot read {path}: {error}") from None
    found: dict[int, list[list[float]]] = {}
    number, missing = 0, 0
    expects_header = False
    for k, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0][0] in "#!":
            continue
        try:
            if words == ["****"]:
                if missing:
                    raise ValueError(f"{missing} Gaussians of {symbols[number]} are missing")
                expects_header = True
            elif expects_header:
                symbol, number, missing = words[0], int(words[1]), int(words[2])
                if not 0 <= number <= MAX_Z or (number and symbols[number] != symbol):
                    raise ValueError(f"element {number} is not {symbol}")
                if number in found or missing < 1:
                    raise ValueError(f"{symbol} is there twice, or without a Gaussian")
                found[number], expects_header = [], False
            elif missing:
                height, exponent = float(words[0]), float(words[1])
                if not (math.isfinite(height) and 0 < exponent < math.inf):
                    raise ValueError("a height must be finite, and an exponent above 0")
                found[number].append([height, exponent])
                missing -= 1
            else:
                raise ValueError("more Gaussians than were announced, or no **** before them")
        except (ValueError, IndexError) as error:
            raise DataError(
                f"Gaussians of atoms: {path}, line {k}: {error}; the format is that of .gpsp files"
            ) from None
    found.pop(0, None)
    if missing or not found:
        what = f"the last {missing} Gaussians are missing" if missing else "no element is there"
        raise DataError(f"Gaussians of atoms: {path}: {what}; the format is that of .gpsp files")
    return _padded(str(path), found)


def _padded(source: str, gaussians: dict[int, list[list[float]]]) -> Gaussians:
    """Bring lists of (B, β) by atomic number to arrays of one length."""
    most = max(len(rows) for rows in gaussians.values())
    heights, exponents = np.zeros((MAX_Z + 1, most)), np.ones((MAX_Z + 1, most))
    known = np.zeros(MAX_Z + 1, dtype=np.bool_)
    for number, rows in gaussians.items():
        heights[number, : len(rows)] = [row[0] for row in rows]
        exponents[number, : len(rows)] = [row[1] for row in rows]
        known[number] = True
    return Gaussians(source, heights, exponents, known)
