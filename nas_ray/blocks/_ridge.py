"""Readouts in closed form: ridge regression towards a prior, its strength chosen on held-out tokens.

The error of many readouts follows from second moments, so that no output is written to choose among them. Products of
fp32 rows are summed in fp32 over a few thousand rows, then in fp64; the normal equations are solved in fp64.

Features and moments may have one leading dimension: a batch of problems with the same targets, solved together. What
has a column per target is stored target by target, as LAPACK wants right-hand sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_BLOCK = 96  # columns of a Gram matrix's upper triangle that a CPU computes at once
_SINGLE = 8192  # rows from which on a sum of products goes on in fp64
_LEAF = 100  # largest matrix that is inverted whole


@dataclass(frozen=True)
class TargetTile:
    """Targets of a tile of tokens ``(n, d)`` with their sums, which all features of these tokens share."""

    rows: Tensor
    total: Tensor
    square: float

    @classmethod
    def of(cls, rows: Tensor) -> TargetTile:
        """The tile of ``rows``."""
        return cls(rows, rows.sum(0, dtype=torch.float64), float(rows.double().square().sum()))


@dataclass
class Moments:
    """Second moments of features (with a constant 1 appended) and targets.

    ``gram`` ``(..., k + 1, k + 1)``, ``cross`` ``(..., k + 1, d)``, ``square`` the targets' sum of squares, ``count``
    tokens.
    """

    gram: Tensor
    cross: Tensor
    square: float
    count: int

    @classmethod
    def of(cls, features: Tensor, targets: Tensor, tile: int = 1024) -> Moments:
        """Moments of features ``(tokens, k)`` against targets ``(tokens, d)``."""
        return cls.over(zip(torch.split(features, tile), map(TargetTile.of, torch.split(targets, tile)), strict=True))

    @classmethod
    def over(cls, tiles: Iterable[tuple[Tensor, TargetTile]]) -> Moments:
        """Moments of tiles of features ``(..., n, k)``, of at least one, against tiles of targets ``(n, d)``."""
        found: Moments | None = None
        sums: _Sums | None = None
        for x, y in tiles:
            sums = sums or _Sums(x, y)
            sums.add(x, y)
            if sums.count >= _SINGLE:
                found, sums = sums.joined(found), None
        if sums is not None:
            found = sums.joined(found)
        assert found is not None
        return found

    def error(self, readout: Readout) -> Tensor:
        """Sum of squared errors of ``readout`` on these tokens; exact to about 1e-7 of ``square``."""
        weight = readout.stacked.mT
        slope = (weight @ self.gram).sub_(self.cross.mT, alpha=2)
        product: Tensor = torch.linalg.vecdot(weight.flatten(-2), slope.flatten(-2))
        return product + self.square


class _Sums:
    """Sums of products in fp32: the upper triangle of the Gram matrix in blocks, the cross moments by target."""

    def __init__(self, x: Tensor, y: TargetTile) -> None:
        lead, k, d = x.shape[:-2], x.shape[-1], y.rows.shape[1]
        self.gram, self.cross = x.new_zeros(*lead, k, k), x.new_zeros(*lead, d, k)
        self.total, self.target = x.new_zeros(*lead, k), torch.zeros_like(y.total)
        self.square, self.count = 0.0, 0

    def add(self, x: Tensor, y: TargetTile) -> None:
        k = x.shape[-1]
        block = k if x.is_cuda else _BLOCK  # a GPU does the whole product sooner than its parts
        for at in range(0, k, block):
            stop = min(k, at + block)
            _add_product(self.gram[..., at:stop, at:], x[..., at:stop].mT, x[..., at:])
        _add_product(self.cross, y.rows.T, x)
        self.total += x.new_ones(x.shape[-2]) @ x
        self.target += y.total
        self.square += y.square
        self.count += x.shape[-2]

    def joined(self, before: Moments | None) -> Moments:
        """These sums in fp64, with the constant, added to those ``before``."""
        k = self.gram.shape[-1]
        gram = self.gram.new_empty(*self.gram.shape[:-2], k + 1, k + 1, dtype=torch.float64)
        gram[..., :k, :k] = self.gram.triu_() + self.gram.triu(1).mT
        gram[..., :k, k] = gram[..., k, :k] = self.total
        gram[..., k, k] = self.count
        cross = torch.cat([self.cross.double(), self.target[:, None].expand(*self.cross.shape[:-1], 1)], -1).mT
        if before is None:
            return Moments(gram, cross, self.square, self.count)
        return Moments(gram + before.gram, cross + before.cross, self.square + before.square, self.count + before.count)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """``total += a @ b``; ``a`` may lack the leading dimension of the others."""
    if total.ndim == 2:
        total.addmm_(a, b)
    else:
        total.baddbmm_(a.expand(len(b), -1, -1), b)


@dataclass(frozen=True)
class Readout:
    """An affine map, ``stacked`` ``(..., k + 1, d)`` with the bias in the last row; the relative strength chosen."""

    stacked: Tensor
    strength: Tensor | float

    @property
    def weight(self) -> Tensor:
        """As ``nn.Linear`` has it: ``(..., d, k)``, fp32."""
        return self.stacked[..., :-1, :].mT.float().contiguous()

    @property
    def bias(self) -> Tensor:
        """``(..., d)``, fp32."""
        return self.stacked[..., -1, :].float()


class HeldOut(Protocol):
    """Tokens on which readouts are compared: ``Moments``, or ``Tokens`` where these are cheaper."""

    def error(self, readout: Readout) -> Tensor:
        """Sum of squared errors of ``readout``."""


@dataclass(frozen=True)
class Tokens:
    """Features ``(..., n, k)`` and targets ``(n, d)`` themselves: cheaper than moments for one readout, or where
    n < k."""

    features: Tensor
    targets: Tensor

    def error(self, readout: Readout) -> Tensor:
        """Sum of squared errors of ``readout``, never negative."""
        output = self.features @ readout.stacked[..., :-1, :].float()
        return output.add_(readout.bias[..., None, :]).sub_(self.targets).square_().sum((-2, -1))


def prior_of(weight: Tensor, bias: Tensor) -> Tensor:
    """An ``nn.Linear``'s weight and bias stacked as a prior ``(k + 1, d)`` in fp64."""
    return torch.cat([weight, bias[:, None]], 1).double().T


