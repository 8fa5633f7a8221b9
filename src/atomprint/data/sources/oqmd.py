"""OQMD, by its OPTIMADE interface."""

from typing import ClassVar, Literal

from pydantic import Field

from atomprint.data.sources.base import Card
from atomprint.data.sources.optimade import OptimadeBase


class OqmdSettings(OptimadeBase):
    """The Open Quantum Materials Database."""

    id_prefix: ClassVar[str] = "oqmd-"
    per_second: ClassVar[float | None] = 2.0
    card: ClassVar[Card] = Card(
        title="OQMD",
        domain="inorganic crystals: ICSD and decorated prototypes, relaxed (PBE)",
        size="about 1,300,000",
        licence="CC BY 4.0",
        citation="J. E. Saal et al., JOM 65, 1501 (2013); S. Kirklin et al., npj Computational "
        "Materials 1, 15010 (2015)",
        url="https://oqmd.org",
    )

    kind: Literal["oqmd"] = "oqmd"
    base_url: str = Field("https://oqmd.org/optimade", description="address of the database")
