"""One round of Agora: all sets that are left are trained, the best one's mistakes become new training examples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from nas_ray._files import write_text
from nas_ray.data import split_of
from nas_ray.distill import Assignment, FinetunedModel, FinetuneJudge
from nas_ray.errors import StageError, TaskError
from nas_ray.search import Candidate, Joint, Point, SearchSession, rooted_common, task_id
from nas_ray.space import GivenModel, Rung
from nas_ray.spec import Agora, Part
from nas_ray.stages._sessions import listed_session
from nas_ray.stages.tasks._augmentation import copies, fresh_ones, kept, read_examples, replacer
from nas_ray.stages.tasks._data import Scorer
from nas_ray.stages.tasks._inputs import TaskInputs
from nas_ray.stages.tasks._models import find_task_model, read_record
from nas_ray.stages.tasks._statistics import resampled
from nas_ray.stages.tasks._training import CHECKPOINTS, MODELS, keep_model
from nas_ray.stages.tasks._trials import TrialListener, Workers
from nas_ray.tasks import Example, encode, measure, predict
from nas_ray.tracking import Tracker

_UNSEEN: tuple[Part, ...] = ("select", "test")  # by the loop
_CUT_SEED = 1729  # never to be changed: what feeds the loop would become what trains
Set = dict[str, Any]  # of hyperparameters


@dataclass(frozen=True)
class Rounds:
    """The rounds in a ``folder``; each that is finished stands there, and is not done again."""

    inputs: TaskInputs
    spec: Agora
    folder: Path
    workers: Workers
    tracker: Tracker

    def run(self) -> list[dict[str, Any]]:
        """What every round says, until no set is left.

        Raises:
            StageError: a training failed. TaskError: too few groups to split off a part that feeds the loop.
        """
        rounds: list[dict[str, Any]] = []
        examples, order = self.own, list[Set]()
        while (not rounds or rounds[-1]["left"]) and len(rounds) < self.spec.most_rounds:
            number = len(rounds)
            file = self.folder / f"round-{number + 1}.json"
            if not file.is_file():
                sets = rounds[-1]["left"] if rounds else self.spec.sets
                write_text(file, json.dumps(self._round(number, sets, order, examples), indent=1) + "\n")
                shutil.rmtree(self._checkpoints(f"round-{number + 1}"), ignore_errors=True)
            rounds.append(read_record(file))
            if rounds[-1]["generated"]:
                examples = (*examples, *read_examples(self._made(number)))
            order = rounds[-1]["order"]
        return rounds

    def plain(self, trainings: int) -> dict[str, Any]:
        """As many trainings without the loop: on all training examples, the sets again and again with other seeds; the
        best by *select*."""
        sets, seeds = self.spec.sets, max(self.spec.seeds) + 1
        wanted = [{**sets[n % len(sets)], "seed": sets[n % len(sets)]["seed"] + n // len(sets) * seeds}
                  for n in range(trainings)]  # fmt: skip
        data = self.inputs.data
        judge, losses = self._trained("plain", wanted, data.examples["train"], data.scorer("select"))
        best = wanted[min(range(trainings), key=lambda number: losses[number])]
        found = self._scored(self._model(judge, "plain", best), "plain")
        return {"trainings": trainings, "hyperparameters": best, "train": len(data.examples["train"]), **found}

    def gain(self, one: str, other: str) -> dict[str, float]:
        """By how much model ``one`` is better than the ``other`` on *test*, with an interval over test examples."""
        data, task, (metric, *_) = self.inputs.data, self.inputs.task, self.inputs.task.metrics
        examples, rows = data.examples["test"], data.rows("test")
        models = [find_task_model(str(self.folder / MODELS / name)) for name in (one, other)]
        scores = [model.scores(self.inputs.head, [rows], self.inputs.spec.device)[0] for model in models]
        said = [predict(task, examples, found, rows) for found in scores]

        def difference(chosen: Sequence[int]) -> float:
            some = [examples[at] for at in chosen]
            reached = [measure(task, some, [found[at] for at in chosen])[metric] for found in said]
            return reached[0] - reached[1]

        return resampled(difference, [example.group for example in examples])

    @cached_property
    def dev(self) -> tuple[Example, ...]:
        """What feeds the loop."""
        return self._cut("select")

    @cached_property
    def own(self) -> tuple[Example, ...]:
        """What trains, of the task's own examples."""
        return self._cut("train")

    def _cut(self, part: str) -> tuple[Example, ...]:
        shares = {"train": 1 - self.spec.dev_share, "calibrate": 0.0, "select": self.spec.dev_share, "test": 0.0}
        examples = self.inputs.data.examples["train"]
        found = tuple(e for e in examples if split_of(e.group, shares, _CUT_SEED) == part)
        if not found:
            raise TaskError(
                f"task '{self.inputs.task.name}': {len(examples)} training examples have too few groups to split off "
                f"{self.spec.dev_share:.0%} for the loop; accepted: more of them, or another dev_share."
            )
        return found

    def _round(self, number: int, sets: Sequence[Set], before: list[Set], train: Sequence[Example]) -> dict[str, Any]:
        """Train, order, change mistakes, and say who is left."""
        name, scorer, task = f"round-{number + 1}", self._scorer(self.dev), self.inputs.task
        judge, losses = self._trained(name, sets, train, scorer)
        order = [sets[at] for at in sorted(range(len(sets)), key=lambda at: losses[at])]
        removed = rooted_common(list(map(_named, before)), list(map(_named, order)))
        left = [one for one in order if _named(one) not in removed]
        goes_on = bool(left) and number + 1 < self.spec.most_rounds
        best = self._model(judge, name, order[0])
        said = predict(task, self.dev, best.scores(scorer.rows), scorer.rows)
        mistakes = [at for at, (e, answer) in enumerate(zip(self.dev, said, strict=True)) if answer != e.target]
        made = kept(self._made(number), lambda: self._generated(number, mistakes, train)) if goes_on else ()
        finite = [loss for loss in losses if isfinite(loss)]
        self.inputs.console.say(
            f"  round {number + 1}: {len(sets)} sets on {len(train):,} examples, best {task.metrics[0]} on dev "
            f"{1 - min(losses):.4f}; {len(mistakes)} mistakes{f' made {len(made)} examples' if goes_on else ''}; "
            f"{len(removed)} sets go"
        )
        return {
            "round": number + 1,
            "sets": len(sets),
            "failed": len(sets) - len(finite),
            "train": len(train),
            "dev": {"best": 1 - min(losses), "mean": 1 - fmean(finite)},
            "mistakes": len(mistakes),
            "generated": len(made),
            "order": order,
            "left": left,
            "hyperparameters": order[0],
            **self._scored(best, name),
        }

    def _trained(
        self, name: str, sets: Sequence[Set], train: Sequence[Example], scorer: Scorer
    ) -> tuple[FinetuneJudge, list[float]]:
        """Every set trained on ``train``; 1 - the metric of each, infinite where the training failed."""
        inputs, data = self.inputs, self.inputs.data
        rows = encode(inputs.task, train, data.tokenizer, data.length)
        ladder = tuple(Rung("distilled", step) for step in inputs.spec.rungs(len(rows.ids)))
        listed = [self._candidate(name, one) for one in sets]
        tags = {"task": inputs.task.name, "model": inputs.model, "round": name}
        session = listed_session(
            [(candidate, name) for candidate in listed],
            ladder,
            self.folder / f"journal-{name}.jsonl",
            lambda _: {},
            TrialListener(self.tracker, inputs.task.metrics[0], tags, inputs.spec.seed),
        )

        def progress(now: SearchSession) -> None:
            inputs.console.progress(now.num_done, len(listed), "trainings", name)

        config = inputs.config(self._checkpoints(name), ladder, f"{inputs.key} {name}")
        arrays = {"train": rows, "select": scorer.rows, "score": scorer, "teacher": None}
        judge = self.workers.run(session, config, arrays, progress, self.folder)
        outcomes = [session.outcomes[task_id(candidate)] for candidate in listed]
        if not any(outcome.status == "completed" for outcome in outcomes):
            raise StageError(
                "agora", f"no training of {name} was completed; the first {outcomes[0].status} "
                f"({outcomes[0].reason}). The same command tries again."
            )  # fmt: skip
        done = [outcome.loss if outcome.status == "completed" else None for outcome in outcomes]
        return judge, [inf if loss is None else loss for loss in done]

    def _candidate(self, name: str, one: Set) -> Candidate:
        digest = f"{self.inputs.key}{name.encode().hex()}"  # a round's trainings are not those of another
        return Joint(GivenModel(digest), Point(tuple(one.items())))

    def _model(self, judge: FinetuneJudge, name: str, one: Set) -> FinetunedModel:
        candidate = self._candidate(name, one)
        return judge.begin(Assignment(task_id(candidate), "", one)).trained()

    def _scored(self, model: FinetunedModel, name: str) -> dict[str, Any]:
        """Keep a model; what it reaches on *select* and *test*, which the loop never sees."""
        scorers = {part: self.inputs.data.scorer(part) for part in _UNSEEN}
        scores: dict[str, Any] = {p: s.metrics(model.scores(s.rows), 0.0) for p, s in scorers.items()}
        keep_model(self.inputs, model, self.folder / MODELS / name, {"origin": name, "threshold": 0.0, **scores})
        return {"model": name, **scores}

    def _made(self, number: int) -> Path:
        return self.folder / f"generated-{number + 1}.jsonl"

    def _generated(self, number: int, mistakes: Sequence[int], train: Sequence[Example]) -> list[Example]:
        """Changed mistakes with the teacher's labels; none that any part of the task has."""
        transform = self.spec.transform
        words, seed = replacer(transform, self.inputs.model), transform.seed + 1000 * number
        new = [copy for at in mistakes for copy in copies(words, self.dev[at], at, transform.copies, seed)]
        fresh = fresh_ones(new, (train, *self.inputs.data.examples.values()))
        examples = [replace(example, id=f"{example.id}@{number + 1}") for example in fresh]
        return self._labelled(examples) if examples else []

    def _labelled(self, examples: Sequence[Example]) -> list[Example]:
        """With what the teacher says of them."""
        inputs = self.inputs
        assert inputs.teacher is not None, "the loop has one"
        rows = inputs.data.read_by(inputs.teacher.source, examples)
        (scores,) = inputs.teacher.scores(inputs.head, [rows], inputs.spec.device)
        classes = scores.argmax(1).tolist()
        return [replace(example, target=float(number)) for example, number in zip(examples, classes, strict=True)]

    def _scorer(self, examples: tuple[Example, ...]) -> Scorer:
        data = self.inputs.data
        return Scorer(self.inputs.task, examples, encode(self.inputs.task, examples, data.tokenizer, data.length))

    def _checkpoints(self, name: str) -> Path:
        return self.folder / CHECKPOINTS / name


def _named(one: Set) -> str:
    return json.dumps(one, sort_keys=True)
