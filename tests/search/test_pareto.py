"""Dominance against double loops, and closed forms of the hypervolume."""

from __future__ import annotations

import numpy as np
import pytest

from nas_ray.search import crowding, hypervolume, non_dominated, ranks


def slow_mask(values: np.ndarray) -> list[bool]:
    def beats(i: int, j: int) -> bool:
        no_worse = all(values[i] <= values[j])
        return no_worse and (any(values[i] < values[j]) or i < j)

    rows = [i for i in range(len(values)) if np.isfinite(values[i]).all()]
    return [i in rows and not any(beats(j, i) for j in rows if j != i) for i in range(len(values))]


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("levels", [2, 4, 50])
def test_non_dominated_equals_a_double_loop(columns: int, levels: int) -> None:
    rng = np.random.default_rng([columns, levels])
    for count in (0, 1, 2, 7, 40):
        values = rng.integers(levels, size=(count, columns)).astype(float)
        values[rng.random(values.shape) < 0.02] = np.nan
        values[rng.random(values.shape) < 0.02] = np.inf
        assert non_dominated(values).tolist() == slow_mask(values)


@pytest.mark.parametrize("columns", [3, 4])
def test_many_rows_equal_a_double_loop(columns: int) -> None:
    values = np.random.default_rng(0).integers(12, size=(2_500, columns)).astype(float)
    found = non_dominated(values)
    order = np.lexsort(values.T[::-1])  # a row is beaten, if at all, by a kept one
    slow = np.zeros(len(values), dtype=bool)
    for i in order:
        slow[i] = not (values[slow] <= values[i]).all(axis=1).any()
    assert (found == slow).all()


def test_first_of_equal_rows_stays() -> None:
    assert non_dominated(np.array([[2.0, 1.0], [1.0, 2.0], [2.0, 1.0], [1.0, 2.0]])).tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_ranks_peel_front_after_front() -> None:
    values = np.array([[1, 4], [4, 1], [2, 5], [5, 5], [1, 4], [np.nan, 0]], dtype=float)
    assert ranks(values).tolist() == [0, 0, 1, 2, 0, 3]
    assert ranks(np.zeros((0, 2))).tolist() == []


def test_crowding_in_closed_form() -> None:
    values = np.array([[0, 10], [1, 8], [4, 2], [10, 0], [np.nan, 1]], dtype=float)
    assert crowding(values).tolist() == [np.inf, 4 / 10 + 8 / 10, 9 / 10 + 8 / 10, np.inf, 0.0]
    assert crowding(np.array([[3.0, 3.0]])).tolist() == [np.inf]
    assert crowding(np.zeros((0, 2))).tolist() == []


def test_hypervolume_in_closed_form() -> None:
    assert hypervolume(np.array([[1.0]]), (4.0,)) == 3.0
    assert hypervolume(np.array([[1.0, 3.0], [2.0, 1.0], [2.0, 3.0]]), (4.0, 4.0)) == 3 + 6 - 2
    assert hypervolume(np.array([[0.0, 0.0, 0.0]]), (2.0, 3.0, 4.0)) == 24.0
    corners = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    assert hypervolume(corners, (2.0, 2.0, 2.0)) == 4.0
    assert hypervolume(np.zeros((0, 2)), (1.0, 1.0)) == 0.0
    assert hypervolume(np.array([[5.0, 0.0], [np.nan, 0.0], [1.0, 1.0]]), (1.0, 1.0)) == 0.0


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_hypervolume_counts_unit_cells(columns: int) -> None:
    rng = np.random.default_rng(columns)
    cells = np.stack(np.meshgrid(*[np.arange(5)] * columns, indexing="ij"), axis=-1).reshape(-1, columns)
    for count in (1, 3, 8):
        values = rng.integers(6, size=(count, columns)).astype(float)
        covered = (values[None] <= cells[:, None]).all(axis=2).any(axis=1).sum()
        assert hypervolume(values, (5.0,) * columns) == covered


def test_a_shape_without_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted"):
        non_dominated(np.zeros(3))
