"""Not of a run: several models are fine-tuned on several tasks in one way, and stand side by side."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from nas_ray._files import write_text
from nas_ray._machine import processor
from nas_ray.errors import SpecError
from nas_ray.measure import Timing, counted_flops, interleaved
from nas_ray.report import compared_markdown, write_compared_figure
from nas_ray.spec import Finetune
from nas_ray.stages._console import Console
from nas_ray.stages.tasks._augmentation import check_augment
from nas_ray.stages.tasks._data import check_trainable
from nas_ray.stages.tasks._inputs import TaskInputs
from nas_ray.stages.tasks._models import TaskModel, find_task_model, read_record
from nas_ray.stages.tasks._statistics import spread
from nas_ray.stages.tasks._trials import Workers
from nas_ray.stages.tasks.finetune import Finetuning, read_finetuned
from nas_ray.student import find_model
from nas_ray.tasks import Task

COMPARED, RECORD = "compared", "comparison.json"
_REPEATS, _TOKENS = 30, 128  # timings of each model, and the length of the text


@dataclass(frozen=True)
class NamedTask:
    """A task, and the command line's words that name it."""

    task: Task
    words: tuple[str, ...]


@dataclass(frozen=True)
class Comparing:
    """Every model on every task by one ``Finetune``; the ``teacher``, a model too, is fine-tuned first and teaches."""

    models: tuple[str, ...]
    tasks: tuple[NamedTask, ...]
    spec: Finetune
    storage: Path
    workers: Workers
    console: Console
    command: str
    teacher: str | None = None

    def run(self) -> Path:
        """The folder with ``comparison.json``, ``comparison.md`` and ``comparison.png``.

        Raises:
            SpecError: a model or a task is named twice. NasRayError: as ``Finetuning``; what is finished stays.
        """
        for what, names in (("model", self.models), ("task", tuple(named.task.name for named in self.tasks))):
            if twice := [name for name in names if names.count(name) > 1]:
                raise SpecError(f"{what} {twice[0]} is named twice; accepted: each once.")
        for model in self.labels:  # a mistake is told before anything is trained
            find_model(model, self.console.say)
        for named in self.tasks:
            check_trainable(named.task)
            if self.spec.augment is not None:
                check_augment(named.task)
        done: dict[tuple[str, str], Path] = {}
        for number, (model, named) in enumerate(self._pairs, start=1):
            self.console.say(f"[{number}/{len(self._pairs)}] {self.labels[model]} on {named.task.name}")
            done[model, named.task.name] = self._finetuned(model, named, done)
        keys = [read_finetuned(folder)["key"] for folder in done.values()]
        name = hashlib.sha256(json.dumps([self.models, keys]).encode()).hexdigest()[:8]
        folder = self.storage.absolute() / COMPARED / name
        if not (folder / RECORD).is_file():
            self.console.say("measuring size, FLOPs and latency of every model")
            self._write(folder, {at: read_finetuned(found) for at, found in done.items()})
        return folder

    @cached_property
    def labels(self) -> dict[str, str]:
        """What tables call the models: the end of their paths, as long as it must be."""
        parts = {model: Path(model).parts for model in {*self.models, *([self.teacher] if self.teacher else [])}}
        length = next(n for n in range(1, 99) if len({p[-n:] for p in parts.values()}) == len(parts))
        return {model: "/".join(p[-length:]) for model, p in parts.items()}

    @property
    def _pairs(self) -> list[tuple[str, NamedTask]]:
        """What is fine-tuned, teachers first."""
        models = [*([self.teacher] if self.teacher else []), *(m for m in self.models if m != self.teacher)]
        return [(model, named) for model in models for named in self.tasks]

    def _finetuned(self, model: str, named: NamedTask, done: Mapping[tuple[str, str], Path]) -> Path:
        teacher: TaskModel | None = None
        if self.teacher is not None and model != self.teacher:
            teacher = find_task_model(str(done[self.teacher, named.task.name]))
        inputs = TaskInputs(model, named.task, named.words, self.spec, self.console, teacher)
        return Finetuning(inputs, self.storage, self.workers).run()

    def _write(self, folder: Path, records: Mapping[tuple[str, str], dict[str, Any]]) -> None:
        """The three files; the record last, it makes the folder count."""
        rows = [self._row(model, [records[model, named.task.name] for named in self.tasks]) for model in self.models]
        key = self._measure(rows)
        found = {
            "tasks": {named.task.name: named.task.metrics[0] for named in self.tasks},
            "teacher": self.teacher,
            "settings": self.spec.model_dump(mode="json"),
            "latency": key,
            "models": rows,
            "command": self.command,
        }
        write_text(folder / "comparison.md", compared_markdown(found))
        write_compared_figure(found, folder / "comparison.png")
        write_text(folder / RECORD, json.dumps(found, indent=1) + "\n")

    def _row(self, model: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One model: every task, and the average over tasks with its spread over seeds."""
        by_seed = zip(*([t["test"][r["metrics"][0]] for t in r["trainings"]] for r in records), strict=True)
        return {
            "label": self.labels[model],
            "model": model,
            **{name: records[0][name] for name in ("params", "encoder_params")},
            "tasks": {r["task"]: {**r["test"][r["metrics"][0]], "folder": r["folder"]} for r in records},
            "average": spread([sum(scores) / len(scores) for scores in by_seed]),
        }

    def _measure(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Add FLOPs, milliseconds and the speed-up over the largest; what the latency was measured at."""
        sources = {row["label"]: find_model(row["model"]) for row in rows}
        tokens = min(_TOKENS, *(source.num_positions for source in sources.values()))
        encoders = {label: source.encoder() for label, source in sources.items()}
        ids = {label: torch.arange(tokens)[None] % encoder.config.vocab_size for label, encoder in encoders.items()}
        calls = {label: partial(encoder, input_ids=ids[label]) for label, encoder in encoders.items()}
        timings = {label: Timing.of(found) for label, found in interleaved(calls, _REPEATS, "cpu").items()}
        largest = max(rows, key=lambda row: row["encoder_params"])["label"]
        for row in rows:
            timing = timings[row["label"]]
            row["flops"] = counted_flops(calls[row["label"]])
            row["latency_ms"], row["spread_ms"] = timing.milliseconds, timing.spread_ms
            row["speedup"] = timings[largest].milliseconds / timing.milliseconds
        key = {"processor": processor(), "threads": torch.get_num_threads(), "runtime": "eager", "dtype": "fp32"}
        return {**key, "sequence_length": tokens, "batch_size": 1, "reference": largest}


def read_comparison(folder: Path) -> dict[str, Any]:
    """What ``comparison.json`` in ``folder`` says, and the folder."""
    return {**read_record(folder / RECORD), "folder": str(folder)}


def compare_command(models: Sequence[str], words: Sequence[str], spec: Finetune) -> str:
    """What makes a comparison; ``words`` are the other options."""
    return f"nas-ray compare {shlex.join([*models, *words, *(w for o in spec.overrides for w in ('--set', o))])}"
