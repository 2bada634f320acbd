"""One round of Agora: all sets that are left are trained, the best one's mistakes become new training examples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nas_ray._files import replace_folder, write_text
from nas_ray.data import split_of
from nas_ray.distill import Assignment, FinetunedModel, FinetuneJudge, task_scores
from nas_ray.errors import StageError, TaskError
from nas_ray.search import Candidate, Joint, Point, SearchSession, rooted_common, task_id
from nas_ray.space import GivenModel, Rung
from nas_ray.spec import Agora
from nas_ray.stages._augmentation import copies, kept, replacer
from nas_ray.stages._sessions import listed_session
from nas_ray.stages._task_data import Scorer
from nas_ray.stages._task_inputs import TaskInputs
from nas_ray.stages._task_models import read_record
from nas_ray.stages._task_training import CHECKPOINTS, MODELS
from nas_ray.stages._task_trials import TrialListener, Workers
from nas_ray.student import save_model
from nas_ray.tasks import Example, encode, predict
from nas_ray.tracking import Tracker

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
            examples, order = (*examples, *self._generated(number, [])), rounds[-1]["order"]
        return rounds

    def plain(self, trainings: int) -> dict[str, Any]:
        """As many trainings without the loop: on all training examples, the sets again and again with other seeds; the
        best by *select*."""
        sets, seeds = self.spec.sets, max(self.spec.seeds) + 1
        wanted = [{**sets[n % len(sets)], "seed": sets[n % len(sets)]["seed"] + n // len(sets) * seeds}
                  for n in range(trainings)]  # fmt: skip
        data = self.inputs.data
        judge, losses = self._trained("plain", wanted, data.examples["train"], data.scorer("select"))
        best = min(range(trainings), key=lambda number: losses[number])
        found = self._scored(judge, "plain", wanted[best])
        return {"trainings": trainings, "hyperparameters": wanted[best], "train": len(data.examples["train"]), **found}

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
        name, scorer = f"round-{number + 1}", self._scorer(self.dev)
        judge, losses = self._trained(name, sets, train, scorer)
        order = [sets[at] for at in sorted(range(len(sets)), key=lambda at: losses[at])]
        removed = rooted_common(*([json.dumps(found, sort_keys=True) for found in o] for o in (before, order)))
        found = self._scored(judge, name, order[0])
        said = predict(self.inputs.task, self.dev, self._model(judge, name, order[0]).scores(scorer.rows), scorer.rows)
        mistakes = [at for at, (e, p) in enumerate(zip(self.dev, said, strict=True)) if p != e.target]
        made = self._generated(number, mistakes, train)
        metric = self.inputs.task.metrics[0]
        self.inputs.console.say(
            f"  round {number + 1}: {len(sets)} sets on {len(train):,} examples, best {metric} on dev "
            f"{1 - min(losses):.4f}; {len(mistakes)} mistakes made {len(made)} examples; {len(removed)} sets go"
        )
        return {
            "round": number + 1,
            "sets": len(sets),
            "train": len(train),
            "dev": {"best": 1 - min(losses), "mean": 1 - sum(losses) / len(losses)},
            "mistakes": len(mistakes),
            "generated": len(made),
            "order": order,
            "left": [one for one in order if json.dumps(one, sort_keys=True) not in removed],
            "hyperparameters": order[0],
            **found,
        }

    def _trained(
        self, name: str, sets: Sequence[Set], train: Sequence[Example], scorer: Scorer
    ) -> tuple[FinetuneJudge, list[float]]:
        """Every set trained on ``train``; 1 - the metric of each."""
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
        if failed := [outcome for outcome in outcomes if outcome.status != "completed"]:
            raise StageError(
                "agora", f"{len(failed)} trainings of {name} were not finished; the first {failed[0].status} "
                f"({failed[0].reason}). The same command tries again."
            )  # fmt: skip
        return judge, [float(outcome.loss or 0.0) for outcome in outcomes]

    def _candidate(self, name: str, one: Set) -> Candidate:
        digest = f"{self.inputs.key}{name.encode().hex()}"  # a round's trainings are not those of another
        return Joint(GivenModel(digest), Point(tuple(one.items())))

    def _model(self, judge: FinetuneJudge, name: str, one: Set) -> FinetunedModel:
        candidate = self._candidate(name, one)
        return judge.begin(Assignment(task_id(candidate), "", one)).trained()

    def _scored(self, judge: FinetuneJudge, name: str, one: Set) -> dict[str, Any]:
        """The model of a set, kept, and what it reaches on *select* and *test*, which the loop never sees."""
        model, data, folder = self._model(judge, name, one), self.inputs.data, self.folder / MODELS / name
        with replace_folder(folder) as temporary:
            save_model(model.model, temporary)
            data.tokenizer.save_pretrained(temporary)
        scorers = {"select": data.scorer("select"), "test": data.scorer("test")}
        return {
            "model": name, **{part: s.metrics(model.scores(s.rows), 0.0) for part, s in scorers.items()}
        }  # fmt: skip

    def _generated(self, number: int, mistakes: Sequence[int], train: Sequence[Example] = ()) -> tuple[Example, ...]:
        """Changed mistakes with the teacher's labels, made once and kept; none that any part of the task has."""

        def make() -> list[Example]:
            if not mistakes:
                return []
            words, transform = replacer(self.spec.transform, self.inputs.model), self.spec.transform
            seed = transform.seed + 1000 * number
            new = [c for at in mistakes for c in copies(words, self.dev[at], at, transform.copies, seed)]
            parts = (train, *self.inputs.data.examples.values())
            told = {_folded(example) for part in parts for example in part}
            fresh = {_folded(example): example for example in new if _folded(example) not in told}
            return self._labelled([replace(e, id=f"{e.id}@{number + 1}") for e in fresh.values()])

        return kept(self.folder / f"generated-{number + 1}.jsonl", make)

    def _labelled(self, examples: Sequence[Example]) -> list[Example]:
        """With what the teacher says of them."""
        if not examples:
            return []
        teacher, task = self.inputs.teacher, self.inputs.task
        assert teacher is not None, "the loop has one"
        source = teacher.source
        rows = encode(task, examples, source.tokenizer(), min(self.inputs.data.length, source.num_positions))
        scores = task_scores(source.load(self.inputs.head, 0), self.inputs.head.kind, rows)
        said = predict(task, examples, scores, rows)
        return [replace(e, target=float(label)) for e, label in zip(examples, said, strict=True)]  # type: ignore[arg-type]

    def _scorer(self, examples: tuple[Example, ...]) -> Scorer:
        data = self.inputs.data
        return Scorer(self.inputs.task, examples, encode(self.inputs.task, examples, data.tokenizer, data.length))

    def _checkpoints(self, name: str) -> Path:
        return self.folder / CHECKPOINTS / name


def _folded(example: Example) -> tuple[str, ...]:
    return tuple(" ".join(text.split()).casefold() for text in example.texts)
