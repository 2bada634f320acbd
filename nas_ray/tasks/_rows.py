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
    ids: Sequence[int]
    type_ids: Sequence[int]
    target: Any
    is_cut: bool
    """Whether its text is longer than the row."""
    extra: NDArray[np.int32] | None = None
    """A number, or several, for each token."""


def padded(rows: Sequence[Any], value: int, dtype: Any) -> NDArray[Any]:
    """``(rows, tokens, ...)``: rows of different length side by side, filled up at the end."""
    width = max(map(len, rows))
    first = np.asarray(rows[0])
    found = np.full((len(rows), width, *first.shape[1:]), value, dtype=dtype)
    for number, row in enumerate(rows):
        found[number, : len(row)] = row
    return found
