"""Gains over a twin, labels that are saved, and their intervals.

An arm is a mapping from (set, number of labels, seed) to its error on the judged crystals.
Everything is paired: an arm and the one it is compared with have the same labels and seed.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

Errors = Mapping[tuple[str, int, int], float]
LogRatios = dict[str, dict[int, float]]
Curve = dict[int, dict[int, float]]

N_DRAWS = 4000
LEVEL = 0.95
# Draws of fewer sets than this say nothing about other sets: no interval is given.
MIN_SETS = 5


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; ``low`` and ``high`` are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


def gains(errors: Errors, twin: Errors) -> dict[tuple[str, int, int], float]:
    """Gain 1 - MAE / MAE of the twin, for every (set, labels, seed) that both have."""
    return {key: 1 - errors[key] / twin[key] for key in errors if key in twin}


def log_ratios(errors: Errors, twin: Errors, n_labels: Mapping[str, int]) -> LogRatios:
    """Logarithms of MAE / MAE of the twin, by set and seed, at each set's number of labels."""
    table: LogRatios = {}
    for name, n, seed in errors:
        if n_labels.get(name) == n and (name, n, seed) in twin:
            ratio = errors[name, n, seed] / twin[name, n, seed]
            table.setdefault(name, {})[seed] = float(np.log(ratio))
    return table


def mean_log(table: LogRatios) -> float:
    """Mean over sets of the means over their seeds: every set counts the same."""
    return float(np.mean([np.mean(list(seeds.values())) for seeds in table.values()]))


def common(tables: Iterable[LogRatios]) -> list[LogRatios]:
    """The tables with only those (set, seed) that all of them have."""
    tables = list(tables)
    keys = [{(name, seed) for name in table for seed in table[name]} for table in tables]
    shared = set.intersection(*keys)
    return [
        {
            name: {seed: value for seed, value in seeds.items() if (name, seed) in shared}
            for name, seeds in table.items()
            if any((name, seed) in shared for seed in seeds)
        }
        for table in tables
    ]


def resampled(tables: list[LogRatios], n_draws: int = N_DRAWS, seed: int = 0) -> np.ndarray:
    """Bootstrap of ``mean_log``, the same draws for all tables.

    Each draw takes as many sets as there are, with replacement, and within each set taken as many
    seeds as it has, with replacement (the two-stage bootstrap of Davison and Hinkley, Bootstrap
    Methods and their Application, 1997, section 3.8). With one seed a set, only sets are drawn.

    Parameters
    ----------
    tables
        Tables of the same (set, seed), see `common`.
    n_draws, seed
        How many draws, and the seed of their generator.

    Returns
    -------
    ndarray of shape (tables, draws)
    """
    names = list(tables[0])
    sizes = np.array([len(tables[0][name]) for name in names])
    values = np.zeros((len(tables), len(names), sizes.max()))
    for i, table in enumerate(tables):
        for j, name in enumerate(names):
            seeds = sorted(tables[0][name])
            values[i, j, : len(seeds)] = [table[name][s] for s in seeds]
    generator = np.random.default_rng(seed)
    sets = generator.integers(len(names), size=(n_draws, len(names)))
    size = sizes[sets][:, :, None]
    seeds_drawn = (generator.random((n_draws, len(names), sizes.max())) * size).astype(int)
    real = np.arange(sizes.max()) < size
    drawn = values[:, sets[:, :, None], seeds_drawn]
    return np.asarray(((drawn * real).sum(-1) / size[..., 0]).mean(-1))


def _interval(value: float, draws: np.ndarray) -> Interval:
    """Percentiles of draws; they may be infinite, so that none is interpolated."""
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.quantile(draws, tails, method="inverted_cdf")
    return Interval(value, float(low), float(high))


def mean_gain(table: LogRatios) -> Interval:
    """Gain of the geometric mean over sets of MAE ratios; no interval for few sets."""
    value = float(1 - np.exp(mean_log(table)))
    if len(table) < MIN_SETS:
        return Interval(value)
    return _interval(value, 1 - np.exp(resampled([table])[0]))


def ahead(one: LogRatios, other: LogRatios) -> Interval | None:
    """Mean gain of one arm less that of another, over the (set, seed) that both have.

    Returns
    -------
    Interval, or None where they have nothing in common
    """
    one, other = common([one, other])
    if not one:
        return None
    value = float(np.exp(mean_log(other)) - np.exp(mean_log(one)))
    if len(one) < MIN_SETS:
        return Interval(value)
    draws = np.exp(resampled([one, other]))
    return _interval(value, draws[1] - draws[0])


def curve(errors: Errors, name: str) -> Curve:
    """Errors on one set: number of labels to seed to MAE, fewest labels first."""
    found: Curve = {}
    for one, n_labels, seed in sorted(errors):
        if one == name:
            found.setdefault(n_labels, {})[seed] = errors[one, n_labels, seed]
    return found


def labels_reaching(numbers: list[int], maes: list[float], error: float) -> float:
    """Number of labels at which a learning curve first is as low as an error.

    Between measured numbers the curve is a straight line in the logarithms of labels and MAE.

    Parameters
    ----------
    numbers, maes
        The curve, fewest labels first.
    error
        The MAE to be reached.

    Returns
    -------
    float
        0 where the first point is lower already; infinity where no point is as low.
    """
    if maes[0] < error:
        return 0.0
    if maes[0] == error:
        return float(numbers[0])
    for i in range(1, len(maes)):
        if maes[i] <= error:
            share = math.log(maes[i - 1] / error) / math.log(maes[i - 1] / maes[i])
            return float(numbers[i - 1] * (numbers[i] / numbers[i - 1]) ** share)
    return math.inf


def labels_needed(goal: Curve, n_goal: int, reaching: Curve, n_draws: int = 1000) -> Interval:
    """Labels with which one arm has the error that another has with ``n_goal`` labels.

    Points are geometric means over seeds. The interval is a bootstrap over seeds: they are drawn
    anew at each number of labels, the same for both arms where both have them; there is none where
    no number of labels has two seeds.
    """
    generator = np.random.default_rng(0)
    numbers = list(reaching)
    seeds = {n: sorted(found) for n, found in reaching.items()}
    own = sorted(goal[n_goal])
    shared = sorted(set(own) & set(seeds.get(n_goal, [])))
    if shared:
        own = seeds[n_goal] = shared
    logs = [np.log([reaching[n][s] for s in seeds[n]]) for n in numbers]
    goal_logs = np.log([goal[n_goal][s] for s in own])
    means = [float(np.exp(one.mean())) for one in logs]
    value = labels_reaching(numbers, means, float(np.exp(goal_logs.mean())))
    if max(len(goal_logs), *(len(one) for one in logs)) < 2:
        return Interval(value)
    picks = [generator.integers(len(one), size=(n_draws, len(one))) for one in logs]
    if shared:
        goal_pick = picks[numbers.index(n_goal)]
    else:
        goal_pick = generator.integers(len(own), size=(n_draws, len(own)))
    curves = np.exp([one[pick].mean(1) for one, pick in zip(logs, picks, strict=True)]).T.tolist()
    errors = np.exp(goal_logs[goal_pick].mean(1)).tolist()
    draws = [
        labels_reaching(numbers, maes, error) for maes, error in zip(curves, errors, strict=True)
    ]
    return _interval(value, np.array(draws))


def _geometric(values: list[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def curve_means(found: Curve) -> dict[int, float]:
    """Geometric mean over seeds at each number of labels."""
    return {n: _geometric(list(seeds.values())) for n, seeds in found.items()}
