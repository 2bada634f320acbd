"""FLOPs against closed forms: 2 m n k for every product."""

from __future__ import annotations

import pytest

from nas_ray.measure import flops_table

TOKENS = 20


def expected(part: str, head_size: int = 16) -> float:
    kind, _, rest = part.partition(":")
    if kind == "embedding":
        return 0
    if kind == "map":
        a, b = map(int, rest.split("-"))
        return 2 * TOKENS * a * b
    width, number = int(kind), int(rest[1:].partition("x")[0])
    if rest.startswith("M"):
        inner = number * head_size
        return 2 * TOKENS * width * inner * 4 + 2 * 2 * TOKENS * TOKENS * inner
    if rest.startswith("F"):
        return 2 * 2 * TOKENS * width * number * width
    units = 1 if rest.endswith("x1") else 2
    return units * (2 * TOKENS * number * width + 2 * TOKENS * width * width)


@pytest.mark.parametrize(
    "part",
    [
        "embedding:64",
        "map:64-32",
        "map:32-64",
        "32:M2",
        "64:M4",
        "64:M1",
        "32:F1",
        "64:F4",
        "32:S3",
        "64:S7",
        "64:S5x1",
    ],
)
def test_closed_forms(part: str) -> None:
    table = flops_table([part], 16, TOKENS)
    assert table.values[part] == expected(part)
    assert table.metadata["sequence_length"] == TOKENS


def test_a_model_costs_its_parts() -> None:
    parts = ["embedding:64", "map:64-32", "32:M2", "32:F4", "map:32-64"]
    assert flops_table(parts, 16, TOKENS).total(parts) == sum(map(expected, parts))
