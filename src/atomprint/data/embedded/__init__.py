"""Data that come with the package, made by the project itself.

``corpus.parquet``: label-free crystals of :mod:`atomprint.data.sources.generated`.
``dft_labels.parquet``: small crystals with DFT energies, computed by ``scripts/dft_labels``.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus.parquet"
DFT_LABELS = FOLDER / "dft_labels.parquet"
DFT_TARGET = "formation_energy_per_atom"
