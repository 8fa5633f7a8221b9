"""Write docs/what-pretraining-buys.md and its figures from benchmarks/results/pretraining.

python scripts/generate_pretraining_page.py [--check]

The study goes on from session to session: what was not measured yet is left out, or shown as a
dash. Where nothing was measured there is no page.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks" / "pretraining"))
import costs
import figures
import tables
from arms import DEFAULT, ITS_SET, LABELLED, LONGER_CORPUS, OTHER_WIDTH, POTENTIAL, RECIPE, TODAY
from loaded import HEADLINE, REFERENCE, SCRATCH, Study, base, series, twin

ROOT = Path(__file__).resolve().parents[1]
PAGE = "what-pretraining-buys.md"
CURVES = "what-pretraining-buys-curves.svg"
SIZES = "what-pretraining-buys-sizes.svg"


def count(number: int, what: str) -> str:
    """A number with its noun."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def seeds_of(study: Study, part: str, arms: list[str]) -> str:
    """How many seeds the pairs of arms have: one number, or a range."""
    numbers = {len(seeds) for arm in arms for seeds in study.ratios(part, arm).values()}
    least, most = min(numbers), max(numbers)
    return count(least, "seed") if least == most else f"{least} to {most} seeds"


def headline(study: Study) -> list[str]:
    """Section of the test part."""
    shown = study.shown()
    if not shown:
        return [
            "The test part has no pre-trained arm yet. What follows was measured on the "
            "development part, where recipes were chosen: it is no result."
        ]
    parts = [
        f"## Gain at {HEADLINE} labels",
        "Gain: 1 - MAE / MAE from scratch, in pairs of the same set, labels and seed; here the "
        f"geometric mean over {seeds_of(study, 'test', shown)}, in brackets the least and the most "
        "of them. Sets with fewer labels are measured with all they have. The crystals judged on "
        "decided nothing. Last row: geometric mean over sets of MAE ratios, each set counting the "
        "same, with a 95 % interval from a paired bootstrap that draws sets first, then seeds "
        "within each (none for fewer than five sets): it says how far the mean may be off for "
        "other sets of this kind, too.",
        f"**What atomprint does by default is `{RECIPE}`**: goals about gains and labels are "
        "judged by it. Rivals were run at a smaller budget, the same for all, and are compared "
        f"with the same mixture at that budget, `{DEFAULT}`.",
        f"Arms with `{OTHER_WIDTH}` in their names have 128 channels, as atomprint's default "
        "network has, and gain over a twin of that width; the others have 64, and so has the "
        "column from scratch.",
        tables.headline(study),
        *grids(study, shown),
        *protocols(study, shown),
    ]
    if DEFAULT not in shown:
        parts.append(f"The default, `{DEFAULT}`, has not been measured on the test part yet.")
    beside = tables.rivals(study)
    if beside:
        parts += [
            f"Beside each rival, over the (set, seed) that both have, drawn in pairs; `{LABELLED}` "
            f'is supervised, on labels that the set "{ITS_SET}" has too:',
            beside,
        ]
    return parts


def potential(study: Study) -> list[str]:
    """Section on what a teacher that knows quantum-mechanical labels would bring."""
    found = tables.potential(study)
    if not found:
        return []
    cost = study.test[POTENTIAL]["pretraining"]
    return [
        "## Beside a potential that was trained on DFT",
        "Instead of fingerprints, the same network learned the features that CHGNet makes of every "
        "atom (64 after its last convolution; cosine and smooth L1; see [Distillation]"
        "(objectives/distillation.md)), on the same crystals for as many steps "
        f"({cost['n_crystals']:,}, {cost['n_steps']:,}; one pre-training run). CHGNet was trained "
        "on energies, forces, stresses and magnetic moments of 1.6 million structures of the "
        "Materials Project (Deng et al. 2023, doi 10.1038/s42256-023-00716-3), among them its "
        f"crystals that are judged on here: it has seen what {ITS_SET} asks for. Gains at "
        f"{HEADLINE} labels over the same twin, test part; the last rows have 95 % intervals.",
        found,
    ]


