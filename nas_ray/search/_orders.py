"""What two orders of the same things agree on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def rooted_common(before: Sequence[T], now: Sequence[T]) -> list[T]:
    """The longest sequence that both orders have and that begins with the first of ``now``; of equally long ones that
    which keeps nearest to the front of ``now``.

    Neither order has anything twice; ``before`` may lack what ``now`` has. Empty if it lacks the first. Never empty
    otherwise: what is repeated until nothing is left ends.
    """
    if not now or now[0] not in before:
        return []
    place = {item: number for number, item in enumerate(before)}
    chains: dict[T, list[T]] = {}
    for item in reversed([item for item in now if item in place]):
        after = [chain for chain in chains.values() if place[chain[0]] > place[item]]
        chains = {item: [item, *max(after, key=len, default=[])], **chains}
    return chains[now[0]]
