"""Slot 0: embeddings smaller than the teacher's, from the truncated SVD of its word vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from nas_ray.modeling import ReducedEmbedding


@torch.no_grad()
def reduced_embedding(words: Tensor, positions: Tensor, size: int, norm_eps: float) -> ReducedEmbedding:
    """An embedding of ``size`` in the word vectors' leading directions; past their ``d``, coordinates stay 0.

    ``words`` ``(vocab, d)``; ``positions`` ``(positions, d)`` is what the teacher adds at each position.
    """
    centre = words.mean(0)
    covariance = torch.cov(words.T.double())
    directions = torch.linalg.eigh(covariance).eigenvectors[:, -size:].float()
    embedding = ReducedEmbedding(len(words), len(positions), size, norm_eps)
    kept = directions.shape[1]
    for table, vectors in ((embedding.words, words - centre), (embedding.positions, positions + centre)):
        table.weight.zero_()
        table.weight[:, :kept] = vectors @ directions
    return embedding