def told(study: Study) -> list[str]:
    """Section on what of the gain is knowledge of elements, which needs no pre-training."""
    found = tables.told_of_elements(study)
    if not found:
        return []
    return [
        "## What could be had without pre-training",
        "Part of what pre-training teaches is what elements are like, and that can be told to a "
        "network from scratch: its vectors of elements are then random projections of five "
        "tabulated properties (electronegativity, covalent radius, group, period, valence; "
        "`elements: properties`, see [Backbones](backbones.md)) instead of random numbers; "
        "everything else is the twin's. *Default over told* is what is left for pre-training "
        "beside such a twin; *told, then default* begins pre-training with such vectors. "
        "Elsewhere on this page twins are not told: they are the same network from scratch, as "
        "people train it. Test part, the same labels and crystals for all; the last row has 95 % "
        "intervals over sets.",
        found,
    ]


def grids(study: Study, shown: list[str]) -> list[str]:
    """What learning rates were tried, where not all arms had the same."""
    largest = {arm: max(rates_of(study.test[arm])) for arm in shown}
    wide = [arm for arm in shown if largest[arm] == max(largest.values())]
    if len(wide) == len(shown):
        return []
    names = " and ".join(f"`{arm}`" for arm in wide)
    least = min(largest.values())
    narrow = [study.test[arm] for arm in shown if arm not in wide]
    twins = [study.test[one] for one in {twin(arm) for arm in shown if arm not in wide}]
    rows = [row for file in twins for row in file["results"] if row["n_labels"] >= HEADLINE]
    at_edge = sum(row["learning_rate"] == max(rates_of(file)) for file in twins
                  for row in file["results"] if row["n_labels"] >= HEADLINE)  # fmt: skip
    return [
        f"**Learning rates tried.** {names} and their twins had a grid up to "
        f"{max(largest.values()):g}. {count(len(narrow), 'other arm')} and their twin had one up "
        f"to {least:g}, of which that twin took the largest in {at_edge} of {len(rows)} units: it "
        "would have wanted more, and gains over it are too large. Among these arms, comparisons "
        "are fair."
    ]


def protocols(study: Study, shown: list[str]) -> list[str]:
    """How fine-tuning changed in the course of the study, where arms of both kinds are shown."""
    today = [arm for arm in shown if arm.endswith(TODAY)]
    if not today or len(today) == len(shown):
        return []
    return [
        f"**Two protocols of fine-tuning.** Arms with `{TODAY.removeprefix(', ')}` in their names, "
        "and their twin, were trained as atomprint does today: with weight decay 1, with the last "
        "weights, and once more on all labels when the learning rate is chosen. The others, and "
        "their twins, had weight decay 0.01 and the weights that validation liked best. Gains are "
        "always over a twin of the same protocol. " + tables.twins_of_protocols(study)
    ]


def rates_of(file: dict[str, Any]) -> tuple[float, ...]:
    """The grid of learning rates in fine-tuning; older files do not name theirs."""
    return tuple(file.get("finetuning", {}).get("learning_rates", (1e-3, 2e-3, 4e-3)))


def curves(study: Study) -> list[str]:
    """Sections of learning curves and of labels saved."""
    parts = []
    if figures.curves(study):
        parts += [
            "## Learning curves",
            "Test part. Points are geometric means over seeds, bands go from the least to the most "
            "of them. Both axes are logarithmic.",
            f"![Labels against MAE, a panel a set]({CURVES})",
        ]
    saved = tables.labels_saved(study)
    if saved:
        parts += [
            "## Labels saved",
            f"Labels with which an arm has the error that {REFERENCE:,} labels from scratch give "
            "(or all labels, where a set has fewer), and labels from scratch that give the error "
            f"of {HEADLINE} with the default. Curves are straight in the logarithms between "
            "measured numbers and are not continued beyond them; in brackets 95 % intervals from "
            "a bootstrap over seeds. Last row: median over sets of the share of the labels; of "
            "two middle ones the larger, and where fewer labels than were measured would do, the "
            "fewest measured. The column of errors from scratch is of 64 channels; arms of other "
            "networks and of today's fine-tuning stand beside their own twin.",
            saved,
        ]
    return parts


