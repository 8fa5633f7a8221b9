"""The arms of the study: what is pre-trained on, as settings of a pre-training run."""

from typing import Any

CHANNELS = ["one", "Z", "electronegativity", "covalent_radius", "period"]
FIVE = ["one", "Z", "electronegativity", "covalent_radius", "valence"]
SEVEN = [*FIVE, "period", "group"]
EAD = {"kind": "ead"}
SOAP = {"kind": "soap", "n_max": 6, "l_max": 4, "cutoff_function": "cosine", "channels": FIVE}
GMP = {"kind": "gmp"}
WACSF = {"kind": "wacsf"}
RDF = {"kind": "rdf", "per": "atom", "cutoff_function": "cosine", "channels": FIVE}
ADF = {"kind": "adf", "channels": FIVE}
PROPERTIES = {"kind": "local_properties"}
MASKING = {"kind": "masking"}
DENOISING = {"kind": "denoising"}
CONDITIONED = {"kind": "conditioned", "noise": 0.04}
CELLS = DENOISING | {"strain": True}
STRAINED = {"rattle": 0.05, "strain": 0.02}
# Fine fingerprints through a projection, at every layer.
FINE = [
    SOAP | {"n_max": 8, "l_max": 6, "channels": ["one", "electronegativity", "covalent_radius"]},
    {"kind": "ead", "n_shells": 12},
]
DISTILLED: dict[str, Any] = {
    "kind": "distillation",
    "teacher": {"kind": "fingerprints", "fingerprints": FINE, "projection": "random"},
    "layers": [0, 1, 2],
    "loss": ["cosine", "huber"],
}
COMPONENTS = DISTILLED | {"teacher": DISTILLED["teacher"] | {"projection": "pca"}}
RELATIONAL = DISTILLED | {"loss": ["cosine", "relational"]}
# What a running mean of the network makes of elements that are hidden from the network.
SELF = {"kind": "distillation", "teacher": {"kind": "ema"}, "hidden": 0.15, "loss": "huber"}
# What a potential makes of every atom that was trained on energies, forces, stresses and magnetic
# moments by DFT: no rival without labels, but how far they could take one.
CHGNET = {
    "kind": "distillation",
    "teacher": {"kind": "label", "name": "chgnet", "n_features": 64},
    "loss": ["cosine", "huber"],
}
ENERGY = {"kind": "labels", "names": ["formation_energy_per_atom"]}


# The study's network; the second is the width of atomprint's default.
NARROW = {"backbone": {"kind": "painn", "n_channels": 64}, "n_hidden": 64}
WIDE = {"backbone": {"kind": "painn", "n_channels": 128}, "n_hidden": 128}
# Elements that are alike start alike.
TOLD_WIDE = {
    "backbone": {"kind": "painn", "n_channels": 128, "elements": "properties"},
    "n_hidden": 128,
}


