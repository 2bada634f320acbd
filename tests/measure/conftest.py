"""Published blocks of the tiny teacher, made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_ray.blocks import BlockSupernet, Inheritance, Layer
from nas_ray.modeling import Numerics
from nas_ray.space import PathSpace
from nas_ray.teacher import Teacher, activation, load_teacher, resolve_teacher, weights_of

SPLITS = {"calibrate": 48, "select": 16, "test": 16}


@pytest.fixture(scope="session")
def teacher_space(tiny_space: PathSpace) -> PathSpace:
    """The tiny space with four layers, so that it holds the teacher's own path."""
    return replace(tiny_space, num_layers=4)


@pytest.fixture(scope="session")
def tiny_teacher(tiny_teacher_dir: Path) -> Teacher:
    return load_teacher(resolve_teacher(str(tiny_teacher_dir)), 2)


@pytest.fixture(scope="session", params=[False, True], ids=["whole", "padded"])
def published(request: pytest.FixtureRequest, tiny_teacher: Teacher, teacher_space: PathSpace) -> list[dict[str, Any]]:
    """What block workers publish, from inherited supernets; with and without padding."""
    generator = torch.Generator().manual_seed(0)
    shape = tiny_teacher.shape
    ids = {s: torch.randint(5, shape.vocab_size, (n, 20), generator=generator) for s, n in SPLITS.items()}
    masks: dict[str, torch.Tensor | None] = dict.fromkeys(SPLITS)
    if request.param:
        masks = {s: torch.arange(20) < torch.randint(8, 21, (n, 1), generator=generator) for s, n in SPLITS.items()}
    with torch.no_grad():
        states = {s: tiny_teacher.hidden_states(ids[s], masks[s]) for s in SPLITS}
    numerics = Numerics(activation(tiny_teacher.config), 1e-12)
    blocks: list[dict[str, Any]] = []
    for number, block in enumerate(tiny_teacher.blocks):
        supernet = BlockSupernet(teacher_space, shape.hidden, numerics, seed=number)
        layers = [Layer(**vars(weights)) for weights in weights_of(block)]
        source = Inheritance(layers, states["calibrate"][number], masks["calibrate"], 16, numerics)
        for width in teacher_space.widths:
            source.initialise(supernet, teacher_space, width, source.basis(width, "pca"))
        blocks.append(
            {
                "weights": {name: tensor.numpy() for name, tensor in supernet.state_dict().items()},
                "targets": {s: states[s][number + 1].numpy() for s in SPLITS},
            }
        )
    blocks[0]["ids"] = {s: ids[s].numpy() for s in SPLITS}
    blocks[0]["embedded"] = {s: states[s][0].numpy() for s in SPLITS}
    blocks[0]["masks"] = {s: None if (m := masks[s]) is None else m.numpy() for s in SPLITS}
    return blocks