def screened(study: Study) -> list[str]:
    """Section of the development part."""
    found = tables.ablation(study)
    if not found:
        return []
    arms = [arm for arm in study.dev if not arm.startswith(SCRATCH) and study.ratios("dev", arm)]
    return [
        "## Recipes screened (development)",
        f"Development part, {HEADLINE} labels, {seeds_of(study, 'dev', arms)}. "
        "**Choices were made here**, so that the best of these numbers are too good, and with few "
        "sets and seeds rows that lie within a few points of each other are not told apart: "
        "nothing on this table is a result. Rows are sorted by the mean gain (geometric mean over "
        "the sets); arms that lack a set have no mean and come last, sorted by the mean of those "
        "sets that all have. What the names stand for is in `benchmarks/pretraining/arms.py`; the "
        "default is in bold.",
        found,
        *again(study),
    ]


DISTILLED = {
    "chgnet": "`chgnet`: features of atoms by CHGNet, a potential trained on DFT, are matched at "
    "the last layer",
    "distilled": "`distilled`: a random projection of fine SOAP and EAD is matched at every layer "
    "(cosine and smooth L1)",
    "distilled components": "`distilled components`: the same of their principal components",
    "distilled relations": "`distilled relations`: cosine, and the geometry of the batch",
    "self-distilled": "`self-distilled`: 15 % of the elements are hidden from the network and not "
    "from its running mean, whose features it matches",
}


def again(study: Study) -> list[str]:
    """What single members add, with today's fine-tuning."""
    found = tables.ablation(study, TODAY)
    if not found:
        return []
    arms = [arm for arm in study.dev if base(arm) + TODAY == arm and study.ratios("dev", arm)]
    members = {member for arm in arms for member in base(arm).split("+")}
    kinds = [f"{words}. " for name, words in DISTILLED.items() if name in members]
    return [
        "**The same with today's fine-tuning**, and with what came later: elements' properties "
        "among the targets, and distillation. "
        + "".join(kinds)
        + f"Networks of 64 channels, 5,000 steps, {seeds_of(study, 'dev', arms)}; in bold the "
        "mixture of today's default. What holds above holds here: two runs of one recipe are "
        "several points apart in one set, and one or two in the mean of seven.",
        found,
    ]


def sizes(study: Study) -> list[str]:
    """Section of corpus sizes and steps."""
    found = [*series(study, "n_crystals"), *series(study, "n_steps")]
    if not found:
        return []
    return [
        "## More crystals, more steps",
        "What the same mixture gains with a wider network, three times the steps and larger cells "
        "(together; they were not taken apart), then with elements' properties among the targets "
        "and today's fine-tuning, and at last for twice as many steps on twice as many crystals, "
        f"half of which were made (`{LONGER_CORPUS}`, without the likes of any set's crystals): on "
        "the development part, where the last two can be compared, that made no difference. "
        "Machines, and what else they did, differ between lines; a step takes what the next "
        "section says.",
        tables.budgets(study),
        "Mean gain over the (set, seed) that all points of a line have, with 95 % intervals where "
        'there are five sets or more. Of lines marked "dev" the remarks on the development part '
        "hold.",
        f"![Gain against crystals and steps]({SIZES})",
        tables.sizes(found),
    ]