def regress(*fingerprints: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Regression on fingerprints."""
    return {"kind": "fingerprints", "fingerprints": list(fingerprints), **more}


def run(*objectives: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Settings of a run where they differ from the defaults."""
    return {"model": NARROW, "objectives": list(objectives), **more}


ARMS: dict[str, dict[str, Any]] = {
    # Arms without objectives are trained on labels alone.
    "scratch": {"model": NARROW},
    "scratch, wide": {"model": WIDE},
    "scratch, wide, told of elements": {"model": TOLD_WIDE},
    "ead, wide": run(regress(EAD), model=WIDE),
    "ead+denoising, wide": run(regress(EAD), DENOISING, model=WIDE),
    # Single fingerprints.
    "ead": run(regress(EAD)),
    "soap": run(regress(SOAP)),
    "gmp": run(regress(GMP)),
    "wacsf": run(regress(WACSF)),
    "adf": run(regress(ADF)),
    "rdf": run(regress(RDF)),
    # Several.
    "ead+soap": run(regress(EAD, SOAP)),
    "ead+soap+adf+rdf": run(regress(EAD, SOAP, ADF, RDF)),
    "all six": run(regress(EAD, SOAP, ADF, RDF, WACSF, GMP)),
    # Whitened.
    "ead, 64 components": run(regress(EAD, components=64)),
    "ead+soap, 64 components": run(regress(EAD, SOAP, components=64)),
    # Masked elements.
    "masking": run(MASKING),
    "ead+masking": run(regress(EAD), MASKING),
    "ead+masking, balance": run(regress(EAD), MASKING, task_weights="balance"),
    "ead+masking, fixed": run(regress(EAD), MASKING, task_weights="fixed"),
    "ead at layer 2+masking": run(regress(EAD, layer=1), MASKING),
    "ead+masking of 10 %": run(regress(EAD), MASKING | {"fraction": 0.1}),
    "ead+masking in half the crystals": run(regress(EAD), MASKING | {"crystals": 0.5}),
    "masking, then ead": run(
        regress(EAD, start=0.4), MASKING | {"stop": 0.6}, task_weights="balance"
    ),
    "ead+soap+masking": run(regress(EAD, SOAP), MASKING),
    # Rivals.
    "denoising": run(DENOISING, task_weights="fixed"),
    "formation energies": run(ENERGY, task_weights="fixed"),
    # With denoising.
    "ead+denoising": run(regress(EAD), DENOISING),
    "ead+denoising, balance": run(regress(EAD), DENOISING, task_weights="balance"),
    "ead+soap+denoising": run(regress(EAD, SOAP), DENOISING),
    "all six+denoising": run(regress(EAD, SOAP, ADF, RDF, WACSF, GMP), DENOISING),
    "ead+denoising, strained": run(regress(EAD), DENOISING, perturbation=STRAINED),
    "ead+denoising, 0.1 Å": run(
        regress(EAD), DENOISING | {"scale": 0.1}, perturbation={"rattle": 0.1}
    ),
    "denoising of cells": run(CELLS, perturbation=STRAINED),
    "conditioned denoising": run(CONDITIONED, perturbation={"rattle": 0.005}, task_weights="fixed"),
    "denoising by energy": run(CELLS | {"by": "energy"}, perturbation=STRAINED),
    "ead+denoising of cells": run(regress(EAD), CELLS, perturbation=STRAINED),
    "ead+soap+denoising of cells": run(regress(EAD, SOAP), CELLS, perturbation=STRAINED),
    "ead+denoising of cells+masking in half": run(
        regress(EAD), CELLS, MASKING | {"crystals": 0.5}, perturbation=STRAINED
    ),
    "ead+soap+conditioned": run(regress(EAD, SOAP), CONDITIONED, perturbation={"rattle": 0.005}),
    "ead+soap+denoising, seven channels": run(
        regress(EAD | {"channels": SEVEN}, SOAP | {"channels": SEVEN}), DENOISING
    ),
    "ead+soap+denoising, wide": run(regress(EAD, SOAP), DENOISING, model=WIDE),
    "soap+denoising, then ead": run(
        regress(EAD), regress(SOAP, stop=0.6), DENOISING | {"stop": 0.6}
    ),
    "ead+soap+properties+denoising": run(regress(EAD, SOAP, PROPERTIES), DENOISING),
    "ead+soap+properties+denoising, wide": run(
        regress(EAD, SOAP, PROPERTIES), DENOISING, model=WIDE
    ),
    "ead+soap+properties+denoising, wide, told of elements": run(
        regress(EAD, SOAP, PROPERTIES), DENOISING, model=TOLD_WIDE
    ),
    # With elements' properties: the mixture of today, and what else could be added to it.
    "all six+properties+denoising": run(
        regress(EAD, SOAP, ADF, RDF, WACSF, GMP, PROPERTIES), DENOISING
    ),
    "properties": run(regress(PROPERTIES)),
    "properties+denoising": run(regress(PROPERTIES), DENOISING),
    "ead+soap+properties": run(regress(EAD, SOAP, PROPERTIES)),
    "ead+soap+properties+masking": run(regress(EAD, SOAP, PROPERTIES), MASKING),
    "ead+soap+properties+denoising+masking": run(
        regress(EAD, SOAP, PROPERTIES), DENOISING, MASKING
    ),
    # Distillation, alone and beside the mixture.
    "distilled": run(DISTILLED),
    "distilled components": run(COMPONENTS),
    "distilled relations": run(RELATIONAL),
    "ead+soap+properties+denoising+distilled": run(
        regress(EAD, SOAP, PROPERTIES), DENOISING, DISTILLED
    ),
    "ead+soap+properties+denoising+self-distilled": run(
        regress(EAD, SOAP, PROPERTIES), DENOISING, SELF
    ),
    # A potential as the teacher, alone and beside the mixture (study.py --teacher).
    "chgnet": run(CHGNET),
    "ead+soap+properties+denoising+chgnet": run(regress(EAD, SOAP, PROPERTIES), DENOISING, CHGNET),
    "chgnet, wide": run(CHGNET, model=WIDE),
    "ead+soap+properties+denoising+chgnet, wide": run(
        regress(EAD, SOAP, PROPERTIES), DENOISING, CHGNET, model=WIDE
    ),
    # Everything.
    "ead+masking+denoising": run(regress(EAD), MASKING, DENOISING),
    "ead+masking+denoising, balance": run(regress(EAD), MASKING, DENOISING, task_weights="balance"),
}

# What the page "What pre-training buys" is about. The test part decides none of these. DEFAULT is
# the default's mixture at the budget that all rivals had.
DEFAULT = "ead+soap+denoising"
# An arm of another width has a from-scratch twin of that width.
OTHER_WIDTH = ", wide"
# Units of today's fine-tuning; those without the mark have its first form, and so their twins.
TODAY = ", refit"
# What atomprint does by default: with elements' properties, wider, for longer, on cells of up to 30
# atoms; and what it did before.
NARROW_RECIPE = "ead+soap+properties+denoising"
RECIPE_ARM = NARROW_RECIPE + ", wide"
RECIPE = RECIPE_ARM + ", 15000 steps, up to 30 atoms" + TODAY
BEFORE = DEFAULT + OTHER_WIDTH + ", 15000 steps, up to 30 atoms"
# The same mixture on twice as many crystals, half of them made, for twice as long.
LONGER_CORPUS = "real+generated+2000 frameworks+2000 layers"
LONGER = f"{RECIPE_ARM}, 30000 steps, {LONGER_CORPUS}{TODAY}"
RIVALS = [
    "denoising",
    "denoising of cells",
    "conditioned denoising",
    "masking",
    "formation energies",
]
# Shown beside them: one fingerprint alone, and the mixture with a wider network and for longer.
ALSO = ["ead", DEFAULT + OTHER_WIDTH, BEFORE, RECIPE]
# From scratch, with vectors of elements that are projections of their properties: what pre-training
# on such properties has to be better than.
TOLD = "scratch, wide, told of elements"
# The default's mixture from such a start.
TOLD_RECIPE = (
    "ead+soap+properties+denoising, wide, told of elements, 15000 steps, up to 30 atoms" + TODAY
)
# A potential as the teacher, at the default's budget.
POTENTIAL = "chgnet, wide, 15000 steps, up to 30 atoms" + TODAY
# The rival that needs quantum-mechanical labels, and the set whose label it is trained on.
LABELLED, ITS_SET = "formation energies", "formation energy"
