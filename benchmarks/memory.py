"""What a training step costs where the process keeps the memory that it frees, and where it gives it back.

    OMP_NUM_THREADS=1 python benchmarks/memory.py

Steps of a three-layer BERT of the embedded teacher's width, 32 texts of 28 tokens, by ``nas_ray.distill.Trainer``, in
processes of their own, in turn. CPU seconds, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any
from unittest.mock import patch

STEPS = 30
WAYS = ("given back", "kept")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--way", choices=WAYS, help="measure one way in this process")
    chosen = parser.parse_args()
    if chosen.way:
        print(json.dumps(steps(chosen.way)))
        return
    ratios = []
    for _ in range(chosen.rounds):
        found = {way: measured(way) for way in WAYS}
        before, after = (found[way] for way in WAYS)
        assert before["loss"] == after["loss"], "memory changes no result"
        ratios.append(after["milliseconds"] / before["milliseconds"])
        print(json.dumps(found), flush=True)
    print(f"kept / given back: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def measured(way: str) -> dict[str, Any]:
    """What a new process finds."""
    command = [sys.executable, __file__, "--way", way]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return found


def steps(way: str) -> dict[str, Any]:
    """CPU milliseconds of a step, peak memory, page faults, and the last loss."""
    import torch
    from transformers import BertConfig, BertModel

    from nas_ray._machine import keep_freed_memory
    from nas_ray.distill import Encoder, Schedule, Trainer, normalised_mse

    torch.manual_seed(0)
    config = BertConfig(hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=768)
    student = Encoder(BertModel(config, add_pooling_layer=False))
    schedule = Schedule(1e-3, 1000, 0.06)
    kept = way == "kept"
    with patch("nas_ray.distill._trainer.keep_freed_memory", keep_freed_memory if kept else lambda: False):
        trainer = Trainer(student, schedule, weight_decay=0.01, clip=1.0, precision="auto")
    ids, target = torch.randint(1000, 30000, (32, 28)), torch.randn(32, 28, 384)

    def loss() -> torch.Tensor:
        return normalised_mse(student(ids), target, None, 1.0)

    for step in range(5):
        trainer.step(step, [loss])
    began = time.process_time()
    for step in range(5, 5 + STEPS):
        (last,) = trainer.step(step, [loss])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "milliseconds": round((time.process_time() - began) / STEPS * 1e3, 1), "peak_mib": usage.ru_maxrss // 1024,
        "page_faults": usage.ru_minflt, "loss": last,
    }  # fmt: skip


if __name__ == "__main__":
    main()