def cost(study: Study) -> list[str]:
    """Section of costs."""
    runs, targets = costs.arms_table(study), costs.targets_table(study)
    labels, speed = costs.labels_table(study), costs.microseconds(study)
    parts = ["## What it costs"] if runs or targets else []
    if runs:
        parts += [
            "Processor time of whole pre-training runs, targets included, one thread; of two runs "
            "of one arm the cheaper, which fewer others disturbed:",
            runs,
        ]
    if targets:
        parts += [
            f"Targets are computed in every step, for a batch of {costs.BATCH} crystals (medians; "
            f"{provenance([study.targets])}):",
            targets,
        ]
    if speed:
        parts.append(
            f"By themselves, in µs an atom on one thread (float32): {speed}; see [Speed and "
            "accuracy of fingerprints](fingerprints-speed.md) for their settings there."
        )
    if labels:
        dft = study.dft
        parts += [
            "Beside labels by density-functional theory:",
            labels,
            f"A DFT label: the mean of {dft['n_crystals']} labels of the embedded set "
            f"({dft['settings']['code'].split(',')[0]}, PBE, without the search for the volume; "
            f"{dft['hardware']}), whose cells have a median of {dft['median_atoms_per_cell']:.0f} "
            "atoms. The corpus has larger cells, which cost more by DFT, so that these are low "
            "estimates of the ratio; they are no measurement of labelling this corpus. The first "
            "lines count a crystal's targets once. The last counts all that a run computes, anew "
            "in every step, and adds, on the left, pre-training on the DFT labels.",
            costs.turns_words(study),
            costs.corpus_words(study),
        ]
    return parts


def provenance(files: list[dict[str, Any]]) -> str:
    """Say which machine and programs numbers come from."""
    environments = [
        one
        for file in files
        if "environment" in file
        for one in file.get("environments", [file["environment"]])
    ]

    def all_of(*path: str) -> str:
        found = set()
        for environment in environments:
            value: Any = environment
            for key in path:
                value = value.get(key, "unknown") if isinstance(value, dict) else "unknown"
            found.add(str(value))
        return ", ".join(sorted(found))

    return (
        f"{all_of('processor')}, Python {all_of('python')}, "
        f"torch {all_of('versions', 'torch')}; commits {all_of('commit')}"
    )


def recipe(study: Study) -> str:
    """The default in words, from the settings it was run with."""
    own = study.arms.get(DEFAULT, {}).get("pretraining")
    if not own:
        return ""
    settings = own["settings"]
    backbone, loop = settings["model"]["backbone"], settings["loop"]
    kinds = []
    for objective in settings["objectives"]:
        members = [one["kind"] for one in objective.get("fingerprints", ())]
        kinds.append(objective["kind"] + (f" ({', '.join(members)})" if members else ""))
    return (
        f"The default, `{DEFAULT}`: {' and '.join(kinds)}, tasks weighted by "
        f"`{settings['task_weights']}`; {backbone['kind']} with {backbone['n_layers']} layers of "
        f"{backbone['n_channels']} channels, cutoff {backbone['cutoff']:g} Å; "
        f"{own['n_steps']:,} steps of up to {loop['batch']['max_crystals']} crystals, learning "
        f"rate {loop['optimizer']['learning_rate']:g}; {own['n_crystals']:,} crystals."
    )


def method(study: Study) -> list[str]:
    """Section on how it was measured."""
    files = [*study.dev.values(), *study.test.values()]
    return [
        "## How it was measured",
        "Every arm has the same network, corpus, number of steps, batches and learning rate in "
        "pre-training (unless its name says otherwise), and one pre-training run (but for the "
        "recipe, see below): seeds vary the labels drawn, the new head and the order of batches in "
        "fine-tuning. "
        "Fine-tuning and training from scratch have the same labels, steps and grid of learning "
        "rates for every arm; 15 % of the labels choose rate and step, and count as labels. The "
        "target is standardised; the error is the MAE on crystals that decided nothing.",
        *other_runs(study),
        recipe(study),
        "**Leakage.** Each set's crystals have one fixed random order: the first are the "
        "development part, the next the test part, and labels are drawn from the rest, so that the "
        "same test crystals judge every arm, number of labels and seed. The corpus is the "
        "Materials Project's (by way of a public subset), cells of at most 20 atoms, without any "
        "crystal of any of the sets, by identifier, and without those of the same reduced formula "
        "whose volume per atom differs by less than 2 %. Energies of the corpus are seen by "
        f"`{LABELLED}` alone.",
        "Units that are missing are done by\n\n```text\npython benchmarks/pretraining/study.py "
        '--data DIR --work WORK --part dev --arms "ead;masking"\n'
        "python benchmarks/pretraining/study.py --data DIR --work WORK --part test --seeds 0 1 2 \\"
        f'\n    --labels 100 300 500 1000 --arms "scratch;{DEFAULT}"\n'
        "python benchmarks/pretraining/target_cost.py --data DIR\n"
        "python scripts/generate_pretraining_page.py\n```",
        f"One thread; {provenance(files)}.",
    ]


