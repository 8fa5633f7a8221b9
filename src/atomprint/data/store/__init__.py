"""Crystals on disk, in any number: written in shards, read by mapping them into memory."""

from atomprint.data.store.store import Provenance, Store, is_store
from atomprint.data.store.writer import StoreWriter

__all__ = ["Provenance", "Store", "StoreWriter", "is_store"]
