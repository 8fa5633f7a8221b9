"""Results of the study as they lie on disk, and what is looked up in them again and again."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gains as g
from arms import ALSO, DEFAULT, OTHER_WIDTH, RIVALS, TODAY, TOLD
from sets import SETS

SCRATCH = "scratch"
HEADLINE, REFERENCE = 500, 1000
VARIANT = re.compile(
    r"^(.*?)((?:, \d+ steps)?(?:, real[+\w ]*)?(?:, \d+ crystals)?(?:, up to \d+ atoms)?"
    r"(?:, pre-training seed \d+)?(?:, adapted)?(?:, refit)?)$"
)


@dataclass(frozen=True)
class Study:
    """What has been measured so far; nothing of it need be there.

    Attributes
    ----------
    dev, test
        Files of either part, by arm.
    targets
        Cost of targets in a step (``target_cost.json``).
    dft
        Cost of a label by density-functional theory (``dft_label_cost.json``).
    dft_corpus
        The same of random crystals of the corpus (``dft_corpus_cost.json``).
    one_machine
        Labels and steps of pre-training in turns (``one_machine_cost.json``).
    speed
        Speed of fingerprints (``fingerprints/speed.json``).
    """

    dev: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, Any] = field(default_factory=dict)
    dft: dict[str, Any] = field(default_factory=dict)
    dft_corpus: dict[str, Any] = field(default_factory=dict)
    one_machine: dict[str, Any] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, results: Path) -> "Study":
        """Read ``benchmarks/results``."""

        def one(name: str) -> dict[str, Any]:
            path = results / name
            return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

        def part(name: str) -> dict[str, Any]:
            paths = sorted((results / "pretraining" / name).glob("*.json"))
            files = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
            return {file["arm"]: file for file in files if file["results"]}

        return cls(
            part("dev"),
            part("test"),
            one("pretraining/target_cost.json"),
            one("dft_label_cost.json"),
            one("dft_corpus_cost.json"),
            one("one_machine_cost.json"),
            one("fingerprints/speed.json"),
        )

    @property
    def arms(self) -> dict[str, Any]:
        """Files of all arms; of one that was pre-trained for either part the cheaper run's.

        The same steps take longer on a machine that others use.
        """

        def seconds(file: dict[str, Any]) -> float:
            return float(file.get("pretraining", {}).get("cpu_seconds", math.inf))

        both = self.test.keys() & self.dev.keys()
        return self.test | self.dev | {k: min(self.test[k], self.dev[k], key=seconds) for k in both}

    def errors(self, part: str, arm: str) -> dict[tuple[str, int, int], float]:
        """MAE by set, number of labels and seed; empty for an arm that was not measured."""
        rows = getattr(self, part).get(arm, {}).get("results", ())
        return {(row["set"], row["n_labels"], row["seed"]): row["mae"] for row in rows}

    def numbers(self, part: str, wanted: int) -> dict[str, int]:
        """Number of labels that stands for ``wanted``, by set, in the order of the sets."""
        # Some sets were measured with the wide network alone.
        twins = {twin(arm) for arm in getattr(self, part)}
        near = g.labels_near(
            {key: mae for one in twins for key, mae in self.errors(part, one).items()}, wanted
        )
        return {name: near[name] for name in SETS if name in near}

    def ratios(self, part: str, arm: str, wanted: int = HEADLINE) -> g.LogRatios:
        """Logarithms of MAE over that of the from-scratch twin, sets in their order."""
        table = g.log_ratios(
            self.errors(part, arm), self.errors(part, twin(arm)), self.numbers(part, wanted)
        )
        return {name: table[name] for name in SETS if name in table}

    def shown(self) -> list[str]:
        """The default, its rivals and what is shown beside, as far as the test part has them."""
        return [arm for arm in (DEFAULT, *RIVALS, *ALSO) if self.ratios("test", arm)]


def twin(arm: str) -> str:
    """The from-scratch arm of the same network, fine-tuned by the same protocol."""
    today = TODAY if arm.endswith(TODAY) else ""
    if base(arm).endswith(TOLD.removeprefix(SCRATCH)):
        return TOLD + today
    return SCRATCH + (OTHER_WIDTH if base(arm).endswith(OTHER_WIDTH) else "") + today


def base(arm: str) -> str:
    """Name of an arm without a number of steps or crystals."""
    found = VARIANT.match(arm)
    return found[1] if found else arm


@dataclass(frozen=True)
class Series:
    """Gain against the size of a corpus or the number of steps, over common (set, seed).

    Attributes
    ----------
    arm, part, what
        The arm, the part of the study, and ``n_crystals`` or ``n_steps``.
    fixed
        The other of the two.
    points
        Size to mean gain, smallest first.
    n_sets, n_pairs
        Sets, and (set, seed), that every point is a mean of.
    """

    arm: str
    part: str
    what: str
    fixed: int
    points: dict[int, g.Interval]
    n_sets: int
    n_pairs: int


def series(study: Study, what: str) -> list[Series]:
    """All series with at least two points; of two parts the test part, if it has two points."""
    other = {"n_crystals": "n_steps", "n_steps": "n_crystals"}[what]
    found: dict[tuple[str, int], Series] = {}
    for part in ("dev", "test"):
        groups: dict[tuple[str, int], dict[int, g.LogRatios]] = {}
        for arm, file in getattr(study, part).items():
            ratios = study.ratios(part, arm)
            if "pretraining" in file and ratios:
                cost = file["pretraining"]
                groups.setdefault((base(arm), cost[other]), {})[cost[what]] = ratios
        for (arm, fixed), sizes in groups.items():
            ordered = sorted(sizes)
            tables = g.common(sizes[size] for size in ordered)
            if len(ordered) < 2 or not tables[0]:
                continue
            points = {size: g.mean_gain(table) for size, table in zip(ordered, tables, strict=True)}
            n_pairs = sum(len(seeds) for seeds in tables[0].values())
            found[arm, fixed] = Series(arm, part, what, fixed, points, len(tables[0]), n_pairs)
    return [found[key] for key in sorted(found)]