def other_runs(study: Study) -> list[str]:
    """Say which units of the recipe are of which pre-training run; nothing where there is one."""
    rows = study.test.get(RECIPE, {}).get("results", ())
    by_run: dict[str, dict[int, set[str]]] = {}
    for row in rows:
        sets = by_run.setdefault(row.get("weights", ""), {}).setdefault(row["seed"], set())
        sets.add(row["set"])
    if len(by_run) < 2:
        return []
    runs = []
    for weights, seeds in by_run.items():
        name = f"`{weights}`" if weights else "the first, whose network was not kept"
        units = [
            f"seed {seed} of {sets.copy().pop() if len(sets) == 1 else f'{len(sets)} sets'}"
            for seed, sets in sorted(seeds.items())
        ]
        runs.append(f"{name} ({', '.join(units)})")
    return [
        f"The recipe was pre-trained {len(by_run)} times, with the same settings but for the seed "
        "and by the code of the day, so that its spread over seeds is of pre-training, too. Runs, "
        f"by the hash of their weights: {'; '.join(runs)}."
    ]


def page(study: Study) -> str:
    """Return the text of the page."""
    parts = [
        "# What pre-training buys",
        "Generated by `scripts/generate_pretraining_page.py` from "
        "`benchmarks/results/pretraining/`. The study goes on: a dash is what has not been "
        "measured yet.",
        "## Goals",
        costs.goals(study),
        *headline(study),
        *potential(study),
        *told(study),
        *curves(study),
        *screened(study),
        *sizes(study),
        *cost(study),
        *method(study),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def stale_figure(path: Path, data: Any) -> bool:
    """Whether a drawing shows other numbers than the JSON has."""
    if not path.is_file():
        return True
    found = re.search(r"<!-- numbers: (\w+) -->", path.read_text(encoding="utf-8"))
    return found is None or found[1] != figures.number(data)


def stale(study: Study, docs: Path) -> dict[Path, Any]:
    """Files that are out of date, with a function that returns what should be in them."""
    if not study.dev and not study.test:
        return {}
    wanted: dict[Path, Any] = {}
    text = page(study)
    if not (docs / PAGE).is_file() or (docs / PAGE).read_text(encoding="utf-8") != text:
        wanted[docs / PAGE] = lambda: text
    lines = figures.curves(study)
    lengths = [*series(study, "n_crystals"), *series(study, "n_steps")]
    if lines and stale_figure(docs / CURVES, lines):
        wanted[docs / CURVES] = lambda: figures.curves_svg(lines)
    if lengths and stale_figure(docs / SIZES, figures.numbers_of_series(lengths)):
        wanted[docs / SIZES] = lambda: figures.series_svg(lengths)
    return wanted


def main() -> int:
    """Write the files, or with ``--check`` say whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    files = stale(Study.read(arguments.results), arguments.docs)
    for path, make in files.items():
        if arguments.check:
            print(f"{path.name} is out of date; run python {Path(__file__).name}", file=sys.stderr)
        else:
            path.write_text(make(), encoding="utf-8")
    return 1 if arguments.check and files else 0


if __name__ == "__main__":
    sys.exit(main())
