"""What corpora there are: every source with its card, and what it was measured to be worth."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import Field

from atomprint.data.sources import SOURCES
from atomprint.data.sources.base import Card
from atomprint.ground.settings import Settings, validate

MEASURED = Path(__file__).with_name("measured.json")
"""Written from ``benchmarks/results`` by ``scripts/generate_corpora_page.py``."""

EMBEDDED = Card(
    title="embedded",
    domain="plausible inorganic crystals of at most 40 atoms, as the generator makes them",
    size="6,500",
    licence="MIT, like the package",
    citation="atomprint, docs/corpus.md",
    needs="nothing, not even a network: --data embedded",
    checked="distributions of the Materials Project (docs/corpus.md)",
)


class Measured(Settings):
    """How much lower errors were with pre-training on a corpus than from scratch."""

    gain: float = Field(description="mean over sets of 1 - error / error of the twin")
    sets: dict[str, float] = Field(description="the same, set by set")
    n_corpus: int = Field(description="crystals that were pre-trained on")
    n_labels: int = Field(description="that were fine-tuned on")
    n_seeds: int = Field(description="over which gains are means")
    corpus: str = Field(description="what the crystals were")


@dataclass(frozen=True)
class Listed:
    """A corpus that can be had.

    Attributes
    ----------
    kind
        As `atomprint corpus fetch` takes it, or ``embedded``.
    card
        What it is.
    measured
        What it was worth; None where that was not measured.
    """

    kind: str
    card: Card
    measured: Measured | None


def catalogue() -> list[Listed]:
    """All sources, and the crystals that come with the package."""
    known = measured()
    cards = {"embedded": EMBEDDED} | {kind: source.card for kind, source in SOURCES.items()}
    return [Listed(kind, card, known.get(kind)) for kind, card in cards.items()]


@cache
def measured() -> dict[str, Measured]:
    """What was measured, by kind."""
    values = json.loads(MEASURED.read_text(encoding="utf-8"))
    return {kind: validate(Measured, value, MEASURED.name) for kind, value in values.items()}
