"""Fingerprints: functions from a batch of crystal graphs to numbers, one file each.

Adding one is a new file with its settings class, and one line in the union below: the contract
tests, the command line and the reference pages pick it up from there.
"""

from typing import Annotated

from pydantic import Field

from atomprint.fingerprints.acsf import ACSF, ACSFSettings
from atomprint.fingerprints.adf import ADF, ADFSettings
from atomprint.fingerprints.base import Fingerprint, fingerprint_id
from atomprint.fingerprints.channels import ChannelName, channel_table
from atomprint.fingerprints.ead import EAD, EADSettings
from atomprint.fingerprints.gmp import GMP, GMPSettings
from atomprint.fingerprints.lmbtr import LMBTR, LMBTRSettings
from atomprint.fingerprints.local_properties import LocalProperties, LocalPropertiesSettings
from atomprint.fingerprints.mbtr import MBTR, MBTRSettings
from atomprint.fingerprints.rdf import RDF, RDFSettings
from atomprint.fingerprints.soap import SOAP, SOAPSettings
from atomprint.fingerprints.valle_oganov import ValleOganov, ValleOganovSettings
from atomprint.fingerprints.wacsf import WACSF, WACSFSettings

FingerprintSettings = Annotated[
    RDFSettings
    | ADFSettings
    | SOAPSettings
    | EADSettings
    | GMPSettings
    | ACSFSettings
    | WACSFSettings
    | MBTRSettings
    | LMBTRSettings
    | ValleOganovSettings
    | LocalPropertiesSettings,
    Field(discriminator="kind"),
]
"""Settings of any fingerprint, told apart by their ``kind``."""

__all__ = [
    "ACSF",
    "ADF",
    "EAD",
    "GMP",
    "LMBTR",
    "MBTR",
    "RDF",
    "SOAP",
    "WACSF",
    "ACSFSettings",
    "ADFSettings",
    "ChannelName",
    "EADSettings",
    "Fingerprint",
    "FingerprintSettings",
    "GMPSettings",
    "LMBTRSettings",
    "LocalProperties",
    "LocalPropertiesSettings",
    "MBTRSettings",
    "RDFSettings",
    "SOAPSettings",
    "ValleOganov",
    "ValleOganovSettings",
    "WACSFSettings",
    "channel_table",
    "fingerprint_id",
]
