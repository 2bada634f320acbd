"""What a search evaluates next: a searcher's suggestions without duplicates and within the constraints.

Costs come from tables, so a candidate over a constraint is never started. Where the constraints are so tight
that suggestions hardly ever meet them, a suggestion is walked down by random mutations until it does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np

from nas_ray.errors import InfeasibleError, SpaceError, rounded_up
from nas_ray.search._members import enumerate_members, normalise
from nas_ray.search._objectives import Constraint, Objective, minimised, violation
from nas_ray.search._searcher import A, Searcher, Space

Costs = Callable[[A], Mapping[str, float]]

_TRIES = 16  # suggestions of the searcher, then as many random samples
_STEPS = 256  # mutations of one walk


@dataclass(frozen=True)
class Proposal(Generic[A]):
    """A candidate to evaluate: its number, where it came from, and its costs by the tables."""

    index: int
    architecture: A
    origin: str
    costs: Mapping[str, float]

    @property
    def arch_id(self) -> str:
        return self.architecture.arch_id


class Proposer(Generic[A]):
    """Gives out up to ``num_candidates`` proposals: those of ``enqueued`` first, then the searcher's.

    ``costs`` maps an architecture to its metrics by the tables; it must hold every metric of ``constraints``,
    and ``encoder_params`` where the space has an embedding rule. ``enqueued`` are taken as they are (the solver's agree
    with such a rule). ``exclude`` are arch_ids that are never proposed.
    """

    def __init__(
        self,
        searcher: Searcher[A],
        space: Space[A],
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        costs: Costs[A],
        num_candidates: int,
        *,
        enqueued: Sequence[tuple[A, str]] = (),
        exclude: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        self._searcher = searcher
        self._space = space
        self._objectives = tuple(objectives)
        self._constraints = tuple(constraints)
        self.costs = costs
        self._num_candidates = num_candidates
        self._enqueued = list(enqueued)
        self._seen = set(exclude)
        self._seed = seed
        self._proposals: dict[str, Proposal[A]] = {}
        self._told: set[str] = set()
        self._members: list[tuple[A, Mapping[str, float]]] | None = None
        self._exhausted = False
        self._closest: dict[str, float] = {}

    @property
    def num_enqueued(self) -> int:
        """Those that are still to be given out, and all that were."""
        return len(self._enqueued) + len(self._proposals)

    def ask(self) -> Proposal[A] | None:
        """The next proposal; None after ``num_candidates``, or when no new feasible architecture is left.

        Raises:
            InfeasibleError: no architecture that meets the constraints was found, not even a first one.
        """
        if self._exhausted or len(self._proposals) >= self._num_candidates:
            return None
        found = self._next_enqueued() or self._suggested() or self._sampled() or self._listed()
        if found is None:
            self._exhausted = True
            if not self._proposals and self._closest:
                raise InfeasibleError(self._nothing_reachable())
        return found

    def tell(self, arch_id: str, metrics: Mapping[str, float] | None, finished: bool) -> None:
        """The metrics of a proposal at the last rung it reached (its costs need no repeating); None if it
        failed.

        A second result for the same proposal is ignored.

        Raises:
            SpaceError: nothing with this id was proposed.
            SpecError: an objective's metric is missing.
        """
        if arch_id not in self._proposals:
            raise SpaceError(f"'{arch_id}' was never proposed; accepted: the arch_id of a proposal.")
        if arch_id in self._told:
            return
        proposal = self._proposals[arch_id]
        values = None if metrics is None else minimised(self._objectives, {**proposal.costs, **metrics})
        self._told.add(arch_id)
        self._searcher.observe(proposal.architecture, values, finished)

    def restore(
        self,
        proposals: Iterable[Proposal[A]],
        observations: Iterable[tuple[str, Mapping[str, float] | None, bool]],
    ) -> None:
        """Replay a journal: all proposals given out, and the results (arch_id, metrics, finished) in their
        order.

        With one candidate in flight the next ``ask`` answers as it would have without the interruption.
        """
        for proposal in proposals:
            self._seen.add(proposal.arch_id)
            self._proposals[proposal.arch_id] = proposal
        for arch_id, metrics, finished in observations:
            self.tell(arch_id, metrics, finished)

    def _next_enqueued(self) -> Proposal[A] | None:
        while self._enqueued:
            architecture, origin = self._enqueued.pop(0)
            if found := self._admit(architecture, self.costs(architecture), origin):
                return found
        return None

    def _suggested(self) -> Proposal[A] | None:
        for attempt in range(_TRIES):
            architecture = self._searcher.propose(len(self._proposals), attempt)
            rng = self._rng(attempt)
            if found := self._admit(*self._walk(architecture, rng), self._searcher.name):
                return found
        return None

    def _sampled(self) -> Proposal[A] | None:
        """For searchers that insist on what is used up."""
        for attempt in range(_TRIES, 2 * _TRIES):
            rng = self._rng(attempt)
            if found := self._admit(*self._walk(self._space.sample(rng), rng), "random"):
                return found
        return None

    def _listed(self) -> Proposal[A] | None:
        """One of all members that are left, where the space is small enough to list."""
        if self._members is None:
            pairs = (normalise(self._space, a, self.costs) for a in enumerate_members(self._space))
            self._members = [pair for pair in pairs if self._violation(pair[1]) == 0]
        left = [pair for pair in self._members if pair[0].arch_id not in self._seen]
        if not left:
            return None
        return self._admit(*left[int(self._rng(2 * _TRIES).integers(len(left)))], "random")

    def _walk(self, architecture: A, rng: np.random.Generator) -> tuple[A, Mapping[str, float]]:
        """Mutations that never raise the violation, until the constraints are met."""
        architecture, costs = normalise(self._space, architecture, self.costs)
        excess = self._violation(costs)
        for _ in range(_STEPS):
            if excess == 0:
                break
            near, near_costs = normalise(self._space, self._space.mutate(architecture, rng), self.costs)
            if (near_excess := self._violation(near_costs)) <= excess:
                architecture, costs, excess = near, near_costs, near_excess
        return architecture, costs

    def _admit(self, architecture: A, costs: Mapping[str, float], origin: str) -> Proposal[A] | None:
        if architecture.arch_id in self._seen or self._violation(costs) > 0:
            return None
        proposal = Proposal(len(self._proposals), architecture, origin, dict(costs))
        self._seen.add(architecture.arch_id)
        self._proposals[architecture.arch_id] = proposal
        return proposal

    def _violation(self, costs: Mapping[str, float]) -> float:
        found = violation(self._constraints, costs)
        if found > 0:
            for constraint in self._constraints:
                least = self._closest.get(constraint.metric, np.inf)
                self._closest[constraint.metric] = min(least, float(costs[constraint.metric]))
        return found

    def _nothing_reachable(self) -> str:
        sentences = ["No architecture meets all constraints."]
        for constraint in self._constraints:
            least = self._closest[constraint.metric]
            sentences.append(
                f"{constraint.metric}: found the bound {constraint.bound:.10g}; "
                f"the smallest value seen is {rounded_up(least)}."
            )
        return " ".join([*sentences, "Raise a bound."])

    def _rng(self, attempt: int) -> np.random.Generator:
        """Apart from the searcher's own numbers for the same suggestion."""
        return np.random.default_rng([self._seed, len(self._proposals), attempt, 1])
