"""Tree-structured Parzen estimator through Optuna's ask and tell (Bergstra et al. 2011; Ozaki et al. 2022).

What the study holds is only what was observed: a suggestion's own trial is closed as failed, which the
sampler does not read, and the sampler is made anew from the suggestion's seed. Candidates that were stopped
early are told as PRUNED: TPE then ranks them behind every complete one (with one objective, by their last
value), so their low-fidelity values never compete with full ones, yet their choices still count as bad.
Failures are told as FAIL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Generic

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from nas_ray.search._dimensions import Categorical, Dimension, Float, Integer, Value
from nas_ray.search._encoding import make_encoding
from nas_ray.search._price import Price
from nas_ray.search._searcher import A, Space, generator

optuna.logging.set_verbosity(optuna.logging.ERROR)


class TpeSearcher(Generic[A]):
    """Samples the space for ``num_startup`` results, then takes TPE's best of ``num_samples`` samples."""

    name = "tpe"

    def __init__(
        self,
        space: Space[A],
        num_objectives: int,
        seed: int,
        *,
        price: Price[A] | None = None,
        num_startup: int = 24,
        num_samples: int = 96,
    ) -> None:
        self._space = space
        self._seed = seed
        self._num_objectives = num_objectives
        self._num_startup = num_startup
        self._num_samples = num_samples
        self._encoding = make_encoding(space)
        self._distributions = {d.name: _distribution(d) for d in self._encoding.dimensions}
        self._num_observed = 0
        self._study = optuna.create_study(directions=["minimize"] * num_objectives)

    def propose(self, index: int, attempt: int = 0) -> A:
        rng = generator(self._seed, index, attempt)
        if self._num_observed < self._num_startup:
            return self._space.sample(rng)
        self._study.sampler = _Sampler(
            self._distributions,
            seed=int(rng.integers(2**31)),
            n_startup_trials=0,
            n_ei_candidates=self._num_samples,
            multivariate=True,
            constant_liar=False,  # running candidates are not in the study
        )
        trial = self._study.ask(self._distributions)
        self._study.tell(trial, state=TrialState.FAIL)
        params = trial.params
        found: A = self._encoding.decode({d.name: _value(d, params[d.name]) for d in self._encoding.dimensions})
        return found

    def observe(self, architecture: A, values: tuple[float, ...] | None, finished: bool) -> None:
        if not self._space.contains(architecture):
            return
        usable = values if values is not None and all(map(math.isfinite, values)) else None
        state = TrialState.FAIL if usable is None else TrialState.COMPLETE if finished else TrialState.PRUNED
        # Optuna reads a pruned trial's last value in studies with one objective only.
        last = {0: usable[0]} if usable and state == TrialState.PRUNED and self._num_objectives == 1 else None
        encoded = self._encoding.encode(architecture)
        self._study.add_trial(
            create_trial(
                state=state,
                params={d.name: _parameter(d, encoded.get(d.name)) for d in self._encoding.dimensions},
                distributions=self._distributions,
                values=usable if state == TrialState.COMPLETE else None,
                intermediate_values=last,
            )
        )
        self._num_observed += usable is not None


class _Sampler(optuna.samplers.TPESampler):
    """TPE that is told its dimensions: to infer them from all trials took half of a suggestion's time."""

    def __init__(self, dimensions: Mapping[str, BaseDistribution], **options: Any) -> None:
        super().__init__(**options)
        self._dimensions = {name: found for name, found in dimensions.items() if not found.single()}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._dimensions


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Over the numbers of the values where they are listed: unevenly spaced sizes are neighbours too."""
    if isinstance(dimension, Integer):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, Float):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if dimension.ordered:
        return IntDistribution(0, len(dimension.values) - 1)
    return CategoricalDistribution(range(len(dimension.values)))


def _parameter(dimension: Dimension, value: Value | None) -> Value:
    """What the study holds; the first or lowest value for what is not active."""
    if isinstance(dimension, Categorical):
        return 0 if value is None else dimension.values.index(value)
    return dimension.low if value is None else value


def _value(dimension: Dimension, parameter: Any) -> Value:
    found: Value = dimension.values[parameter] if isinstance(dimension, Categorical) else parameter
    return found
