"""Searchers and a scheduler of other libraries behind our calls, for ``searchers.py`` and ``schedulers.py``.

All know a space by the dimensions that our own searchers know it by, or, with ``-paths`` behind their name, by one
choice among the paths of each block. Populations are of 24, as ours; what is not said here is the library's default.
Whoever proposes what is known already is asked again, up to 16 times, and then a random candidate takes its place, of
whose result it is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from nas_ray.search._dimensions import Categorical, Encoding, Value
from nas_ray.search._encoding import make_encoding
from nas_ray.search._tpe import _distribution, _parameter, _value
from nas_ray.space import Architecture, PathSpace

POPULATION = 24


class Rival(Protocol):
    """What the proposer asks of a searcher."""

    name: str

    def propose(self, index: int, attempt: int = 0) -> Architecture: ...

    def observe(self, architecture: Architecture, values: tuple[float, ...] | None, finished: bool) -> None: ...


class PathChoices:
    """A block is one choice among its paths."""

    def __init__(self, space: PathSpace) -> None:
        self._size = max(space.embedding_sizes)
        self._paths = [{p.path_id: p for p in space.block_paths(block)} for block in range(space.num_blocks)]
        self.dimensions = tuple(Categorical(f"block{b}", tuple(paths)) for b, paths in enumerate(self._paths))

    def encode(self, architecture: Architecture) -> dict[str, Value]:
        return {d.name: path.path_id for d, path in zip(self.dimensions, architecture.paths, strict=True)}

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        paths = (known[str(values[d.name])] for d, known in zip(self.dimensions, self._paths, strict=True))
        return Architecture(self._size, tuple(paths))


def free_dimensions(encoding: Encoding[Any]) -> list[Categorical]:
    """Those with a choice; a space of paths has no other kind."""
    return [d for d in encoding.dimensions if isinstance(d, Categorical) and len(d.values) > 1]


def fixed_values(encoding: Encoding[Any]) -> dict[str, Value]:
    return {d.name: d.values[0] for d in encoding.dimensions if isinstance(d, Categorical) and len(d.values) == 1}


class OptunaNsga2:
    """Optuna's NSGA-II, with its generations kept in the study."""

    name = "optuna-nsga2"

    def __init__(self, space: PathSpace, encoding: Encoding[Any], seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._encoding = encoding
        self._distributions = {d.name: _distribution(d) for d in encoding.dimensions}
        self._study = optuna.create_study(
            directions=["minimize"] * 2, sampler=optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        )
        self._asked: dict[str, Any] = {}

    def propose(self, index: int, attempt: int = 0) -> Architecture:
        trial = self._study.ask(self._distributions)
        found: Architecture = self._encoding.decode(
            {d.name: _value(d, trial.params[d.name]) for d in self._encoding.dimensions}
        )
        self._asked[found.arch_id] = trial
        return found

    def observe(self, architecture: Architecture, values: tuple[float, ...] | None, finished: bool) -> None:
        trial = self._asked.pop(architecture.arch_id, None)
        if trial is not None:
            self._study.tell(trial, values)
            return
        import optuna

        encoded = self._encoding.encode(architecture)  # sampled by the proposer in its place
        params = {d.name: _parameter(d, encoded.get(d.name)) for d in self._encoding.dimensions}
        self._study.add_trial(
            optuna.trial.create_trial(params=params, distributions=self._distributions, values=values)
        )


class PymooNsga2:
    """pymoo's NSGA-II with its mixed-variable operators; ordered dimensions are its integers.

    Its mutation would draw every single choice anew with probability 1/2, being told of one variable at a time; here
    1 / (number of dimensions), which is its rule for variables that it sees together. Duplicates are dropped where it
    drops its own, so that it mates again for those that are missing.
    """

    name = "pymoo-nsga2"

    def __init__(self, space: PathSpace, encoding: Encoding[Any], seed: int) -> None:
        from pymoo.algorithms.moo.nsga2 import NSGA2, binary_tournament
        from pymoo.core.mixed import MixedVariableMating, MixedVariableSampling
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination
        from pymoo.core.variable import Choice, Integer
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.mutation.rm import ChoiceRandomMutation
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.operators.selection.tournament import TournamentSelection

        self._space, self._encoding, self._free = space, encoding, free_dimensions(encoding)
        self._rng = np.random.default_rng([seed, 1])
        self._seen: set[str] = set()
        self._queue: list[Any] = []
        self._asked: dict[str, Any] = {}
        self._done: list[Any] = []
        variables = {
            d.name: Integer(bounds=(0, len(d.values) - 1)) if d.ordered else Choice(options=list(range(len(d.values))))
            for d in self._free
        }
        rate, unseen = 1 / len(self._free), _unseen(self)
        mutation = {
            Choice: ChoiceRandomMutation(prob_var=rate),
            Integer: PM(prob_var=rate, vtype=float, repair=RoundingRepair()),
        }
        mating = MixedVariableMating(
            TournamentSelection(func_comp=binary_tournament), mutation=mutation, eliminate_duplicates=unseen
        )
        self._algorithm = NSGA2(
            POPULATION, MixedVariableSampling(), mating=mating, eliminate_duplicates=unseen, seed=seed
        )
        self._algorithm.setup(Problem(vars=variables, n_obj=2), termination=NoTermination())

    def decoded(self, individual: Any) -> Architecture:
        values = {d.name: d.values[int(individual.X[d.name])] for d in self._free}
        found: Architecture = self._encoding.decode({**fixed_values(self._encoding), **values})
        return found

    def is_seen(self, architecture: Architecture) -> bool:
        return architecture.arch_id in self._seen

    def propose(self, index: int, attempt: int = 0) -> Architecture:
        if not self._queue:
            self._queue = self._generation()
        if not self._queue:
            return self._space.sample(self._rng)
        individual = self._queue.pop(0)
        found = self.decoded(individual)
        self._asked[found.arch_id] = individual
        return found

    def _generation(self) -> list[Any]:
        """The next one, bred from all so far; what was enqueued takes the place of a first sample."""
        from pymoo.core.population import Population

        if self._done:
            self._algorithm.tell(infills=Population.create(*self._done))
            self._done = []
        return [*(found if (found := self._algorithm.ask()) is not None else ())]

    def observe(self, architecture: Architecture, values: tuple[float, ...] | None, finished: bool) -> None:
        from pymoo.core.individual import Individual

        self._seen.add(architecture.arch_id)
        individual = self._asked.pop(architecture.arch_id, None)
        if individual is None:
            encoded = self._encoding.encode(architecture)
            individual = Individual(X={d.name: d.values.index(encoded[d.name]) for d in self._free})
        individual.set("F", np.array(values))
        for name in ("G", "H"):
            individual.set(name, np.zeros(0))
        individual.evaluated.update("FGH")
        self._done.append(individual)


def _unseen(rival: PymooNsga2) -> Any:
    """pymoo's elimination of duplicates, by architecture and against all that was evaluated."""
    from pymoo.core.duplicate import DuplicateElimination

    class Unseen(DuplicateElimination):  # type: ignore[misc]
        def _do(self, pop: Any, other: Any, is_duplicate: Any) -> Any:
            taken = set() if other is None else {rival.decoded(individual).arch_id for individual in other}
            for number, individual in enumerate(pop):
                architecture = rival.decoded(individual)
                is_duplicate[number] = rival.is_seen(architecture) or architecture.arch_id in taken
                taken.add(architecture.arch_id)
            return is_duplicate

    return Unseen()


class SyneTuneRea:
    """Syne Tune's MO-REA: regularised evolution by non-dominated rank.

    As it comes, its priority is the *order* of the population where the search reads ranks (syne-tune 0.16.0), so a
    parent is chosen almost at random. ``mended`` turns the order into ranks.
    """

    name = "syne-tune-morea"

    def __init__(self, space: PathSpace, encoding: Encoding[Any], seed: int, mended: bool = False) -> None:
        from syne_tune.config_space import choice
        from syne_tune.optimizer.schedulers.multiobjective import MultiObjectiveRegularizedEvolution

        self._encoding, self._free = encoding, free_dimensions(encoding)
        np.random.seed(seed)  # noqa: NPY002 - its first samples come from numpy's global state
        self._searcher = MultiObjectiveRegularizedEvolution(
            {d.name: choice(list(d.values)) for d in self._free},
            population_size=POPULATION,
            multiobjective_priority=ranks_priority() if mended else None,
            random_seed=seed,
        )
        self._asked: dict[str, dict[str, Value]] = {}
        self._told = 0

    def propose(self, index: int, attempt: int = 0) -> Architecture:
        config = self._searcher.suggest()
        assert config is not None
        found: Architecture = self._encoding.decode({**fixed_values(self._encoding), **config})
        self._asked[found.arch_id] = config
        return found

    def observe(self, architecture: Architecture, values: tuple[float, ...] | None, finished: bool) -> None:
        encoded = self._encoding.encode(architecture)
        config = self._asked.pop(architecture.arch_id, None) or {d.name: encoded[d.name] for d in self._free}
        assert values is not None
        self._searcher.on_trial_complete(self._told, config, list(values))
        self._told += 1


def ranks_priority() -> Any:
    """Syne Tune's own order by non-dominated sorting, as ranks: 0 for the first."""
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority

    class Ranks(NonDominatedPriority):  # type: ignore[misc]
        def priority_unsafe(self, objectives: Any) -> Any:
            return np.argsort(super().priority_unsafe(objectives))

    return Ranks()


RIVALS: dict[str, Callable[..., Rival]] = {
    OptunaNsga2.name: OptunaNsga2,
    PymooNsga2.name: PymooNsga2,
    SyneTuneRea.name: SyneTuneRea,
    f"{SyneTuneRea.name}-mended": partial(SyneTuneRea, mended=True),
}
PATHS = "-paths"
NAMES = tuple(name + ending for name in RIVALS for ending in ("", PATHS))


def make_rival(name: str, space: PathSpace, seed: int) -> Rival:
    """The rival ``name``; says what to install where its library is missing."""
    encoding: Any = PathChoices(space) if name.endswith(PATHS) else make_encoding(space)
    try:
        return RIVALS[name.removesuffix(PATHS)](space, encoding, seed)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{name} needs '{error.name}', which is not installed: pip install -e '.[bench]'") from error


class SyneTuneMoasha:
    """Syne Tune's MOASHA as a scheduler of ours; it is told the logarithm of a cost, by which fronts are measured.

    It decides by the same priority as MO-REA, and so does little better than chance unless it is ``mended``.
    """

    def __init__(self, rungs: Sequence[int], eta: float, cost: str, mended: bool = False) -> None:
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        self._rungs, self._cost = rungs, cost
        self._scheduler = MOASHA(
            {},
            ["loss", "log_cost"],
            time_attr="budget",
            multiobjective_priority=ranks_priority() if mended else None,
            max_t=rungs[-1],
            grace_period=rungs[0],
            reduction_factor=eta,
            random_seed=0,
        )
        self._trials: dict[str, SimpleNamespace] = {}

    def report(self, candidate_id: str, rung_index: int, metrics: Mapping[str, float]) -> bool:
        if candidate_id not in self._trials:
            self._trials[candidate_id] = SimpleNamespace(trial_id=candidate_id)
            self._scheduler.on_trial_add(self._trials[candidate_id])
        result = {"loss": metrics["loss"], "log_cost": math.log(metrics[self._cost]), "budget": self._rungs[rung_index]}
        return bool(self._scheduler.on_trial_result(self._trials[candidate_id], result) == "CONTINUE")

    def restore(self, records: Iterable[tuple[str, int, Mapping[str, float]]]) -> None:
        for record in records:
            self.report(*record)
