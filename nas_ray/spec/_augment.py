"""More training examples: the same texts with other words in the place of some."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nas_ray.spec._frozen import Frozen


class Augment(Frozen):
    """Words are replaced by what a model thinks near; the label stays."""

    copies: int = Field(1, ge=1)
    """New examples of each one."""
    ratio: float = Field(0.3, gt=0, le=1)
    """Share of the words that are replaced; of every text one at least."""
    by: Literal["embedding", "masked_lm"] = "embedding"
    """`embedding`: the nearest word vectors. `masked_lm`: what the model's head says of the hidden words."""
    candidates: int = Field(15, ge=1)
    """Words to draw from."""
    model: str | None = None
    """Whose words these are: a student's folder, an asset, a folder or a hub's name; the trained model if null."""
    seed: int = Field(0, ge=0)
    """Of what is replaced, and by what."""
