"""What a pre-training run draws from: one corpus or a mixture, less what is held out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomprint.data.batching import BatchSettings, Extents
from atomprint.data.mixing import Corpus, Mix
from atomprint.data.selection import (
    IntArray,
    Joined,
    Measured,
    Selection,
    indices_of,
    join,
    pick,
    shuffled,
)
from atomprint.data.store import Provenance, Store
from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.terms import terms
from atomprint.structures.crystal import Crystal
from atomprint.training.run import hash_crystals, hash_text

Corpora = Sequence[Crystal] | Mapping[str, Corpus]
"""Crystals, or several corpora by name."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Material:
    """Crystals for a run.

    Attributes
    ----------
    train
        To draw from, one corpus after the other.
    valid
        Held out of each corpus.
    shares
        Of each corpus in the training, in sum 1.
    mix
        How corpora are drawn; None for plain crystals.
    n_left_out
        Crystals too large for one batch.
    described
        For the run's record: hash and number of all crystals, and of each corpus with its weight.
    """

    train: Sequence[Crystal]
    valid: list[Sequence[Crystal]]
    shares: tuple[float, ...]
    mix: Mix | None
    n_left_out: int
    described: dict[str, Any]

    @property
    def valid_weights(self) -> tuple[float, ...]:
        """What a held-out crystal of each corpus counts: together 1, each corpus its share."""
        held = [(share, len(part)) for share, part in zip(self.shares, self.valid, strict=True)]
        known = sum(share for share, n in held if n)
        return tuple(share / known / n if n else 0.0 for share, n in held)

    def sample(self, n: int, seed: int) -> list[Crystal]:
        """At most ``n`` random training crystals; of a mixture, as it draws them."""
        if self.mix is not None:
            order: IntArray = self.mix.order(0)
        else:
            order = shuffled(len(self.train), np.random.default_rng((seed, 2)))
        return [self.train[int(i)] for i in order[:n]]


def prepare(
    corpora: Corpora, cutoff: float, limits: BatchSettings, valid_fraction: float, seed: int
) -> Material:
    """Leave out what is too large, and hold crystals out of every corpus.

    Parameters
    ----------
    corpora
        Crystals, or corpora by name.
    cutoff
        Of the graphs, Å.
    limits
        Of a batch; a crystal beyond them is left out, so that memory is bounded.
    valid_fraction
        Part of each corpus that is held out; at most 512 crystals times the corpus's share.
    seed
        Of the choice and the order.

    Raises
    ------
    DataError
        If nothing of a corpus can be trained on.
    UsageError
        If there is no corpus.
    """
    mixed = isinstance(corpora, Mapping)
    named = corpora if isinstance(corpora, Mapping) else {"": Corpus(corpora)}
    if not named:
        raise UsageError("there is no corpus in the mixture; name at least one with its weight")
    total = sum(corpus.weight for corpus in named.values())
    shares = tuple(corpus.weight / total for corpus in named.values())
    train: list[Sequence[Crystal]] = []
    valid: list[Sequence[Crystal]] = []
    n_left_out = 0
    for (name, corpus), share in zip(named.items(), shares, strict=True):
        fits = Extents(corpus.crystals, cutoff).fit(limits)
        usable = corpus.crystals if fits.all() else pick(corpus.crystals, indices_of(fits))
        n_left_out += len(corpus.crystals) - len(usable)
        kept, held_out = _hold_out(usable, valid_fraction, round(512 * share), seed)
        if not kept:
            where = f"corpus {name}: " if name else ""
            raise DataError(
                f"{where}none of {len(corpus.crystals)} crystals can be trained on: all exceed a "
                f"batch of {limits.max_atoms} atoms or {limits.max_edges} edges; raise loop.batch"
            )
        train.append(kept)
        valid.append(held_out)
    mix = None
    if mixed:
        weights = [corpus.weight for corpus in named.values()]
        mix = Mix([len(part) for part in train], weights, seed)
    everything = join([corpus.crystals for corpus in named.values()])
    described: dict[str, Any] = {"hash": hash_corpus(everything), "n_crystals": len(everything)}
    if found := provenance_of(everything):
        described["provenance"] = [terms(p.source, p.licence, p.citation) for p in found]
    if mixed:
        described["corpora"] = [
            {
                "name": name,
                "hash": hash_corpus(corpus.crystals),
                "n_crystals": len(corpus.crystals),
                "weight": corpus.weight,
            }
            for name, corpus in named.items()
        ]
    return Material(join(train), valid, shares, mix, n_left_out, described)


def mismatch(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Say how data to resume with differ from those that a run was started with.

    Names do not count: data may have moved.
    """

    def mixture(data: dict[str, Any]) -> list[tuple[str, float]]:
        return [(corpus["hash"], corpus["weight"]) for corpus in data.get("corpora", [])]

    if before["hash"] != now["hash"]:
        return (
            "the crystals are not those that the run was started with "
            f"(hash {now['hash']}, then {before['hash']}); give the same data"
        )
    if mixture(before) != mixture(now):
        return (
            "the corpora or their weights are not those that the run was started with; "
            "give the same ones"
        )
    return None


def provenance_of(crystals: Sequence[Crystal]) -> list[Provenance]:
    """Where crystals are from, as far as their stores say."""
    if isinstance(crystals, Store):
        return list(crystals.provenance)
    if isinstance(crystals, Selection):
        return provenance_of(crystals.crystals)
    if isinstance(crystals, Joined):
        found = [one for part in crystals.parts for one in provenance_of(part)]
        return list(dict.fromkeys(found))
    return []


def hash_corpus(crystals: Sequence[Crystal]) -> str:
    """Short hash of a corpus; of stores from the shards' checksums, without reading them."""
    if isinstance(crystals, Store):
        return crystals.hash()
    if isinstance(crystals, Selection) and isinstance(crystals.crystals, Measured):
        digest = hashlib.sha256(hash_corpus(crystals.crystals).encode())
        for start in range(0, len(crystals), _BLOCK):
            # Of 64 bits, however they are kept.
            digest.update(crystals.indices[start : start + _BLOCK].astype(np.int64).tobytes())
        return digest.hexdigest()[:16]
    if isinstance(crystals, Joined):
        return hash_text(" ".join(hash_corpus(part) for part in crystals.parts))
    return hash_crystals(crystals)


def _hold_out(
    crystals: Sequence[Crystal], fraction: float, most: int, seed: int
) -> tuple[Sequence[Crystal], Sequence[Crystal]]:
    order = shuffled(len(crystals), np.random.default_rng((seed, 3)))
    held_out = np.zeros(len(crystals), np.bool_)
    held_out[order[: min(most, int(fraction * len(crystals)))]] = True
    return pick(crystals, indices_of(~held_out)), pick(crystals, indices_of(held_out))
