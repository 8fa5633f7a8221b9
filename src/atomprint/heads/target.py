"""A target: anything a network can be asked to predict, measured or computed."""

from typing import Literal

from pydantic import Field

from atomprint.ground.settings import Settings


class Target(Settings):
    """One quantity to predict; a fingerprint and a measured property look the same here."""

    name: str = Field(description="name of the label, the fingerprint or the output column")
    per: Literal["atom", "crystal"] = Field("crystal", description="what one value belongs to")
    size: int = Field(1, ge=1, description="numbers per value; classes, for a classification")
    unit: str = Field("", description="unit of the values, as shown to people")
    task: Literal["regression", "classification"] = Field(
        "regression", description="numbers, or one of `size` classes labelled 0, 1, ..."
    )

    @property
    def is_class(self) -> bool:
        """Whether values are class indices."""
        return self.task == "classification"
