"""Where crystals without labels can be had. One file a source; the union is the registry.

Adding one is a new file with its settings class, and one line in the union below: the command line
and the reference pages pick it up from there.
"""

from typing import Annotated, get_args

from pydantic import Field

from atomprint.data.sources.alexandria import AlexandriaSettings
from atomprint.data.sources.base import Card, SourceBase, Surroundings
from atomprint.data.sources.cod import CodSettings
from atomprint.data.sources.derived.source import DerivedSettings
from atomprint.data.sources.files import FilesSettings
from atomprint.data.sources.frameworks.source import FrameworksSettings
from atomprint.data.sources.generated.source import GeneratedSettings
from atomprint.data.sources.jarvis import JarvisSettings
from atomprint.data.sources.layers.source import LayersSettings
from atomprint.data.sources.lemat import LematSettings
from atomprint.data.sources.matbench import MatbenchSettings
from atomprint.data.sources.materials_project import MaterialsProjectSettings
from atomprint.data.sources.molecules.source import MoleculesSettings
from atomprint.data.sources.optimade import OptimadeSettings
from atomprint.data.sources.oqmd import OqmdSettings
from atomprint.data.sources.slabs.source import SlabsSettings

SourceSettings = Annotated[
    MaterialsProjectSettings
    | OptimadeSettings
    | OqmdSettings
    | AlexandriaSettings
    | LematSettings
    | JarvisSettings
    | MatbenchSettings
    | CodSettings
    | FilesSettings
    | GeneratedSettings
    | DerivedSettings
    | SlabsSettings
    | LayersSettings
    | FrameworksSettings
    | MoleculesSettings,
    Field(discriminator="kind"),
]
"""Settings of any source, told apart by their ``kind``."""

SOURCES: dict[str, type[SourceBase]] = {
    member.model_fields["kind"].default: member for member in get_args(get_args(SourceSettings)[0])
}
"""Settings classes by kind, in the order of the union."""

__all__ = [
    "SOURCES",
    "AlexandriaSettings",
    "Card",
    "CodSettings",
    "DerivedSettings",
    "FilesSettings",
    "FrameworksSettings",
    "GeneratedSettings",
    "JarvisSettings",
    "LayersSettings",
    "LematSettings",
    "MatbenchSettings",
    "MaterialsProjectSettings",
    "MoleculesSettings",
    "OptimadeSettings",
    "OqmdSettings",
    "SlabsSettings",
    "SourceBase",
    "SourceSettings",
    "Surroundings",
]
