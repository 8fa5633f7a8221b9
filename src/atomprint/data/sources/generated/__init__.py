"""Label-free crystals made from structure types, chemical statistics and bond valences.

``generate`` yields crystals, ``write_corpus`` writes them to a Parquet file; the corpus that ships
with the package was written by ``write_corpus(path, GeneratorSettings())``. pymatgen and SMACT are
needed to generate, not to read.
"""

from .generator import (
    GENERATOR_VERSION,
    GeneratedCrystal,
    GeneratorSettings,
    generate,
    write_corpus,
)

__all__ = [
    "GENERATOR_VERSION",
    "GeneratedCrystal",
    "GeneratorSettings",
    "generate",
    "write_corpus",
]
