"""What a training step costs in a process as torch leaves it, and as ``nas_ray`` sets it up; results are equal.

    OMP_NUM_THREADS=1 python benchmarks/process.py memory     freed memory: given back, or kept
    OMP_NUM_THREADS=1 python benchmarks/process.py kernels    oneDNN's cache of compiled kernels: its own size, or ours

Steps by ``nas_ray.distill.Trainer``, in processes of their own, in turn. CPU seconds, so that other work on the
machine counts little. For memory a three-layer BERT of the embedded teacher's width reads texts of 28 tokens; for
kernels a path student of four widths reads texts of 20 to 79 tokens, as batches of single texts are padded to.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any
from unittest.mock import patch

WAYS = {"memory": ("given back", "kept"), "kernels": ("few", "many")}
STEPS = {"memory": (5, 30), "kernels": (80, 80)}  # before the clock starts, and then
_CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_TEXTS, _VOCABULARY = 32, 30522


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(WAYS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", help="measure one way in this process")
    chosen = parser.parse_args()
    if chosen.way:
        if chosen.way not in WAYS[chosen.what]:
            parser.error(f"found --way {chosen.way}; accepted for {chosen.what}: {' or '.join(WAYS[chosen.what])}")
        print(json.dumps(steps(chosen.what, chosen.way)))
        return
    ratios = []
    for _ in range(chosen.rounds):
        found = {way: measured(chosen.what, way) for way in WAYS[chosen.what]}
        before, after = found.values()
        assert before["loss"] == after["loss"], "the set-up changes no result"
        ratios.append(after["milliseconds"] / before["milliseconds"])
        print(json.dumps(found), flush=True)
    print(f"{' / '.join(reversed(WAYS[chosen.what]))}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def measured(what: str, way: str) -> dict[str, Any]:
    """What a new process finds."""
    command = [sys.executable, __file__, what, "--way", way]
    environment = {name: value for name, value in os.environ.items() if name != _CAPACITY}
    if way == "few":
        environment[_CAPACITY] = "1024"  # oneDNN's default
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    found: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return found


def steps(what: str, way: str) -> dict[str, Any]:
    """CPU milliseconds of a step, peak memory, page faults, and the last loss."""
    import torch

    from nas_ray._machine import keep_freed_memory
    from nas_ray.distill import Encoder, Schedule, Trainer, normalised_mse

    torch.manual_seed(0)
    student = Encoder(_bert() if what == "memory" else _path_student())
    keep = (lambda: False) if way == "given back" else keep_freed_memory
    with patch("nas_ray.distill._trainer.keep_freed_memory", keep):
        trainer = Trainer(student, Schedule(1e-3, 1000, 0.06), weight_decay=0.01, clip=1.0, precision="auto")
    before, count = STEPS[what]
    draw = random.Random(0)
    spent = last = 0.0
    for step in range(before + count):
        length = 28 if what == "memory" else draw.randrange(20, 80)
        ids, target = torch.randint(1000, 30000, (_TEXTS, length)), torch.randn(_TEXTS, length, 384)
        began = time.process_time()
        (last,) = trainer.step(step, [lambda ids=ids, target=target: normalised_mse(student(ids), target, None, 1.0)])
        spent += time.process_time() - began if step >= before else 0.0
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "milliseconds": round(spent / count * 1e3, 1), "peak_mib": usage.ru_maxrss // 1024,
        "page_faults": usage.ru_minflt, "loss": last,
    }  # fmt: skip


def _bert() -> Any:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=_VOCABULARY, hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=768
    )
    return BertModel(config, add_pooling_layer=False)


def _path_student() -> Any:
    """Three blocks, each at a width of its own, between maps to and from the teacher's."""
    from nas_ray.modeling import NasRayConfig, NasRayModel

    layers: list[dict[str, Any]] = []
    for width, ratio in ((192, 4), (256, 2), (320, 3)):
        layers += [
            {"kind": "map", "before": 384, "after": width},
            {"kind": "attention", "width": width, "heads": width // 32, "head_size": 32},
            {"kind": "feed_forward", "width": width, "ratio": ratio},
            {"kind": "map", "before": width, "after": 384},
        ]
    config = NasRayConfig(vocab_size=_VOCABULARY, embedding_size=384, layers=layers, start="inherit")
    return NasRayModel(config)


if __name__ == "__main__":
    main()
