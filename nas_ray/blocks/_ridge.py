"""Readouts in closed form: ridge regression towards a prior, its strength chosen on held-out tokens.

The error of many readouts follows from second moments, so that no output is written to choose among them. Moments
are summed in fp64 over fp32 tiles; the normal equations are solved in fp64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_BLOCK = 96  # columns of a Gram matrix's upper triangle computed at once


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

    ``gram`` ``(k + 1, k + 1)``, ``cross`` ``(k + 1, d)``, ``square`` the targets' sum of squares, ``count`` tokens.
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
        """Moments of tiles of features ``(n, k)``, of at least one, against tiles of targets."""
        found: Moments | None = None
        for x, y in tiles:
            found = found or cls._zeros(x.shape[1], y.rows)
            found._add(x, y)
        assert found is not None
        k = len(found.gram) - 1
        found.gram[:k, :k] += found.gram[:k, :k].triu(1).T  # only the upper triangle was summed
        found.gram[k, :k] = found.gram[:k, k]
        return found

    @classmethod
    def _zeros(cls, k: int, like: Tensor) -> Moments:
        gram = torch.zeros(k + 1, k + 1, dtype=torch.float64, device=like.device)
        return cls(gram, gram.new_zeros(k + 1, like.shape[1]), 0.0, 0)

    def _add(self, x: Tensor, y: TargetTile) -> None:
        k = x.shape[1]
        for at in range(0, k, _BLOCK):
            stop = min(k, at + _BLOCK)
            product = x[:, at:stop].T @ x[:, at:]
            self.gram[at:stop, at:stop] += product[:, : stop - at].triu()
            self.gram[at:stop, stop:k] += product[:, stop - at :]
        self.gram[:k, k] += x.new_ones(len(x)) @ x
        self.gram[k, k] += len(x)
        self.cross[:k] += x.T @ y.rows
        self.cross[k] += y.total
        self.square += y.square
        self.count += len(x)

    def error(self, readout: Readout) -> float:
        """Sum of squared errors of ``readout`` on these tokens; exact to about 1e-7 of ``square``."""
        weight = readout.stacked
        return float((weight * (self.gram @ weight)).sum() - 2 * (weight * self.cross).sum()) + self.square


@dataclass(frozen=True)
class Readout:
    """An affine map, ``stacked`` ``(k + 1, d)`` with the bias in the last row, and the relative strength chosen."""

    stacked: Tensor
    strength: float

    @property
    def weight(self) -> Tensor:
        """As ``nn.Linear`` has it: ``(d, k)``, fp32."""
        return self.stacked[:-1].T.float().contiguous()

    @property
    def bias(self) -> Tensor:
        """``(d,)``, fp32."""
        return self.stacked[-1].float()


class HeldOut(Protocol):
    """Tokens on which readouts are compared: ``Moments``, or ``Tokens`` where these are cheaper."""

    def error(self, readout: Readout) -> float:
        """Sum of squared errors of ``readout``."""


@dataclass(frozen=True)
class Tokens:
    """Features ``(n, k)`` and targets ``(n, d)`` themselves: cheaper than moments for one readout, or where n < k."""

    features: Tensor
    targets: Tensor

    def error(self, readout: Readout) -> float:
        """Sum of squared errors of ``readout``, never negative."""
        output = torch.addmm(readout.bias, self.features, readout.stacked[:-1].float())
        return float((output - self.targets).square_().sum())


def prior_of(weight: Tensor, bias: Tensor) -> Tensor:
    """An ``nn.Linear``'s weight and bias stacked as a prior ``(k + 1, d)`` in fp64."""
    return torch.cat([weight.T, bias[None]]).double()


def fit_readout(fit: Moments, held_out: HeldOut, prior: Tensor, strengths: Sequence[float]) -> Readout:
    """Ridge towards ``prior``; of ``strengths`` (relative to the features' mean square) the best on ``held_out``.

    The bias is not shrunk. The prior itself is among the candidates, so a refit never loses to it on ``held_out``.
    """
    best = Readout(prior, float("inf"))
    least = held_out.error(best)
    k = len(fit.gram) - 1
    scale = float(fit.gram.diagonal()[:k].mean()) if k else 1.0
    residual = fit.cross - fit.gram @ prior
    for strength in strengths:
        penalised = fit.gram.clone()
        penalised.diagonal()[:k] += strength * scale
        penalised.diagonal()[k] += 1e-9 * scale
        factor, failed = torch.linalg.cholesky_ex(penalised)
        if int(failed):
            continue
        candidate = Readout(prior + torch.cholesky_solve(residual, factor), strength)
        error = held_out.error(candidate)
        if error < least:
            best, least = candidate, error
    return best
