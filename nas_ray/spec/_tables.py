"""What the lookup tables hold: latency, quality, and how truly they rank."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nas_ray.spec._frozen import Frozen


class Latency(Frozen):
    """The key of the latency table."""

    device: Literal["cpu", "cuda"] = "cpu"
    """What the student is to run on."""
    runtime: Literal["eager", "graph", "onnxruntime"] = "eager"
    """How the student is run; `graph`: replayed as a CUDA graph, as a server of fixed shapes would; `onnxruntime`: as
    an export to ONNX."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Number format."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; all cores if not given."""
    sequence_length: int = Field(128, ge=1)
    """Tokens a sequence."""
    batch_size: int = Field(1, ge=1)
    """Sequences a batch."""
    repeats: int = Field(20, ge=3)
    """Timings of each part, spread over rounds; the table holds their lower quartile."""
    check_models: int = Field(24, ge=4)
    """Whole models that the table is checked against: half fit the correction, half measure the error."""
    table: str | None = None
    """A latency table measured elsewhere by `nas-ray profile`, instead of measuring here."""

    @model_validator(mode="after")
    def _check(self) -> Latency:
        if self.runtime == "graph" and self.device != "cuda":
            raise ValueError("runtime is graph, device is cpu; accepted: graph with device cuda, or runtime eager")
        if self.runtime == "onnxruntime" and (self.device, self.dtype) != ("cpu", "fp32"):
            raise ValueError(
                f"runtime is onnxruntime, device is {self.device}, dtype is {self.dtype}; accepted: cpu and fp32"
            )
        return self


class Tabulate(Frozen):
    """The quality table."""

    ridges: tuple[Annotated[float, Field(ge=0)], ...] = Field((1e-4, 1e-3, 1e-2, 1e-1, 1.0), min_length=1)
    """Ridge strengths to choose from, relative to the mean square of the features."""
    tile_tokens: int = Field(1024, ge=64)
    """Tokens that one operation processes at once."""
    select_batches: int | None = Field(None, ge=1)
    """Selection batches that paths are scored on; all if not given."""
    max_paths: int | None = Field(None, ge=1)
    """Score at most this many paths a block, a stratified sample; all if not given."""
    size_exponent: float = Field(0.2, ge=0)
    """Paths are ranked by their loss times size to minus this power: training alone favours the large; 0: by loss."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the operations while paths are scored; readouts are refitted in fp32 and fp64 either way."""
    memory_bytes: int = Field(8_000_000_000, ge=0)
    """Memory of each block worker for prefixes that are extended at once on a GPU; a CPU extends one at a time."""


class Ranking(Frozen):
    """Stand-alone trainings of a few paths of each block: they say how truly the tables rank."""

    paths: int = Field(0, ge=0)
    """Paths of each block, a stratified sample; 0 leaves it out."""
    tokens: int = Field(300_000, ge=1)
    """Tokens that each path is trained on."""
    sequences: int = Field(4, ge=1)
    """Sequences of a training step; small batches serve a small budget best."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of the linear schedule at the teacher's hidden size; in proportion higher for narrower paths."""
