"""Stage 2: every block's supernet learns to replace its slice of the teacher."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from nas_ray._files import write_text
from nas_ray.distill import train
from nas_ray.stages._context import Context

_WORK = {"training": "train", "teacher": "teacher", "evaluation": "evaluate"}  # as printed, as a worker counts it


def run(context: Context) -> list[Path]:
    """Train all blocks; writes checkpoints and ``supernet/blocks.json`` (curves and baselines)."""
    spec, console, started = context.spec, context.console, time.perf_counter()
    found = context.texts.counts
    for split, wanted in context.texts.wanted.items():
        if found[split] < wanted:
            console.say(
                f"  {split}: the text has {found[split]} batches, {wanted} were asked for; more text, more certainty"
            )
    console.say("  streaming the evaluation text, initialising the supernets")
    blocks = context.blocks()
    began, first = time.perf_counter(), min(blocks.call("position"))

    def progress(step: int, loss: float) -> None:
        tokens = (step - first) * spec.supernet.replicas * spec.text.batch_sequences * spec.text.sequence_length
        rate = tokens * spec.supernet.paths_per_update / max(1e-9, time.perf_counter() - began)
        console.progress(step, spec.supernet.steps, "steps", f"loss {loss:.3f}, {rate:,.0f} path tokens/s a block")

    train(
        blocks,
        context.texts.batches,
        steps=spec.supernet.steps,
        distinct=context.distinct_batches(),
        counts=context.texts.counts,
        in_flight=spec.cluster.max_in_flight,
        progress=progress,
    )
    histories = blocks.call("history")
    wall = time.perf_counter() - started
    records = [
        {**baseline, **history, "time": _shares(history["seconds"], wall)}
        for baseline, history in zip(context.baselines, histories, strict=True)
    ]
    for record in records:  # an epoch that evaluated nothing has no loss
        record["shrinking"] = [{k: None if v != v else v for k, v in epoch.items()} for epoch in record["shrinking"]]
    file = context.path("supernet/blocks.json")
    write_text(file, json.dumps(records, indent=1))
    for number, record in enumerate(records):
        curve = record["curve"]
        console.say(
            f"  block {number}: refitted loss of the sample {curve[0][1]:.4f} -> {curve[-1][1]:.4f} "
            f"(one linear layer {record['linear_loss']:.4f}); basis {record['basis']}"
        )
    means = {part: sum(record["time"][part] for record in records) / len(records) for part in records[0]["time"]}
    console.say("  time of the blocks: " + ", ".join(f"{part} {100 * share:.0f} %" for part, share in means.items()))
    checkpoints = [
        context.path(f"supernet/block-{block}/step-{spec.supernet.steps:08d}{suffix}")
        for block in range(blocks.num_blocks)
        for suffix in (".safetensors", ".json")
    ]
    return [file, *(path for path in checkpoints if path.is_file())]


def _shares(seconds: Mapping[str, float], wall: float) -> dict[str, float]:
    """What a block did with the stage's ``wall`` seconds; the rest it waited, for hidden states and other blocks."""
    busy = {name: seconds[kind] for name, kind in _WORK.items()}
    whole = max(wall, sum(busy.values()))
    return {name: value / whole for name, value in busy.items()} | {"waiting": 1 - sum(busy.values()) / whole}
