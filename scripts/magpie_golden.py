"""Write tests/evaluation/magpie_golden.json: element statistics as matminer computes them.

Needs ``pip install matminer`` in an environment of its own; run from the repository root. Only
properties whose element table is the same as ours for the compounds below are kept.
"""

import json
from pathlib import Path

from matminer import __version__
from matminer.featurizers.composition import ElementProperty, Stoichiometry
from pymatgen.core import Composition

PROPERTIES = {
    "Number": "number",
    "Row": "period",
    "Electronegativity": "electronegativity",
    "NsValence": "s_electrons",
    "NpValence": "p_electrons",
    "NdValence": "d_electrons",
    "NValence": "electrons",
    "NpUnfilled": "p_unfilled",
}
STATISTICS = {
    "mean": "mean",
    "avg_dev": "deviation",
    "minimum": "minimum",
    "maximum": "maximum",
    "range": "range",
    "mode": "mode",
}
magpie = ElementProperty("magpie", list(PROPERTIES), list(STATISTICS))
norms = Stoichiometry()
rows = {}
for formula in ("NaCl", "SrTiO3", "Fe2O3", "Ca3Al2O6", "GaAs", "Si"):
    values = magpie.featurize(Composition(formula))
    names = [f"{p}.{s}" for p in PROPERTIES.values() for s in STATISTICS.values()]
    row = dict(zip(names, map(float, values), strict=True))
    p = zip((0, 2, 3, 5, 7, 10), norms.featurize(Composition(formula)), strict=True)
    rows[formula] = row | {f"norm.{k}": float(v) for k, v in p}
target = Path("tests/evaluation/magpie_golden.json")
target.write_text(json.dumps({"matminer": __version__, "rows": rows}, indent=1) + "\n")
