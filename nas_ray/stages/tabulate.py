"""Stage 3: the quality table: every remaining path of every block, and every embedding size."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from nas_ray.distill import stratified_sample
from nas_ray.measure import split_calibration
from nas_ray.space import parse_path, references
from nas_ray.stages._context import Context
from nas_ray.tables import QualityTable, size_scores

_CHUNKS = 8


def run(context: Context) -> list[Path]:
    """Write ``tables/quality.parquet``."""
    blocks, space = context.blocks(), context.space
    remaining: list[list[str]] = blocks.call("remaining")
    chosen = [_chosen(context, ids) for ids in remaining]
    losses: list[dict[str, float]] = [{} for _ in chosen]
    rounds = [_chunks(ids) for ids in chosen]
    total = sum(len(ids) for ids in chosen)
    for number in range(_CHUNKS):
        ids = [chunks[number] for chunks in rounds]
        for block, scores in enumerate(context.settled(partial(blocks.score_each, ids))):
            losses[block].update(scores)
        context.console.progress(sum(map(len, losses)), total, "paths")
    frozen = context.frozen_path_id()
    if frozen is not None and context.spec.supernet.start == "inherit":
        for found in losses:
            found[frozen] = 0.0  # always a candidate: the teacher's own block stands there, frozen
    sizes, positions = list(space.embedding_sizes), context.shape.num_positions
    (embeddings,) = context.settled(lambda: [blocks.call_one(0, "score_embeddings", sizes, positions)])
    exponent = context.spec.tabulate.size_exponent
    scores = [size_scores(found, _params(context, found), exponent) for found in losses]
    table = QualityTable((embeddings, *losses), _metadata(context, remaining, chosen, frozen), (embeddings, *scores))
    file = context.path("tables/quality.parquet")
    table.write(file)
    context.console.say(f"  {total} paths scored; {table.metadata['guarantee']}")
    return [file]


def _chosen(context: Context, remaining: list[str]) -> list[str]:
    most = context.spec.tabulate.max_paths
    if most is None or len(remaining) <= most:
        return remaining
    left = set(remaining)
    paths = [path for path in context.space.paths if path.path_id in left]
    sample = {path.path_id for path in stratified_sample(paths, most, context.spec.seed)}
    sample |= {path.path_id for path in references(context.space, context.shape).values()}
    return [path.path_id for path in paths if path.path_id in sample]


def _params(context: Context, path_ids: Iterable[str]) -> dict[str, float]:
    head_size = context.space.head_size
    return {path_id: float(parse_path(path_id, head_size).num_params()) for path_id in path_ids}


def _chunks(ids: list[str]) -> list[list[str]]:
    """Consecutive parts of about equal size; neighbours share prefixes."""
    return [ids[len(ids) * k // _CHUNKS : len(ids) * (k + 1) // _CHUNKS] for k in range(_CHUNKS)]


def _metadata(
    context: Context, remaining: list[list[str]], chosen: list[list[str]], frozen: str | None
) -> dict[str, Any]:
    spec, counts = context.spec, context.texts.counts
    batch_tokens = spec.text.batch_sequences * spec.text.sequence_length
    sequences = counts["calibrate"] * spec.text.batch_sequences
    fit_tokens = split_calibration(sequences) * spec.text.sequence_length
    select_batches = min(spec.tabulate.select_batches or counts["select"], counts["select"])
    whole = all(len(ids) == len(context.space.paths) for ids in remaining)
    sampled = any(len(a) < len(b) for a, b in zip(chosen, remaining, strict=True))
    if sampled:
        guarantee = "exact over the scored sample of paths"
    else:
        guarantee = "exact over the whole space" if whole else "exact over the paths that survived shrinking"
    return {
        "refitted": True,
        "fit_tokens": fit_tokens,
        "ridge_tokens": counts["calibrate"] * batch_tokens - fit_tokens,
        "select_tokens": select_batches * batch_tokens,
        "precision": spec.tabulate.precision,
        "size_exponent": spec.tabulate.size_exponent,
        "frozen": frozen,
        "start": spec.supernet.start,
        "guarantee": guarantee,
    }
