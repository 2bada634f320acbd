"""What a model learns of a task: the task's own loss, and the divergence from a teacher's scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_ray.distill._losses import NOT_HIDDEN, divergence
from nas_ray.student import HeadKind

OF_TOKENS: tuple[HeadKind, ...] = ("span", "token")  # heads that score every token
_NEVER = -1e4  # the score of what is not there


class TaskBatch(NamedTuple):
    """Rows of one training step: ids, mask and token types ``(rows, tokens)``, targets (see ``TaskRows``), the example
    of each row counted from 0, and the teacher's scores of them, if there is one."""

    ids: Tensor
    mask: Tensor
    types: Tensor | None
    targets: Tensor
    example: Tensor
    wanted: Tensor | None


def batch_parts(kind: HeadKind, batch: TaskBatch, most: int) -> list[tuple[TaskBatch, float]]:
    """``batch`` in parts of at most ``most`` tokens, padding counted, but of whole examples; and the weight of each
    part's loss: the mean of the weighted losses is the loss of the batch."""
    counts = torch.bincount(batch.example).tolist()
    starts, tokens = [0], 0
    for number, count in enumerate(counts):
        tokens += count * batch.ids.shape[1]
        if number > starts[-1] and tokens > most:
            starts.append(number)
            tokens = count * batch.ids.shape[1]
    if len(starts) == 1:
        return [(batch, 1.0)]
    ends, firsts = [*starts[1:], len(counts)], np.concatenate([[0], np.cumsum(counts)])
    found, sizes = [], []
    for start, end in zip(starts, ends, strict=True):
        rows = slice(int(firsts[start]), int(firsts[end]))
        part = {name: tensor[rows] for name, tensor in batch._asdict().items() if tensor is not None}
        part["example"] = part["example"] - start
        found.append(batch._replace(**part))
        sizes.append(int((part["targets"] != NOT_HIDDEN).sum()) if kind == "token" else end - start)
    told = [(part, size) for part, size in zip(found, sizes, strict=True) if size]  # one without labels has no loss
    return [(part, size * len(told) / sum(sizes)) for part, size in told]


def task_loss(kind: HeadKind, logits: Tensor, batch: TaskBatch) -> Tensor:
    """The mean over examples (rows of spans, labelled words) of cross-entropy in nats, or of the squared error of
    ratings. Of a choice it is that of all right options together; of spans the mean of begin and end, and where a head
    says whether there is an answer, its own is added."""
    logits = logits.float()
    if kind == "regression":
        return F.mse_loss(logits[:, 0], batch.targets.float())
    if kind == "choice":
        scores, right = (_by_example(found, batch.example) for found in (logits[:, 0], batch.targets.float()))
        among = torch.where(right > 0, scores, _NEVER)
        return (scores.logsumexp(1) - among.logsumexp(1)).mean()
    if kind == "span":
        begins, ends = _places(logits, batch.mask)
        total = (F.cross_entropy(begins, batch.targets[:, 0]) + F.cross_entropy(ends, batch.targets[:, 1])) / 2
        if logits.shape[-1] == 3:
            there = (batch.targets[:, 1] > 0).float()
            total = total + F.binary_cross_entropy_with_logits(logits[:, 0, 2], there)
        return total
    classes = logits.shape[-1]
    return F.cross_entropy(logits.reshape(-1, classes), batch.targets.reshape(-1), ignore_index=NOT_HIDDEN)


def teacher_loss(kind: HeadKind, logits: Tensor, batch: TaskBatch, temperature: float) -> Tensor:
    """The mean over the same of the divergence (nats) from the teacher's scores, times the temperature squared; of
    ratings the squared difference."""
    assert batch.wanted is not None, "there is a teacher"
    logits, wanted = logits.float(), batch.wanted.float()
    if kind == "regression":
        return F.mse_loss(logits, wanted)
    if kind == "choice":
        logits, wanted = (_by_example(found[:, 0], batch.example) for found in (logits, wanted))
    elif kind == "span":
        logits, wanted = (torch.cat(_places(found, batch.mask)) for found in (logits, wanted))
    elif kind == "token":
        there = batch.targets != NOT_HIDDEN
        logits, wanted = logits[there], wanted[there]
    return divergence(logits, wanted, temperature).mean()


def _by_example(values: Tensor, example: Tensor) -> Tensor:
    """Values of rows ``(rows,)`` as ``(examples, most rows of one)``; rows of one example stand together."""
    counts = torch.bincount(example)
    place = torch.arange(len(example), device=example.device) - (counts.cumsum(0) - counts)[example]
    found = values.new_full((len(counts), int(counts.max())), _NEVER)
    found[example, place] = values
    return found


def _places(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Scores ``(rows, tokens)`` of where answers begin and end; none of padding."""
    begins, ends = logits[..., :2].masked_fill(~mask[..., None], _NEVER).unbind(-1)
    return begins, ends
