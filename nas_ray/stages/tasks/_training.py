"""The trials of a fine-tuning: a search, then every seed; the models that are left and what they reach."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nas_ray._files import replace_folder
from nas_ray.distill import Assignment, FinetunedModel, FinetuneJudge, steps_done
from nas_ray.errors import StageError
from nas_ray.search import Candidate, Joint, Outcome, Point, SearchSession, task_id
from nas_ray.space import GivenModel
from nas_ray.stages._plans import at_its_end
from nas_ray.stages._sessions import best_outcome, listed_session, sets_session
from nas_ray.stages.tasks._inputs import TaskInputs
from nas_ray.stages.tasks._models import MODEL_RECORD, TaskModel, read_record, stands
from nas_ray.stages.tasks._trials import TrialListener, Workers
from nas_ray.student import backbone_sizes, save_model
from nas_ray.tracking import Tracker

CHECKPOINTS, MODELS = "checkpoints", "models"
SETTINGS, BEST = "settings", "best set"
"""Where the hyperparameters of a training come from."""


@dataclass(frozen=True)
class TaskTraining:
    """All trainings of a fine-tuning, in its ``folder``."""

    inputs: TaskInputs
    folder: Path
    workers: Workers
    tracker: Tracker

    def search(self) -> dict[str, Any]:
        """The best set of hyperparameters by *select*, and how it was found.

        Raises:
            StageError: no trial was completed.
        """
        spec, console = self.inputs.spec, self.inputs.console
        search = spec.search
        assert search is not None
        session = sets_session(
            GivenModel(self.inputs.key),
            search.searched,
            dict(spec),
            self.inputs.ladder,
            self.folder / "journal-search.jsonl",
            lambda _: {},
            self._listener(checkpoints=self.folder / CHECKPOINTS),
            trials=search.trials,
            eta=search.eta,
            seed=spec.seed,
        )

        def progress(now: SearchSession) -> None:
            stopped = sum(outcome.status == "stopped" for outcome in now.outcomes.values())
            console.progress(now.num_done, search.trials, "trials", f"{stopped} stopped early")

        self._run(session, progress)
        best = best_outcome(session)
        if best.status != "completed" or best.loss is None:
            raise StageError("finetune", f"no trial of the search was completed; the first: {best.reason}")
        statuses = [outcome.status for outcome in session.outcomes.values()]
        console.say(f"  best of {len(statuses)} sets: {best.task.hyperparameters}, {self._metric} {1 - best.loss:.4f}")
        return {
            "trials": len(statuses),
            **{status: statuses.count(status) for status in sorted(set(statuses))},
            "hyperparameters": best.task.hyperparameters,
            f"select_{self._metric}": 1 - best.loss,
        }

    def train(self, best: Mapping[str, Any] | None) -> list[TaskModel]:
        """A model of every seed with the settings, and with the ``best`` set, if there is one.

        Raises:
            StageError: some could not be finished.
        """
        spec = self.inputs.spec
        sets = {SETTINGS: {}} if best is None else {SETTINGS: {}, BEST: best}
        listed: dict[tuple[str, int], Candidate] = {
            (origin, seed): Joint(GivenModel(self.inputs.key), Point((("seed", seed), *own.items())))
            for origin, own in sets.items()
            for seed in range(spec.seed, spec.seed + spec.seeds)
        }
        session = listed_session(
            [(candidate, origin) for (origin, _), candidate in listed.items()],
            self.inputs.ladder,
            self.folder / "journal.jsonl",
            lambda _: {},
            self._listener(by_seed=True),
        )
        total = len(listed) * self.inputs.ladder[-1].budget

        def progress(now: SearchSession) -> None:
            done = sum(map(self._steps, now.outcomes.values()))
            losses = [found.loss for found in now.outcomes.values() if found.loss is not None]
            note = f"best {self._metric} on select {1 - min(losses):.4f}" if losses else ""
            self.inputs.console.progress(done, total, "training steps", note)

        judge = self._run(session, progress)
        outcomes = {at: session.outcomes[task_id(candidate)] for at, candidate in listed.items()}
        failed = [outcome for outcome in outcomes.values() if outcome.status != "completed"]
        if failed:
            raise StageError(
                "finetune", f"{len(failed)} of {len(listed)} trainings were not finished; the first {failed[0].status} "
                f"({failed[0].reason}). The same command tries again from their last good checkpoints."
            )  # fmt: skip
        return [self._finished(judge, *at, outcome) for at, outcome in outcomes.items()]

    def _steps(self, outcome: Outcome) -> int:
        """How far a training is, in steps of the settings: what it was judged at, or what it says."""
        judged = 0 if outcome.rung is None else self.inputs.ladder[outcome.rung].budget
        usual = self.inputs.spec.sequences
        own = int(outcome.task.hyperparameters.get("sequences", usual))
        return max(judged, steps_done(self.folder / CHECKPOINTS, outcome.task.candidate_id) * own // usual)

    @property
    def _metric(self) -> str:
        return self.inputs.task.metrics[0]

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        return self.inputs.arrays(self.folder)

    def _listener(self, **more: Any) -> TrialListener:
        tags = {"task": self.inputs.task.name, "model": self.inputs.model}
        return TrialListener(self.tracker, self._metric, tags, self.inputs.spec.seed, **more)

    def _run(self, session: SearchSession, progress: Any) -> FinetuneJudge:
        config = self.inputs.config(self.folder / CHECKPOINTS)
        return self.workers.run(session, config, self._arrays, progress, self.folder)

    def _finished(self, judge: FinetuneJudge, origin: str, seed: int, outcome: Outcome) -> TaskModel:
        """The model of a training that is over, kept in a folder with its scores."""
        folder, trial = self.folder / MODELS / model_name(origin, seed), outcome.task
        if not stands(folder):
            assignment = Assignment(trial.candidate_id, trial.architecture.arch_id, trial.hyperparameters)
            model = at_its_end(judge.begin(assignment), self.inputs.console.say)
            keep_model(self.inputs, model, folder, self._scores(model, origin, outcome))
        found = TaskModel(folder, read_record(folder / MODEL_RECORD))
        metrics = {f"{p}_{name}": value for p in ("select", "test") for name, value in found.record[p].items()}
        self.tracker.candidate_ended(trial.candidate_id, "completed", metrics, {"stage": "finetune"})
        return found

    def _scores(self, model: FinetunedModel, origin: str, outcome: Outcome) -> dict[str, Any]:
        """Where a model comes from and what it reaches; no answer is said of *test* as it suits *select*."""
        inputs = self.inputs
        select, test = inputs.data.scorer("select"), inputs.data.scorer("test")
        scores = model.scores(select.rows)
        threshold = select.threshold(scores)
        return {
            "origin": origin,
            "trial": outcome.task.candidate_id,
            "hyperparameters": outcome.task.hyperparameters,
            "threshold": threshold,
            "constant": select.is_constant(scores),
            "curve": {step: 1 - outcome.losses[rung] for rung, step in enumerate(model.plan.steps)},
            "select": select.metrics(scores, threshold),
            "test": test.metrics(model.scores(test.rows), threshold),
        }


def model_name(origin: str, seed: int) -> str:
    """What the folder of a training's model is called."""
    return f"seed-{seed}" if origin == SETTINGS else f"best-seed-{seed}"


def keep_model(inputs: TaskInputs, model: FinetunedModel, folder: Path, more: Mapping[str, Any]) -> None:
    """The model with its tokenizer in ``folder``, whole or not at all; its record says what it is and ``more``."""
    record = {
        "key": inputs.key,
        "task": inputs.task.name,
        "kind": inputs.task.kind,
        "classes": list(inputs.task.classes),
        "answerable": inputs.task.answerable,
        "extra_layer": inputs.task.extra_layer,
        "max_length": inputs.data.length,
        "metrics": list(inputs.task.metrics),
        "model": inputs.model,
        "model_content": inputs.content,
        "held_out": inputs.data.held_out,
        **dict(zip(("params", "encoder_params"), backbone_sizes(model.model), strict=True)),
        "seed": model.plan.seed,
        **more,
    }
    with replace_folder(folder) as temporary:
        save_model(model.model, temporary)
        inputs.data.tokenizer.save_pretrained(temporary)
        (temporary / MODEL_RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
