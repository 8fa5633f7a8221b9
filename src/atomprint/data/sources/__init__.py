"""Where crystals without labels can be had. One file a source; the union is the registry.

Adding one is a new file with its settings class, and one line in the union below: the command line
and the reference pages pick it up from there.
"""

from typing import Annotated, get_args

from pydantic import Field

from atomprint.data.sources.alexandria import AlexandriaSettings
from atomprint.data.sources.base import Card, SourceBase, Surroundings
from atomprint.data.sources.cod import CodSettings
from atomprint.data.sources.files import FilesSettings
from atomprint.data.sources.generated.source import GeneratedSettings
from atomprint.data.sources.jarvis import JarvisSettings
from atomprint.data.sources.lemat import LematSettings
from atomprint.data.sources.matbench import MatbenchSettings
from atomprint.data.sources.materials_project import MaterialsProjectSettings
from atomprint.data.sources.optimade import OptimadeSettings
from atomprint.data.sources.oqmd import OqmdSettings

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
    | GeneratedSettings,
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
    "FilesSettings",
    "GeneratedSettings",
    "JarvisSettings",
    "LematSettings",
    "MatbenchSettings",
    "MaterialsProjectSettings",
    "OptimadeSettings",
    "OqmdSettings",
    "SourceBase",
    "SourceSettings",
    "Surroundings",
]
