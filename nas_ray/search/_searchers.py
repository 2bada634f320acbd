"""The searchers by name; only ``tpe`` loads Optuna, when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nas_ray.errors import SpecError, unknown
from nas_ray.search._price import Price
from nas_ray.search._searcher import A, Searcher, Space


def _load_random() -> Callable[..., Any]:
    from nas_ray.search._random import RandomSearcher

    return RandomSearcher


def _load_evolution() -> Callable[..., Any]:
    from nas_ray.search._evolution import EvolutionSearcher

    return EvolutionSearcher


def _load_nsga2() -> Callable[..., Any]:
    from nas_ray.search._nsga2 import Nsga2Searcher

    return Nsga2Searcher


def _load_tpe() -> Callable[..., Any]:
    from nas_ray.search._tpe import TpeSearcher

    return TpeSearcher


def _load_surrogate() -> Callable[..., Any]:
    from nas_ray.search._surrogate import SurrogateSearcher

    return SurrogateSearcher


@dataclass(frozen=True)
class _Entry:
    """A searcher's class, loaded when asked for, and its options with the least value of each."""

    load: Callable[[], Callable[..., Any]]
    options: Mapping[str, int] = field(default_factory=dict)


SEARCHERS: dict[str, _Entry] = {
    "evolution": _Entry(_load_evolution, {"population_size": 2, "tournament_size": 1}),
    "nsga2": _Entry(_load_nsga2, {"population_size": 2, "tournament_size": 1}),
    "random": _Entry(_load_random),
    "surrogate": _Entry(_load_surrogate, {"num_startup": 2, "pool_size": 8}),
    "tpe": _Entry(_load_tpe, {"num_startup": 1, "num_samples": 1}),
}


def make_searcher(
    name: str,
    space: Space[A],
    num_objectives: int,
    seed: int,
    options: Mapping[str, Any] | None = None,
    *,
    price: Price[A] | None = None,
) -> Searcher[A]:
    """The searcher ``name`` over ``space``; ``options`` are its whole numbers (see ``SEARCHERS``).

    ``price`` says what tables know of a candidate; searchers that do not ask for it make do without.

    Raises:
        SpecError: unknown name, unknown option, or an option that is no whole number or too small.
    """
    if name not in SEARCHERS:
        raise SpecError(unknown("searcher", name, SEARCHERS), key="search.searcher")
    entry, given = SEARCHERS[name], dict(options or {})
    for option, value in given.items():
        _check_option(name, option, value, entry.options)
    searcher: Searcher[A] = entry.load()(space, num_objectives, seed, price=price, **given)
    return searcher


def _check_option(searcher: str, option: str, value: Any, known: Mapping[str, int]) -> None:
    if not known:
        raise SpecError(f"searcher '{searcher}' has no options, found '{option}'.", key="search.options")
    if option not in known:
        raise SpecError(unknown(f"option of '{searcher}'", option, known), key="search.options")
    if not isinstance(value, int) or isinstance(value, bool) or value < known[option]:
        accepted = f"a whole number of at least {known[option]}"
        raise SpecError(f"found {value!r}; accepted: {accepted}.", key=f"search.options.{option}")
