"""Fingerprints: functions from a batch of crystal graphs to numbers, one file each.

Adding one is a new file with its settings class, and one line in the union below: the contract
tests, the command line and the reference pages pick it up from there.
"""

from atomprint.fingerprints.base import Fingerprint, fingerprint_id
from atomprint.fingerprints.ead import EAD, EADSettings

FingerprintSettings = EADSettings
"""Settings of any fingerprint, told apart by their ``kind``."""

__all__ = ["EAD", "EADSettings", "Fingerprint", "FingerprintSettings", "fingerprint_id"]
