"""Errors of tokens, added up by the document they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Errors = dict[int, tuple[float, int]]  # summed error and tokens by document


def errors_by_document(errors: NDArray[Any], documents: NDArray[Any]) -> Errors:
    """Sums and numbers of the tokens' ``errors`` by ``documents``, both ``(sequences, tokens)``; -1 is no document."""
    owner = documents.reshape(-1)
    kept = owner >= 0
    names, place = np.unique(owner[kept], return_inverse=True)
    sums, counts = np.bincount(place, errors.reshape(-1)[kept]), np.bincount(place)
    return {int(n): (float(s), int(c)) for n, s, c in zip(names, sums, counts, strict=True)}
