"""What the benchmarks of one block share: spaces, a teacher, hidden states, a clock, and where results go."""

from __future__ import annotations

import json
import resource
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from nas_ray.blocks import BlockSupernet
from nas_ray.measure import ScoreSets, States, flops_table
from nas_ray.modeling import Numerics
from nas_ray.space import OperationChoice, Path, PathSpace
from nas_ray.teacher import Teacher, cut, load_teacher, resolve_teacher

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_CONVOLUTIONS = tuple(OperationChoice("separable_conv", kernel=kernel) for kernel in (3, 5, 7))
_COARSE = (OperationChoice("attention"), OperationChoice("feed_forward"), *_CONVOLUTIONS)
_FINE = (
    OperationChoice("attention"),
    OperationChoice("attention", head_fraction=Fraction(1, 2)),
    *(OperationChoice("feed_forward", ratio=ratio) for ratio in (1, 2, 4)),
)

# As in search_spaces/, whose loader needs pydantic.
NAS_BERT = PathSpace("nas_bert", 4, 6, (128, 192, 256, 384, 512), 64, _COARSE, (512,))
MINILM_SMALL = PathSpace("minilm_small", 3, 4, (192, 256, 320, 384), 32, _FINE, (384,), alternate=True)
STEPS = PathSpace("steps", 3, 4, (128, 192, 384), 32, _COARSE, (384,))


class Setting:
    """One invocation: its options, and what follows from them."""

    def __init__(self, args: Namespace) -> None:
        self.args, self.device = args, str(args.device)
        torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)

    def teacher(self, space: PathSpace, hidden: int, layers: int) -> Teacher:
        """``--teacher``, or a random BERT, cut into the blocks of ``space``."""
        if self.args.teacher:
            return load_teacher(resolve_teacher(self.args.teacher), space.num_blocks)
        config = BertConfig(
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // space.head_size,
            intermediate_size=4 * hidden,
        )
        model: Any = BertModel(config, add_pooling_layer=False)
        return cut(model.eval().requires_grad_(False), space.num_blocks)

    def ids(self, vocabulary: int, sequences: int) -> Tensor:
        """Token ids ``(sequences, tokens)``, repeated where the text is too short."""
        if not self.args.text:
            return torch.randint(vocabulary, (sequences, self.args.sequence_length))
        text = np.load(self.args.text)[:, : self.args.sequence_length]
        return torch.from_numpy(np.resize(text, (sequences, text.shape[1])).astype(np.int64))

    @torch.no_grad()
    def boundary(self, teacher: Teacher, sequences: int, block: int = 1) -> tuple[Tensor, Tensor]:
        """Inputs and targets ``(sequences, tokens, hidden)`` of a block."""
        ids = self.ids(teacher.shape.vocab_size, sequences)
        found = []
        for at in range(0, sequences, 16):
            hidden = teacher.embedding.to(self.device)(ids[at : at + 16].to(self.device))
            for part in teacher.blocks[:block]:
                hidden = part.to(self.device)(hidden)
            found.append((hidden, teacher.blocks[block].to(self.device)(hidden)))
        inputs, targets = zip(*found, strict=True)
        return torch.cat(inputs), torch.cat(targets)

    def sets(self, teacher: Teacher, sequences: Sequence[int]) -> ScoreSets:
        """So many sequences to fit, to hold out and to select on."""
        whole = States(*self.boundary(teacher, sum(sequences)))
        fit, held_out, _ = sequences
        cuts = (0, fit, fit + held_out, sum(sequences))
        return ScoreSets(*(whole.slice(a, b) for a, b in pairwise(cuts)))

    def supernet(self, space: PathSpace, hidden: int) -> BlockSupernet:
        """With random weights."""
        return BlockSupernet(space, hidden, Numerics(), seed=self.args.seed).to(self.device)

    def now(self) -> float:
        """Seconds, once the device has done what it was given; ``--clock cpu`` leaves out what other processes took."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.process_time() if self.args.clock == "cpu" else time.perf_counter()

    def seconds(self, call: Callable[[], Any]) -> float:
        """How long ``call`` takes."""
        began = self.now()
        call()
        return self.now() - began

    def matrix_peak(self, dtype: torch.dtype) -> float:
        """Best rate of a large square matrix product, in FLOPs a second."""
        size = 8192 if self.device != "cpu" else 2048
        a, b = (torch.randn(size, size, device=self.device).to(dtype) for _ in range(2))
        return 2 * size**3 / min(self.seconds(lambda: a @ b) for _ in range(6))

    def peak_mib(self) -> int:
        """Most memory so far: of the GPU, or of this process."""
        if self.device != "cpu":
            return torch.cuda.max_memory_allocated() // 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)

    def result(self, **values: Any) -> None:
        """Print a row; append a line to ``--out``."""
        print("  ".join(f"{name} {_text(value)}" for name, value in values.items()), flush=True)
        if self.args.out:
            name = torch.cuda.get_device_name() if self.device != "cpu" else "cpu"
            about = {"benchmark": self.args.command, "device": name, "torch": torch.__version__}
            about |= {"threads": torch.get_num_threads(), "clock": self.args.clock}
            with FilePath(self.args.out).open("a", encoding="utf-8") as file:
                file.write(json.dumps(about | values) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


class Flops:
    """Floating-point operations of paths on so many sequences; a multiplication with an addition is two."""

    def __init__(self, space: PathSpace, hidden: int, length: int) -> None:
        self.hidden, self.length = hidden, length
        names = {f"{w}:{o.token}" for w, found in space.operations.items() for o in found}
        names |= {f"map:{a}-{b}" for w in space.widths for a, b in ((hidden, w), (w, hidden))}
        self.table = flops_table(names, space.head_size, length)

    def run(self, paths: Iterable[Path], sequences: int) -> float:
        """Maps in and operations, every path run whole."""
        names = [self._enter(path.width) for path in paths]
        names += [f"{path.width}:{operation.token}" for path in paths for operation in path.operations]
        return sequences * self.table.total(names)

    def run_tree(self, paths: Iterable[Path], sequences: int) -> float:
        """Maps in and operations, every prefix run once."""
        nodes = {(path.width, path.operations[:k]) for path in paths for k in range(1, path.depth + 1)}
        names = [self._enter(width) for width in {width for width, _ in nodes}]
        return sequences * self.table.total(names + [f"{width}:{prefix[-1].token}" for width, prefix in nodes])

    def leave(self, paths: Iterable[Path], sequences: int) -> float:
        """Maps out."""
        return sequences * self.table.total(f"map:{path.width}-{self.hidden}" for path in paths)

    def refit(self, k: int, sets: ScoreSets) -> float:
        """Half a Gram matrix (it is symmetric), cross moments, the strengths' solutions and errors, the outputs."""
        fit, held_out, select = (states.num_tokens for states in sets.all)
        d, tried = self.hidden, len(RIDGES)
        moments = (fit + held_out) * (k * k + 2 * k * d)
        solutions = 2 * k * k * d * (1 + tried) + tried * k**3 / 3
        if held_out <= k:  # then outputs are compared, not moments
            moments = fit * (k * k + 2 * k * d)
            errors = 2 * held_out * k * d * (1 + tried)
        else:
            errors = 2 * k * k * d * (1 + tried)
        return moments + solutions + errors + 2 * select * k * d

    def _enter(self, width: int) -> str:
        return f"map:{self.hidden}-{width}"
