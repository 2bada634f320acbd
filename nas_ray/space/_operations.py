"""Candidate operations and their sizes (NAS-BERT, table 1 and appendix A.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from nas_ray.errors import SpaceError

Kind = Literal["attention", "feed_forward", "separable_conv"]

_NUMBER = "[1-9][0-9]*"
_TOKEN = re.compile(rf"M(?P<heads>{_NUMBER})|F(?P<ratio>{_NUMBER})|S(?P<kernel>{_NUMBER})(?:x(?P<units>{_NUMBER}))?")


@dataclass(frozen=True, order=True)
class Operation:
    """One operation, whatever its width: attention heads, feed-forward ratio, or kernel and units.

    The token is the canonical name: ``M6`` is attention with 6 heads, ``F4`` a feed-forward layer with inner
    size 4 x width, ``S5`` a separable convolution with kernel 5 in two units and ``S5x1`` in one.
    """

    kind: Kind
    heads: int = 0
    ratio: int = 0
    kernel: int = 0
    units: int = 0
    head_size: int = 64

    @cached_property
    def token(self) -> str:
        if self.kind == "attention":
            return f"M{self.heads}"
        if self.kind == "feed_forward":
            return f"F{self.ratio}"
        return f"S{self.kernel}" + ("" if self.units == 2 else f"x{self.units}")

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that its kind has, whatever the width."""
        if self.kind == "attention":
            return {"heads": self.heads, "head_size": self.head_size}
        return {"ratio": self.ratio} if self.kind == "feed_forward" else {"kernel": self.kernel, "units": self.units}

    def num_params(self, width: int) -> int:
        """All weights at ``width``, biases and LayerNorm included."""
        norm = 2 * width
        if self.kind == "attention":
            inner = self.heads * self.head_size
            return 3 * (width * inner + inner) + inner * width + width + norm
        if self.kind == "feed_forward":
            inner = self.ratio * width
            return width * inner + inner + inner * width + width + norm
        depthwise, pointwise = self.kernel * width + width, width * width + width
        return self.units * (depthwise + pointwise + norm)


def parse_operation(token: str, head_size: int) -> Operation:
    """The operation that ``token`` names.

    Raises:
        SpaceError: the token is none of M<heads>, F<ratio>, S<kernel>[x<units>], or its kernel is even.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise SpaceError(f"unknown operation '{token}'; accepted: M<heads>, F<ratio>, S<kernel>, S<kernel>x<units>.")
    if match["heads"]:
        return Operation("attention", heads=int(match["heads"]), head_size=head_size)
    if match["ratio"]:
        return Operation("feed_forward", ratio=int(match["ratio"]), head_size=head_size)
    if int(match["kernel"]) % 2 == 0:
        raise SpaceError(
            f"operation '{token}' has an even kernel; accepted: an odd one, which keeps the tokens' number."
        )
    return Operation("separable_conv", kernel=int(match["kernel"]), units=int(match["units"] or 2), head_size=head_size)
