"""How fast the supernet of a block trains and is scored, on a CPU or on one GPU.

    python benchmarks/supernet.py step     a step on a path of the supernet against the plain module of that path
    python benchmarks/supernet.py score    the prefix pass against path by path, and what the arithmetic allows
    python benchmarks/supernet.py full     all 97,650 paths of a NAS-BERT block
    python benchmarks/supernet.py train    tokens/s of supernet training under a BERT-base teacher

Needs torch, transformers, numpy, pyarrow and this checkout (``PYTHONPATH=.`` where it is not installed). Unless
``--teacher FOLDER`` and ``--text IDS.npy`` (token ids, ``(sequences, tokens)``) are given, a randomly initialised BERT
reads random tokens, which changes nothing of how long things take. Each result is a row, and a JSON line of ``--out``.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median, quantiles

import numpy as np
import torch
from _setting import MINILM_SMALL, NAS_BERT, RIDGES, STEPS, Flops, Setting
from torch import Tensor, nn

from nas_ray.blocks import BlockSupernet
from nas_ray.distill import Schedule, Trainer, normalised_mse, step_paths, stratified_sample
from nas_ray.measure import ScoreSets, score_paths
from nas_ray.space import Path, parse_path

_STEP_PATHS = (
    "384:M12-F4-M12-F4",
    "384:M12-F4",
    "192:M6-F4",
    "192:S3-M6-S5",
    "128:M4-F4-M4-F4",
    "384:S3-M12-S5",
)


def step(setting: Setting) -> None:
    """Each path in turn: its step in the supernet and in a plain module alternate; the ratio is that of pairs."""
    args = setting.args
    teacher = setting.teacher(STEPS, 384, 6)
    inputs, targets = setting.boundary(teacher, args.batch)
    for precision in args.precision:
        for name in _STEP_PATHS:
            path = parse_path(name, STEPS.head_size)
            supernet = setting.supernet(STEPS, teacher.shape.hidden)
            enter, leave = supernet.maps(path)
            plain = copy.deepcopy(nn.Sequential(enter, *supernet.path_operations(path), leave))
            pairs = _paired_steps(
                setting, precision, (supernet, partial(supernet, path=path)), (plain, plain), inputs, targets
            )
            ratios = [a / b for a, b in pairs]
            low, middle, high = quantiles(ratios, n=4)
            tokens = inputs.shape[0] * inputs.shape[1]
            setting.result(
                path=name,
                precision=precision,
                supernet_tokens_s=tokens / median(a for a, _ in pairs),
                plain_tokens_s=tokens / median(b for _, b in pairs),
                ratio=middle,
                quartiles=[round(low, 3), round(high, 3)],
            )


Side = tuple[nn.Module, Callable[[Tensor], Tensor]]  # what is trained, and its forward pass


def _paired_steps(
    setting: Setting, precision: str, supernet: Side, plain: Side, inputs: Tensor, targets: Tensor
) -> list[tuple[float, float]]:
    """Seconds of ``--repeats`` steps of each side, which takes turns to be first."""
    sides, variance = (supernet, plain), float(targets.var())
    trainers = [_trainer(module, precision, setting.device) for module, _ in sides]
    pairs = []
    for number in range(setting.args.repeats + 2):
        seconds = [0.0, 0.0]
        for side in (0, 1) if number % 2 else (1, 0):
            loss = partial(_loss, sides[side][1], inputs, targets, variance)
            seconds[side] = setting.seconds(partial(trainers[side].step, number, [loss]))
        pairs.append((seconds[0], seconds[1]))
    return pairs[2:]  # the first two warm up


def _loss(forward: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor, variance: float) -> Tensor:
    return normalised_mse(forward(inputs), targets, None, variance)


def _trainer(module: nn.Module, precision: str, device: str) -> Trainer:
    schedule = Schedule(peak=1e-4, steps=1000, warmup=0.1)
    return Trainer(module, schedule, weight_decay=0.01, clip=1.0, precision=precision, device=device)


def score(setting: Setting) -> None:
    """The quickstart's space: speed-up of the prefix pass over path by path, and what FLOPs would allow."""
    args, space = setting.args, MINILM_SMALL
    paths = [path for path in space.paths if path.width in args.widths]
    chosen = stratified_sample(paths, args.sample or len(paths), args.seed)
    teacher = setting.teacher(space, 384, 6)
    sets = setting.sets(teacher, [count // args.sequence_length for count in args.tokens])
    flops = Flops(space, teacher.shape.hidden, sets.fit.inputs.shape[1])
    sequences = sum(len(states.inputs) for states in sets.all)
    refits = {width: flops.refit(width, sets) for width in space.widths}
    whole = flops.run(paths, sequences) + sum(refits[path.width] for path in paths)
    part = flops.run(chosen, sequences) + sum(refits[path.width] for path in chosen)
    tree = flops.run_tree(paths, sequences) + sum(refits[path.width] for path in paths)
    supernet = setting.supernet(space, teacher.shape.hidden)
    for precision in args.precision:
        race = _Race(setting, supernet, sets, paths, chosen, precision)
        race.run()
        alone = race.alone_seconds * whole / part
        setting.result(
            space=space.name,
            precision=precision,
            paths=len(paths),
            tree_s=race.tree_seconds,
            alone_s=alone,
            measured_alone=len(chosen),
            speed_up=alone / race.tree_seconds,
            bound=whole / tree,
            share=alone / race.tree_seconds / (whole / tree),
            tree_gflops_s=tree / race.tree_seconds / 1e9,
            largest_difference=race.largest_difference,
        )


class _Race:
    """The prefix pass over ``paths``; between them those ``chosen`` are scored alone, in the same moments."""

    def __init__(
        self,
        setting: Setting,
        supernet: BlockSupernet,
        sets: ScoreSets,
        paths: list[Path],
        chosen: list[Path],
        precision: str,
    ) -> None:
        self.setting, self.supernet, self.sets, self.paths, self.chosen = setting, supernet, sets, paths, chosen
        self.score = partial(score_paths, supernet, sets=sets, ridges=RIDGES, precision=precision)
        self.tree_seconds = self.alone_seconds = self.pause = 0.0
        self.losses: dict[str, float] = {}
        self.largest_difference = 0.0

    def run(self) -> None:
        """Both sides, once."""
        self.score(self.chosen[:1])  # warms up
        # What a call costs before its first path: path by path would pay it once.
        self.setup = min(self.setting.seconds(lambda: self.score([])) for _ in range(3))
        began = self.setting.now()
        found = self.score(self.paths, parents=self.setting.args.parents, progress=self._interrupt)
        self.tree_seconds = self.setting.now() - began - self.pause
        self.largest_difference = max(abs(found[name] - loss) for name, loss in self.losses.items())

    def _interrupt(self, done: int) -> None:
        began = self.setting.now()
        while len(self.losses) < len(self.chosen) * done // len(self.paths):
            path = self.chosen[len(self.losses)]
            self.alone_seconds += self.setting.seconds(lambda: self.losses.update(self.score([path]))) - self.setup  # noqa: B023
        self.pause += self.setting.now() - began


def full(setting: Setting) -> None:
    """All paths of a block of NAS-BERT's space at ``--widths``, or whole subtrees of as many as ``--limit`` paths."""
    args, space = setting.args, NAS_BERT
    count = args.tokens // args.sequence_length
    held_out, select = max(1, count // 8), max(1, count // 4)
    teacher = setting.teacher(space, 768, 12)
    sets = setting.sets(teacher, [count - held_out - select, held_out, select])
    supernet = setting.supernet(space, teacher.shape.hidden)
    every = [path for path in space.paths if path.width in args.widths]
    paths = every if args.limit is None else _subtrees(every, args.limit, args.seed)
    for precision in args.precision:
        score = partial(score_paths, supernet, sets=sets, ridges=RIDGES, precision=precision)
        score(paths[:2])  # warms up
        seconds = setting.seconds(
            lambda: score(  # noqa: B023
                paths,
                memory_bytes=args.memory_bytes,
                parents=args.parents,
                progress=_Progress(setting, len(paths)),
            )
        )
        setting.result(
            precision=precision,
            tokens=sum(states.num_tokens for states in sets.all),
            paths=len(paths),
            seconds=seconds,
            widths=args.widths,
            all_paths_s=seconds * len(every) / len(paths),
            peak_mib=setting.peak_mib(),
        )


class _Progress:
    """A line every half minute."""

    def __init__(self, setting: Setting, total: int) -> None:
        self.setting, self.total = setting, total
        self.began = self.last = setting.now()

    def __call__(self, done: int) -> None:
        now = self.setting.now()
        if now - self.last > 30:
            self.last = now
            print(f"  {done:,} of {self.total:,} paths, {now - self.began:,.0f} s", flush=True)


def _subtrees(paths: Sequence[Path], limit: int, seed: int) -> list[Path]:
    """Subtrees of the largest size that fits, as many of every width, of ``limit`` paths or a little fewer."""
    widths = sorted({path.width for path in paths})
    share, rng = max(1, limit // len(widths)), np.random.default_rng(seed)
    found: list[Path] = []
    for width in widths:
        same = [path for path in paths if path.width == width]
        for depth in range(1, 1 + max(path.depth for path in same)):
            roots = [path.operations for path in same if path.depth == depth]
            size = sum(path.operations[:depth] == roots[0] for path in same)
            if size <= share:
                break
        picked = {roots[i] for i in rng.permutation(len(roots))[: share // size]}
        found += [path for path in same if path.operations[:depth] in picked]
    return found


def train(setting: Setting) -> None:
    """Steps under BERT-base: the teacher's slice on a batch, then an update on ``--paths-per-step`` paths."""
    args, space = setting.args, NAS_BERT
    teacher = setting.teacher(space, 768, 12)
    inputs, targets = setting.boundary(teacher, args.batch)
    hidden, variance = teacher.shape.hidden, float(targets.var())
    supernet, block = setting.supernet(space, hidden), teacher.blocks[1].to(setting.device)
    flops = Flops(space, hidden, inputs.shape[1])
    for precision in args.precision:
        trainer = _trainer(supernet, precision, setting.device)
        forward = partial(_teach, block, inputs, precision)
        seconds, work = {"teacher": 0.0, "train": 0.0}, 0.0
        for number in range(args.repeats + 3):
            drawn = step_paths(space.paths, args.paths_per_step, args.seed, 1, number, "depths")
            losses = [partial(_loss, partial(supernet, path=path), inputs, targets, variance) for path in drawn]
            teaching = setting.seconds(forward)
            training = setting.seconds(partial(trainer.step, number, losses))
            if number >= 3:  # those before warm up
                seconds["teacher"] += teaching
                seconds["train"] += training
                work += 3 * (flops.run(drawn, args.batch) + flops.leave(drawn, args.batch))  # backward counts twice
        tokens = args.repeats * args.paths_per_step * inputs.shape[0] * inputs.shape[1]
        peak = setting.matrix_peak(torch.bfloat16 if precision == "bf16" else torch.float32)
        setting.result(
            precision=precision,
            batch=args.batch,
            path_tokens_s=tokens / seconds["train"],
            tflops_s=work / seconds["train"] / 1e12,
            matrix_peak_tflops_s=peak / 1e12,
            share=work / seconds["train"] / peak,
            teacher_share=seconds["teacher"] / sum(seconds.values()),
            peak_mib=setting.peak_mib(),
        )


@torch.no_grad()
def _teach(block: nn.Module, inputs: Tensor, precision: str) -> Tensor:
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return block(inputs)  # type: ignore[no-any-return]


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    common.add_argument("--threads", type=int, default=1)
    common.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="cpu: this process's own time")
    common.add_argument("--precision", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    common.add_argument("--teacher", help="a folder that save_pretrained wrote")
    common.add_argument("--text", help="token ids in a .npy file")
    common.add_argument("--sequence-length", type=int, default=128)
    common.add_argument("--seed", type=int, default=0)
    common.add_argument("--out", help="a file to append JSON lines to")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("step", parents=[common], help="supernet against plain module")
    command.add_argument("--batch", type=int, default=32, help="sequences")
    command.add_argument("--repeats", type=int, default=11)

    command = commands.add_parser("score", parents=[common], help="prefix pass against path by path")
    command.add_argument("--tokens", type=int, nargs=3, default=[8064, 1152, 2048], help="to fit, hold out, select")
    command.add_argument("--widths", type=int, nargs="+", default=list(MINILM_SMALL.widths))
    command.add_argument("--sample", type=int, default=32, help="paths scored alone; 0: all")
    command.add_argument("--parents", type=int, help="prefixes extended at once")

    command = commands.add_parser("full", parents=[common], help="a whole NAS-BERT block")
    command.add_argument("--tokens", type=int, default=1024, help="in all three sets")
    command.add_argument("--limit", type=int, help="paths")
    command.add_argument("--widths", type=int, nargs="+", default=list(NAS_BERT.widths))
    command.add_argument("--parents", type=int, help="prefixes extended at once")
    command.add_argument("--memory-bytes", type=int, default=8 << 30)

    command = commands.add_parser("train", parents=[common], help="supernet training")
    command.add_argument("--batch", type=int, default=8, help="sequences")
    command.add_argument("--paths-per-step", type=int, default=4)
    command.add_argument("--repeats", type=int, default=20, help="steps")
    return parser


def main() -> None:
    """The command line."""
    args = _parser().parse_args()
    {"step": step, "score": score, "full": full, "train": train}[args.command](Setting(args))


if __name__ == "__main__":
    main()
