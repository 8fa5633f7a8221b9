"""What pre-training asks of a batch. One file an objective."""

from atomprint.objectives.fingerprints import FingerprintObjective, FingerprintObjectiveSettings

__all__ = ["FingerprintObjective", "FingerprintObjectiveSettings"]
