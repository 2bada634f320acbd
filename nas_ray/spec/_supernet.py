"""How supernets are trained and shrunk."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from nas_ray.spec._frozen import Frozen


class Shrink(Frozen):
    """Progressive shrinking (NAS-BERT, section 3.2.2); `nas_ray/distill/_shrink.py` says what the paper leaves open."""

    mode: Literal["paths", "operations", "none"] = "paths"
    """`paths` removes the worst paths of each bin, `operations` the worst operations; `none` only evaluates."""
    bins: int = Field(10, ge=1)
    """Bins of paths by parameters and latency."""
    latency: Literal["at_most", "band", "ignore"] = "at_most"
    """Paths dropped at once: those slower than their bin; also those faster (`band`, as in the paper); or none."""
    epochs: int = Field(8, ge=1)
    """Epochs into which the training steps are divided."""
    warm_epochs: int = Field(3, ge=0)
    """Epochs before anything is removed."""
    sample: int = Field(2000, ge=1)
    """Paths evaluated a bin and epoch; with `operations` a block and epoch, 1000 if not given."""
    batches: int | None = Field(None, ge=1)
    """Selection batches that they are evaluated on; those of `tabulate` if not given."""
    keep: int = Field(10, ge=1)
    """Paths of a bin at which its shrinking stops; `operations` stop before fewer than bins x keep are left."""
    remove: float = Field(0.5, gt=0)
    """What goes, the worst first: below 1 a share, else a number, of the evaluated paths of a bin; with `operations`
    of the block's paths, 0.3 if not given."""
    stop: bool = False
    """Whether a block's training ends when nothing more will be removed."""

    @model_validator(mode="before")
    @classmethod
    def _by_mode(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("mode") == "operations":
            return {"sample": 1000, "remove": 0.3, **data}
        return data

    @model_validator(mode="after")
    def _check(self) -> Shrink:
        if self.remove > 1 and self.remove % 1:
            raise ValueError(f"remove is {self.remove:g}; accepted: a share below 1, or a whole number of paths")
        if self.warm_epochs >= self.epochs:
            raise ValueError(f"warm_epochs is {self.warm_epochs}, epochs is {self.epochs}; accepted: fewer than epochs")
        return self


class Supernet(Frozen):
    """Block-wise distillation by single-path sampling."""

    start: Literal["inherit", "scratch"] = "inherit"
    """`inherit`: weights from the teacher, maps at every seam; `scratch`: the papers' form and training."""
    basis: Literal["auto", "pca", "coordinates"] = "auto"
    """Hidden directions a narrow path inherits; `auto` chooses a block and width by held-out loss."""
    steps: int = Field(100, ge=0)
    """Training steps of each block, a batch each."""
    updates: int = Field(4, ge=1)
    """Optimizer updates of a step, each on an equal part of the batch and its own paths."""
    paths_per_update: int = Field(4, ge=1)
    """Paths of an update."""
    sampling: Literal["paths", "widths", "depths", "prefixes", "sandwich"] = "prefixes"
    """`paths`: uniform over paths, as in the paper; `widths`: widths in turn, then uniform; `depths`: widths in turn,
    uniform over depths, then over paths; `prefixes`: whole paths, every prefix learning with them; `sandwich`: like
    `depths`, and the largest and the smallest path of each width in turn."""
    learning_rate: float = Field(5e-4, gt=0)
    """Peak of the linear schedule at the teacher's hidden size."""
    rate_exponent: float = Field(1.5, ge=0)
    """The rate at a width is higher by (hidden / width) to this power; 0: the same at all widths."""
    warmup: float = Field(0.08, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where blocks train and score; with `cuda` each worker reserves a GPU, or an equal share if there are fewer."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast where the processor multiplies bf16, else fp32."""
    replicas: int = Field(1, ge=1)
    """Workers that train a block together, each on batches of its own; more than 1 need `cluster.executor: ray`."""
    steps_per_epoch: int | None = Field(None, ge=1)
    """Distinct batches before they repeat; all batches of the text if not given."""
    checkpoint_every: int = Field(25, ge=1)
    """Steps between checkpoints."""
    cache_bytes: int = Field(1_000_000_000, ge=0)
    """Disk each block may use for the teacher's hidden states of the first epoch."""
    sample_paths: int = Field(12, ge=1)
    """Stratified sample of paths whose refitted loss is followed during training."""
    evaluations: int = Field(2, ge=1)
    """How often that sample is evaluated after the start."""
    shrink: Shrink | None = None
    """Progressive shrinking, or none."""
