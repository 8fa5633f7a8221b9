"""Fingerprints as a step of a scikit-learn pipeline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from atomprint.fingerprints.base import Fingerprint, FingerprintSpec
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import validate

if TYPE_CHECKING:
    from typing import Self

_BASES: tuple[Any, ...]
try:
    from sklearn.base import BaseEstimator, TransformerMixin

    _BASES = (TransformerMixin, BaseEstimator)
except ImportError:  # the module can be imported; making a transformer says what to install
    _BASES = (object,)
_MISSING = len(_BASES) == 1

_OWN = ("kind", "per", "dtype", "path", "threads", "memory")


class FingerprintTransformer(*_BASES):  # type: ignore[misc]
    """Turns structures into rows of numbers: a scikit-learn transformer.

    Takes lists (or arrays of objects, or pandas Series) of ASE Atoms, pymatgen Structures or
    crystals. Nothing is learnt from them; ``fit`` checks the settings.

    Parameters
    ----------
    kind
        Such as ``soap``.
    per
        ``crystal``: a row a structure, as scikit-learn wants it; ``atom``: a row an atom.
    dtype, path, threads, memory
        See :meth:`atomprint.fingerprints.base.Fingerprint.compute`.
    settings
        Settings of the fingerprint where they differ from the defaults; ``get_params``,
        ``set_params`` and searches over parameters know all of them by name.

    Raises
    ------
    UsageError
        If scikit-learn is not installed.

    Attributes
    ----------
    settings_
        Complete settings, once fitted.
    n_features_out_
        Number of columns, once fitted.
    """

    def __init__(
        self,
        kind: str = "soap",
        *,
        per: str = "crystal",
        dtype: str = "float64",
        path: str = "auto",
        threads: int | None = None,
        memory: float | None = None,
        **settings: Any,
    ) -> None:
        if _MISSING:
            raise UsageError(
                "FingerprintTransformer needs scikit-learn: pip install 'atomprint[sklearn]'"
            )
        self.kind = kind
        self.per = per
        self.dtype = dtype
        self.path = path
        self.threads = threads
        self.memory = memory
        for name, value in settings.items():
            setattr(self, name, value)

    def _given(self) -> dict[str, Any]:
        """Settings of the fingerprint that were given."""
        return {
            name: value
            for name, value in vars(self).items()
            if name not in _OWN and not name.startswith("_") and not name.endswith("_")
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name: the given settings, or with ``deep`` also those left at defaults."""
        given = {name: getattr(self, name) for name in _OWN} | self._given()
        if not deep:
            return given
        try:
            fields = _settings_class(self.kind).model_fields
        except UsageError:
            return given
        defaults = {
            name: field.get_default(call_default_factory=True)
            for name, field in fields.items()
            if not field.is_required()
        }
        return defaults | given

    def set_params(self, **params: Any) -> "Self":
        """Change parameters; settings of the fingerprint are checked by ``fit``.

        Raises
        ------
        ValueError
            If the fingerprint has no such setting.
        """
        kind = params.get("kind", self.kind)
        for name in params.keys() - set(_OWN):
            try:
                known = _settings_class(kind).model_fields
            except UsageError:
                known = {}
            if name not in known and name not in self._given():
                raise ValueError(
                    f"Invalid parameter {name!r} for fingerprint {kind!r}; valid parameters are "
                    f"{', '.join(sorted({*_OWN, *known}))}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any = None) -> "Self":
        """Check the settings; the structures are not looked at."""
        values = {"kind": self.kind, "per": self.per, **self._given()}
        self.settings_ = validate(
            _settings_class(self.kind), values, f"FingerprintTransformer {self.kind}"
        )
        self._fingerprint: Fingerprint | None = self.settings_.build()
        self.n_features_out_ = self._fingerprint.n_features
        return self

    def transform(self, X: Any) -> npt.NDArray[Any]:
        """Compute ``(n_structures, n_features)``, or a row an atom."""
        rows: npt.NDArray[Any] = self._fitted().compute(
            X,
            dtype=self.dtype,
            path=self.path,  # type: ignore[arg-type]
            threads=self.threads,
            memory=self.memory,
        )
        return rows

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> Any:
        """Names of the columns, such as ``soap.en.n0n3l2``."""
        return np.asarray(self._fitted().labels(), dtype=object)

    def _fitted(self) -> Fingerprint:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "settings_")
        if self._fingerprint is None:
            self._fingerprint = self.settings_.build()
        return self._fingerprint

    def __getstate__(self) -> dict[str, Any]:
        """Settings stand for the fingerprint, which is made again where it is needed."""
        state: dict[str, Any] = super().__getstate__()
        return state | {"_fingerprint": None} if "_fingerprint" in state else state

    def __sklearn_tags__(self) -> Any:
        """Structures are no two-dimensional array."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags


def _settings_class(kind: str) -> type[FingerprintSpec]:
    from atomprint.fingerprints import FingerprintSettings

    members = {
        m.model_fields["kind"].default: m for m in get_args(get_args(FingerprintSettings)[0])
    }
    if kind not in members:
        raise UsageError(f"unknown fingerprint {kind!r}; choose from {', '.join(sorted(members))}")
    found: type[FingerprintSpec] = members[kind]
    return found
