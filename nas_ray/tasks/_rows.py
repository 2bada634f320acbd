"""Rows of tokens as they come from a tokenizer, and as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Row:
    """One row of tokens."""

    example: int
    """Its number among those that were asked for."""
    ids: NDArray[np.int32]
    type_ids: NDArray[np.uint8]
    target: Any
    is_cut: bool
    """Whether its text is longer than the row."""
    extra: NDArray[np.int32] | None = None
    """A number, or several, for each token."""


def row_of(
    example: int, encoding: Any, target: Any, *, is_cut: bool | None = None, extra: NDArray[np.int32] | None = None
) -> Row:
    """The row that a tokenizer's ``encoding`` makes; if not said, it is cut where the encoding has something left."""
    ids = np.array(encoding.ids, dtype=np.int32)
    types = np.array(encoding.type_ids, dtype=np.uint8)
    return Row(example, ids, types, target, bool(encoding.overflowing) if is_cut is None else is_cut, extra)


def padded(rows: Sequence[Any], value: int, dtype: Any) -> NDArray[Any]:
    """``(rows, tokens, ...)``: rows of different length side by side, filled up at the end."""
    width = max(map(len, rows))
    first = np.asarray(rows[0])
    found = np.full((len(rows), width, *first.shape[1:]), value, dtype=dtype)
    for number, row in enumerate(rows):
        found[number, : len(row)] = row
    return found
