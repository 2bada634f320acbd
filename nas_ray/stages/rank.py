"""Stage 6, where the spec asks for it: stand-alone trainings of a few paths say how truly the tables rank."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_ray.distill import StandAlonePlan, prepare, stratified_sample
from nas_ray.errors import StageError
from nas_ray.space import parse_path
from nas_ray.stages._context import Context
from nas_ray.tables import QualityTable, Tau, kendall_tau, read_parquet, write_parquet

_TRIES = 20
_CLOSE = 0.1  # sizes that differ by no more are hard to tell apart by size
Task = tuple[int, str]


@dataclass(frozen=True)
class Ranking:
    """Kendall's tau of a score against stand-alone training, pooled over blocks, by block, and over close sizes."""

    pooled: Tau
    close: Tau
    blocks: tuple[float, ...]


def run(context: Context, paths: int | None = None) -> list[Path]:
    """Write ``tables/ranking.parquet`` for ``paths`` a block (the spec's number, if not given); nothing for 0."""
    count = context.spec.ranking.paths if paths is None else paths
    if not count:
        context.console.say("  not asked for (ranking.paths is 0; `nas-ray rank` does it for a finished run)")
        return []
    done = _done(context)
    tasks = [task for task in _tasks(context, count) if task not in done]
    total = len(done) + len(tasks)

    def tell(block: int, path_id: str, loss: float) -> None:
        done[block, path_id] = loss
        with _journal(context).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**_key(context), "block": block, "path_id": path_id, "loss": loss}) + "\n")
        context.console.progress(len(done), total, "stand-alone trainings")

    for _ in range(_TRIES):
        todo = [task for task in tasks if task not in done]
        if not todo:
            break
        _train(context, todo, tell)
    else:
        raise StageError("rank", "blocks were lost again and again; look at the Ray logs, then resume.")
    return [_write(context, done)]


def _tasks(context: Context, count: int) -> list[Task]:
    """The same paths for the same count; blocks in turn, so that all of them are at work."""
    table = QualityTable.read(context.path("tables/quality.parquet"))
    frozen = context.frozen_path_id()
    chosen = []
    for block, losses in enumerate(table.losses[1:]):
        known = [parse_path(path_id, context.space.head_size) for path_id in losses if path_id != frozen]
        for number, path in enumerate(stratified_sample(known, count, context.spec.seed + block)):
            chosen.append((number, block, path.path_id))
    return [(block, path_id) for _, block, path_id in sorted(chosen)]


def _train(context: Context, tasks: list[Task], tell: Callable[[int, str, float], None]) -> None:
    blocks, spec = context.blocks(), context.spec
    if not all(blocks.call("prepared")):
        prepare(blocks, context.texts.batches, context.texts.counts)
    batches = _num_batches(context)
    limit = batches * _batch_bytes(context)
    context.console.say(f"  {batches} batches of hidden states, {limit / 1e6:,.0f} MB of disk for each block")
    blocks.call("expect_standalone", limit)
    for index in range(batches):
        blocks.feed("standalone", index, context.texts.batches.batch("train", index))
        context.console.progress(index + 1, batches, "batches of hidden states")
    plan, start, seed = _plan(context), spec.supernet.start, spec.seed
    if not context.is_local:
        from nas_ray.cluster import RayBlocks, run_standalone

        assert isinstance(blocks, RayBlocks)
        run_standalone(blocks, tasks, plan, batches, start, seed, tell)
        return
    for block, path_id in tasks:
        loss = blocks.call_one(block, "train_standalone", path_id, plan, batches, start, seed)
        if loss is not None:
            tell(block, path_id, loss)


