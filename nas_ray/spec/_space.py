"""What may be built: space files, checked and turned into ``nas_ray.space`` objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nas_ray.errors import SpaceError
from nas_ray.space import EmbeddingRule, OperationChoice, PathSpace, UniformSpace
from nas_ray.spec._frozen import Frozen

Size = Annotated[int, Field(ge=1)]


class OperationSpec(Frozen):
    """One operation that a layer may take."""

    kind: Literal["attention", "feed_forward", "separable_conv"]
    """What it is."""
    head_fraction: str = "1"
    """Attention: share of the width's heads, such as 1/2."""
    ratio: int = Field(4, ge=1)
    """Feed-forward: inner size over width."""
    kernel: int = Field(3, ge=1)
    """Separable convolution: kernel size, odd."""
    units: int = Field(2, ge=1, le=2)
    """Separable convolution: stacked units."""

    @model_validator(mode="after")
    def _check(self) -> OperationSpec:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; accepted: an odd number")
        try:
            positive = Fraction(self.head_fraction) > 0
        except (ValueError, ZeroDivisionError):
            positive = False
        if not positive:
            raise ValueError(f"head_fraction is '{self.head_fraction}'; accepted: a fraction such as 1/2")
        return self

    def choice(self) -> OperationChoice:
        """The operation as the space knows it."""
        return OperationChoice(
            self.kind, Fraction(self.head_fraction), ratio=self.ratio, kernel=self.kernel, units=self.units
        )


class EmbeddingSpec(Frozen):
    """Embedding sizes."""

    sizes: tuple[Size, ...] = Field(min_length=1)
    """Sizes that an architecture may have."""
    by_encoder_params: dict[Size, int] | None = None
    """Rule instead of a choice: size → most encoder parameters; the largest size takes the rest."""

    @model_validator(mode="after")
    def _check(self) -> EmbeddingSpec:
        _distinct("sizes", self.sizes)
        bounds = sorted((self.by_encoder_params or {}).items())
        if others := [size for size, _ in bounds if size not in self.sizes]:
            raise ValueError(f"by_encoder_params names the size {others[0]}; accepted: the sizes {list(self.sizes)}")
        most = [bound for _, bound in bounds]
        if most != sorted(set(most)):
            raise ValueError(f"by_encoder_params gives the bounds {most}; accepted: larger bounds for larger sizes")
        return self

    def rule(self) -> EmbeddingRule | None:
        """The rule as the space knows it."""
        if self.by_encoder_params is None:
            return None
        bounds = sorted((most, size) for size, most in self.by_encoder_params.items())
        return EmbeddingRule(tuple(bounds), max(self.sizes))


class PathSpaceSpec(Frozen):
    """``kind: paths``."""

    name: str
    """Name of the space."""
    description: str = ""
    """One sentence for `nas-ray spaces`."""
    kind: Literal["paths"]
    """Blocks of layers."""
    blocks: int = Field(ge=1)
    """Blocks; the teacher's layers must be divisible by it."""
    layers: int = Field(ge=1)
    """Layers of a block."""
    widths: tuple[Size, ...] = Field(min_length=1)
    """Hidden sizes of a block."""
    head_size: int = Field(64, ge=1)
    """Size of an attention head."""
    operations: tuple[OperationSpec, ...] = Field(min_length=1)
    """What a layer may be, besides identity at a block's end."""
    alternate: bool = False
    """Whether neighbouring layers must differ in kind, as in a transformer."""
    embedding: EmbeddingSpec
    """Embedding sizes."""

    @model_validator(mode="after")
    def _check(self) -> PathSpaceSpec:
        _distinct("widths", self.widths)
        try:
            operations = self.build().operations
        except SpaceError as error:  # a width without a whole number of heads
            raise ValueError(str(error)) from error
        for width, found in operations.items():
            _distinct(f"operations (at width {width})", (operation.token for operation in found))
        return self

    def build(self) -> PathSpace:
        """The space."""
        return PathSpace(
            name=self.name,
            num_blocks=self.blocks,
            num_layers=self.layers,
            widths=tuple(sorted(self.widths)),
            head_size=self.head_size,
            choices=tuple(operation.choice() for operation in self.operations),
            embedding_sizes=tuple(sorted(self.embedding.sizes)),
            alternate=self.alternate,
            embedding_rule=self.embedding.rule(),
        )


class UniformSpaceSpec(Frozen):
    """``kind: uniform``."""

    name: str
    """Name of the space."""
    description: str = ""
    """One sentence for `nas-ray spaces`."""
    kind: Literal["uniform"]
    """Plain encoders."""
    depths: tuple[Size, ...] = Field(min_length=1)
    """Layers."""
    heads: tuple[Size, ...] = Field(min_length=1)
    """Attention heads."""
    hiddens: tuple[Size, ...] = Field(min_length=1)
    """Hidden sizes."""
    intermediates: tuple[Size, ...] = Field(min_length=1)
    """Feed-forward sizes."""

    @model_validator(mode="after")
    def _check(self) -> UniformSpaceSpec:
        for name in ("depths", "heads", "hiddens", "intermediates"):
            _distinct(name, getattr(self, name))
        if not self.build().architectures:
            raise ValueError("no hidden size is divisible by a number of heads; accepted: at least one pair that is")
        return self

    def build(self) -> UniformSpace:
        """The space."""
        return UniformSpace(self.name, self.depths, self.heads, self.hiddens, self.intermediates)


def _distinct(name: str, values: Iterable[object]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{name} lists {twice[0]} more than once; accepted: distinct values")