def fit_readout(fit: Moments, held_out: HeldOut, prior: Tensor, strengths: Sequence[float]) -> Readout:
    """Ridge towards ``prior``; of ``strengths`` (relative to the features' mean square) the best on ``held_out``.

    The bias is not shrunk. The prior itself is among the candidates, so a refit never loses to it on ``held_out``.
    """
    residual = fit.cross - (prior.mT @ fit.gram).mT
    tried = [float("inf"), *strengths]
    stacked = [prior.expand_as(residual), *(step.add_(prior) for step in _steps(fit.gram, residual, strengths))]
    errors = torch.stack([held_out.error(Readout(*each)) for each in zip(stacked, tried, strict=True)])
    best = errors.nan_to_num(nan=float("inf")).argmin(0)
    if best.numel() == 1:
        return Readout(stacked[int(best)], tried[int(best)])
    each = torch.arange(len(best), device=best.device)
    return Readout(torch.stack(stacked)[best, each], residual.new_tensor(tried)[best])


def _steps(gram: Tensor, residual: Tensor, strengths: Sequence[float]) -> Iterator[Tensor]:
    """What each strength adds to the prior; no number where the penalised Gram matrix is singular."""
    penalised = (_penalised(gram, strength) for strength in strengths)
    if gram.is_cuda:  # there torch solves the problems of a batch one by one, but multiplies them all at once
        yield from _inverse(torch.stack(list(penalised))) @ residual
        return
    for matrix in penalised:
        factor, failed = torch.linalg.cholesky_ex(matrix.mT)
        step = torch.cholesky_solve(residual, factor)
        if failed.any():
            step[failed > 0] = float("nan")
        yield step


def _penalised(gram: Tensor, strength: float) -> Tensor:
    found = gram.clone()
    diagonal = found.diagonal(dim1=-2, dim2=-1)
    scale = diagonal[..., :-1].mean(-1, keepdim=True)
    diagonal[..., :-1] += strength * scale
    diagonal[..., -1:] += 1e-9 * scale
    return found


def _inverse(matrix: Tensor) -> Tensor:
    """The inverse of symmetric positive definite matrices, by halves: nearly all of it is matrix products."""
    size = matrix.shape[-1]
    if size <= _LEAF:
        factor, _ = torch.linalg.cholesky_ex(matrix)
        eye = torch.eye(size, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
        root: Tensor = torch.linalg.solve_triangular(factor, eye, upper=False)
        return root.mT @ root
    at = size // 2
    first = _inverse(matrix[..., :at, :at])
    across: Tensor = first @ matrix[..., :at, at:]
    second = _inverse(matrix[..., at:, at:] - matrix[..., at:, :at] @ across)
    corner = -across @ second
    top = torch.cat([first - corner @ across.mT, corner], -1)
    return torch.cat([top, torch.cat([corner.mT, second], -1)], -2)