def _num_batches(context: Context) -> int:
    text = context.spec.text
    wanted: int = -(-context.spec.ranking.tokens // (text.batch_sequences * text.sequence_length))
    most: int = context.texts.batches.num_batches("train")
    return min(wanted, most)


def _batch_bytes(context: Context) -> int:
    """Input, target and mask of one block for a batch: two states in fp32 and a byte a token."""
    text = context.spec.text
    size: int = text.batch_sequences * text.sequence_length * (2 * 4 * context.shape.hidden + 1)
    return size


def _plan(context: Context) -> StandAlonePlan:
    ranking, text = context.spec.ranking, context.spec.text
    sequences = min(ranking.sequences, text.batch_sequences)
    steps = max(1, ranking.tokens // (sequences * text.sequence_length))
    return StandAlonePlan(steps, sequences, ranking.learning_rate)


# -- what is known -----------------------------------------------------------------------------------------------------


def _key(context: Context) -> dict[str, Any]:
    """What a stand-alone loss depends on beside the run: rows of another key do not count."""
    ranking = context.spec.ranking
    return {"tokens": ranking.tokens, "sequences": ranking.sequences, "learning_rate": ranking.learning_rate}


def _journal(context: Context) -> Path:
    return context.path("ranking.jsonl")


def _done(context: Context) -> dict[Task, float]:
    file, found = _journal(context), {}
    if file.is_file():
        text = file.read_text(encoding="utf-8")
        if not text.endswith("\n"):  # a kill tore the last line: the next one must not be glued to it
            file.write_text(text + "\n", encoding="utf-8")
        for line in text.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row.get("loss") is not None and all(row.get(name) == value for name, value in _key(context).items()):
                found[row["block"], row["path_id"]] = float(row["loss"])
    return found


def _write(context: Context, done: Mapping[Task, float]) -> Path:
    table = QualityTable.read(context.path("tables/quality.parquet"))
    rows = [(block, path_id) for block, path_id in sorted(done) if path_id in table.losses[block + 1]]
    columns: dict[str, list[Any]] = {
        "block": [block for block, _ in rows],
        "path_id": [path_id for _, path_id in rows],
        "params": [parse_path(path_id, context.space.head_size).num_params() for _, path_id in rows],
        "table_loss": [table.losses[block + 1][path_id] for block, path_id in rows],
        "score": [table.scores[block + 1][path_id] for block, path_id in rows],
        "standalone_loss": [done[row] for row in rows],
    }
    file = context.path("tables/ranking.parquet")
    write_parquet(file, columns, {"table": "ranking", "start": context.spec.supernet.start, **_key(context)})
    for name, ranking in rankings(context).items():
        context.console.say(f"  {name}: {describe(ranking)}")
    return file


def rankings(context: Context) -> dict[str, Ranking]:
    """How the table ranks, its losses alone, and parameter count, which it must beat; empty if none was measured."""
    file = context.path("tables/ranking.parquet")
    if not file.is_file():
        return {}
    columns, _ = read_parquet(file)

    def by_block(name: str, sign: float = 1.0) -> dict[int, list[float]]:
        found: dict[int, list[float]] = {}
        for block, value in zip(columns["block"], columns[name], strict=True):
            found.setdefault(block, []).append(sign * value)
        return found

    truth, sizes = by_block("standalone_loss"), by_block("params")
    scores = {"table": by_block("score"), "more parameters": by_block("params", -1.0)}
    if scores["table"] != (losses := by_block("table_loss")):
        scores = {"table": scores["table"], "loss alone": losses, "more parameters": scores["more parameters"]}
    return {
        name: Ranking(
            kendall_tau(score, truth),
            kendall_tau(score, truth, within=(sizes, _CLOSE)),
            tuple(kendall_tau({b: score[b]}, {b: truth[b]}).value for b in sorted(truth)),
        )
        for name, score in scores.items()
    }


def points(context: Context) -> tuple[tuple[tuple[float, float], ...], ...]:
    """(table loss, stand-alone loss) of every path that was trained alone, by block."""
    columns, _ = read_parquet(context.path("tables/ranking.parquet"))
    rows = list(zip(columns["block"], columns["table_loss"], columns["standalone_loss"], strict=True))
    return tuple(tuple((x, y) for block, x, y in rows if block == number) for number in range(context.space.num_blocks))


def describe(ranking: Ranking) -> str:
    """One line for people."""
    pooled, close = ranking.pooled, ranking.close
    return (
        f"Kendall's tau {pooled.value:.2f} [{pooled.low:.2f}, {pooled.high:.2f}] over {pooled.pairs} pairs, "
        f"{close.value:.2f} [{close.low:.2f}, {close.high:.2f}] over the {close.pairs} within {_CLOSE:.0%} of each "
        f"other's size; by block {', '.join(f'{tau:.2f}' for tau in ranking.blocks)}"
    )
