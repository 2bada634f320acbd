"""What two orders agree on, against all subsequences."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_ray.search import rooted_common


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("", "abc", ""),
        ("abc", "", ""),
        ("abc", "abc", "abc"),
        ("cba", "abc", "a"),
        ("bac", "abc", "ac"),
        ("abcd", "acbd", "acd"),  # abd is as long; c stands nearer to the front
        ("xaybz", "ab", "ab"),
        ("bc", "abc", ""),
    ],
)
def test_by_hand(before: str, now: str, expected: str) -> None:
    assert "".join(rooted_common(before, now)) == expected


@given(st.permutations("abcdef"), st.permutations("abcdefg"))
def test_it_is_as_long_as_the_longest_of_all_subsequences(now: list[str], before: list[str]) -> None:
    def is_in(chain: tuple[str, ...]) -> bool:
        return sorted(chain, key=before.index) == list(chain)

    all_ = [(now[0], *rest) for n in range(6) for rest in combinations(now[1:], n) if is_in((now[0], *rest))]
    found = rooted_common(before, now)
    assert tuple(found) in all_
    assert len(found) == max(map(len, all_))


def test_whatever_the_orders_it_ends_after_as_many_rounds_as_there_are_sets() -> None:
    for order in permutations("abcd"):
        left, rounds, before = list("dcba"), 0, list("abcd")
        while left:
            now = [one for one in order if one in left]
            gone = rooted_common(before, now)
            left, before, rounds = [one for one in now if one not in gone], now[::-1], rounds + 1
        assert rounds <= 4
