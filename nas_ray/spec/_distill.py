"""Short distillation of stitched students, and which of its hyperparameters are searched."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, log, prod
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from nas_ray.spec._frozen import Frozen


class Range(Frozen):
    """All numbers between two."""

    low: float = Field(gt=0)
    """Smallest value."""
    high: float = Field(gt=0)
    """Largest value."""
    log: bool = True
    """Whether equal ratios count alike, else equal differences."""

    @model_validator(mode="after")
    def _check(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g}, high is {self.high:g}; accepted: low below high")
        return self

    @property
    def middle(self) -> float:
        """Half way, to six digits."""
        half = exp((log(self.low) + log(self.high)) / 2) if self.log else (self.low + self.high) / 2
        return min(max(float(f"{half:.6g}"), self.low), self.high)


class Distill(Frozen):
    """The student's weights behind the embedding are trained towards the teacher's last hidden state.

    A hyperparameter that is given as a range or a list is searched beside the architecture: a candidate is then both.
    References, and what the solver proposes, have its middle.
    """

    steps: tuple[int, ...] = Field(min_length=1)
    """Cumulative training steps at which candidates are judged; the learning rate falls to 0 at the last."""
    learning_rate: float | Range = 2e-4
    """Peak of the linear schedule; a number, or `{low, high, log}`."""
    sequences: int | tuple[int, ...] = 8
    """Sequences of a training step; a number, or a list to choose from."""
    weight_decay: float | Range = 0.01
    """AdamW's decay; a number, or `{low, high, log}`."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast where the processor multiplies bf16, else fp32."""

    @field_validator("steps", mode="before")
    @classmethod
    def _steps(cls, found: Any) -> Any:
        listed = isinstance(found, list | tuple)
        if not listed or any(not isinstance(n, int) or isinstance(n, bool) for n in found):
            raise ValueError("accepted: a list of rising numbers of training steps, from 1")
        return found

    @field_validator("learning_rate", "weight_decay", mode="before")
    @classmethod
    def _number(cls, found: Any, about: ValidationInfo) -> Any:
        if isinstance(found, Range):
            return found
        if isinstance(found, dict):
            return _range(found)
        try:
            number = float(found)
        except (TypeError, ValueError):
            number = -1.0
        least = "above 0" if about.field_name == "learning_rate" else "from 0"  # at rate 0 nothing learns
        if isinstance(found, bool) or not 0 <= number < float("inf") or (number == 0 and least == "above 0"):
            raise ValueError(f"accepted: a number {least}, or low, high and log of a range")
        return number

    @field_validator("sequences", mode="before")
    @classmethod
    def _counts(cls, found: Any) -> Any:
        counts = found if isinstance(found, list | tuple) else [found]
        if not counts or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in counts):
            raise ValueError("accepted: a number from 1, or a list of them")
        if len(set(counts)) < len(counts):
            raise ValueError("accepted: a number from 1, or a list of different ones")
        return found

    @model_validator(mode="after")
    def _check(self) -> Distill:
        if not is_rising(self.steps):
            raise ValueError(f"steps are {list(self.steps)}; accepted: rising numbers of training steps, from 1")
        return self

    @property
    def searched(self) -> dict[str, Range | tuple[int, ...]]:
        """The hyperparameters that are searched, by name."""
        named = {name: getattr(self, name) for name in ("learning_rate", "sequences", "weight_decay")}
        return {name: value for name, value in named.items() if isinstance(value, Range | tuple)}

    @property
    def middle(self) -> dict[str, float | int]:
        """A value for each searched one."""
        return {
            name: value.middle if isinstance(value, Range) else sorted(value)[(len(value) - 1) // 2]
            for name, value in self.searched.items()
        }

    @property
    def num_combinations(self) -> float:
        """Of the searched ones' values; infinite where a range is among them, 1 if none is searched."""
        values = self.searched.values()
        return inf if any(isinstance(value, Range) for value in values) else prod(map(len, values))  # type: ignore[arg-type]

    @property
    def most_sequences(self) -> int:
        """The largest training step."""
        return max(self.sequences) if isinstance(self.sequences, tuple) else self.sequences


def _range(found: dict[str, Any]) -> Range:
    """Pydantic would report what is wrong with a range as if only numbers were accepted."""
    try:
        return Range.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        missing = first["type"] == "missing"
        what = "is missing" if missing else first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where + ': ' if where else ''}{what}; a range has low, high and log") from error


def equal_parts(steps: int, count: int) -> tuple[int, ...]:
    """The steps at which ``count`` equal parts of ``steps`` end; every step where there are fewer."""
    count = min(count, steps)
    return tuple(steps * number // count for number in range(1, count + 1))


def is_rising(numbers: Sequence[int]) -> bool:
    """Whether ``numbers`` rise from 1 or more."""
    return list(numbers) == sorted(set(numbers)) and all(number >= 1 for number in numbers)
