"""What verbs give back: named columns of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomprint.api.inputs import PathInput
from atomprint.ground.errors import UsageError
from atomprint.structures.crystal import Crystal
from atomprint.structures.reading import Problem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


@dataclass(frozen=True)
class Columns:
    """Named numbers, a row a crystal or an atom: fingerprints, predictions or embeddings.

    Attributes
    ----------
    ids
        Of the crystal that each row belongs to.
    values
        By column name, each ``(n_rows,)``.
    units
        By column name.
    per
        What a row is.
    about
        What made them: settings, the id of the settings, the model.
    problems
        Crystals and labels left out, each with file, id and reason.
    atoms
        With a row an atom, its index in the crystal; None where it is not kept.
    """

    ids: list[str]
    values: dict[str, "npt.NDArray[np.float64]"]
    units: dict[str, str]
    per: str
    about: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    atoms: "npt.NDArray[np.int64] | None" = None

    def array(self) -> "npt.NDArray[np.float64]":
        """All columns side by side, ``(n_rows, n_columns)``."""
        import numpy as np

        return np.stack(list(self.values.values()), axis=1)

    def to_arrow(self) -> "pa.Table":
        """An Arrow table: ``id``, then the columns, with units and origin in the metadata."""
        import json

        import pyarrow as pa

        columns: dict[str, Any] = {"id": self.ids}
        if self.atoms is not None:
            columns["atom"] = self.atoms.astype("int32")
        columns |= self.values
        about = {**self.about, "per": self.per, "units": self.units}
        return pa.table(columns).replace_schema_metadata({"atomprint": json.dumps(about)})

    def write(self, path: PathInput) -> Path:
        """Write Parquet or CSV, by the ending of the name.

        Raises
        ------
        UsageError
            If the name ends otherwise, or the file cannot be written.
        """
        import pyarrow.csv as pc
        import pyarrow.parquet as pq

        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".parquet":
                pq.write_table(self.to_arrow(), path, compression="zstd")
            elif path.suffix == ".csv":
                pc.write_csv(self.to_arrow(), path)
            else:
                raise UsageError(f"{path}: give a name that ends in .parquet or .csv")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
        return path


def row_ids(crystals: Sequence[Crystal], per: str) -> list[str]:
    """Id of the crystal that each row belongs to."""
    if per == "crystal":
        return [c.id for c in crystals]
    return [c.id for c in crystals for _ in range(c.n_atoms)]
