"""After a search: chosen candidates are distilled as Tune trials, each into a model that transformers loads."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from nas_ray._files import write_text
from nas_ray.distill import (
    Assignment,
    ErrorKind,
    Losses,
    OutputsConfig,
    RetrainedStudent,
    RetrainJudge,
    RetrainJudgeConfig,
    TrainingText,
    steps_done,
)
from nas_ray.errors import NasRayError, RunError, SpecError, StageError
from nas_ray.search import Outcome, SearchSession, read_journal
from nas_ray.space import Rung
from nas_ray.spec import Retrain, parse, spec_hash, to_yaml
from nas_ray.stages._candidates import TEACHER, TrackerListener
from nas_ray.stages._changes import RETRAINED
from nas_ray.stages._checks import check_device
from nas_ray.stages._console import Console
from nas_ray.stages._context import Context
from nas_ray.stages._inputs import teacher_content, text_content
from nas_ray.stages._outputs import teacher_outputs
from nas_ray.stages._pipeline import driven, remember
from nas_ray.stages._plans import at_its_end, distill_plan, on_driver
from nas_ray.stages._retrain_sessions import journal_of, searching_session, students_session
from nas_ray.stages._retrained import Models
from nas_ray.stages._run import Run
from nas_ray.stages._sessions import best_outcome
from nas_ray.stages._starts import distilled_from, weights_of, write_starts
from nas_ray.stages._texts import Texts
from nas_ray.stages._trial import retraining_part
from nas_ray.stages.search import run_local
from nas_ray.student import CARD_FILE, StudentCard
from nas_ray.teacher import TeacherSource, first_line, has_normalised_sentences, load_tokenizer
from nas_ray.tracking import Tracker

Judging = tuple[RetrainJudgeConfig, list[Any], TrainingText]  # how to judge, evaluation arrays, text

_MODELS, _STARTS, _CHECKPOINTS, _SETTINGS = "models", "starts", "students", "retrain.yaml"


class Retraining:
    """Students of one run by one ``Retrain``; another one has a folder and an MLflow summary of its own."""

    def __init__(self, context: Context, spec: Retrain, name: str | None = None) -> None:
        self.context, self.spec = context, spec.model_copy(update={"weights": weights_of(context, spec)})
        self.name = name or _name(self.spec)
        self.folder = context.path(RETRAINED) / self.name
        self.journal = self.folder / "journal.jsonl"
        self.models = Models(self.folder / _MODELS, context.console.say)
        self.ladder = tuple(Rung("distilled", steps) for steps in spec.rungs)

    @cached_property
    def texts(self) -> Texts:
        """What students learn from and are judged by."""
        context, own = self.context, self.spec.text
        return Texts(
            own.over(context.spec.text, masked=self.spec.is_masked),
            self.teacher,
            context.spec.seed,
            context.console.say,
            own.rows,
        )

    @cached_property
    def teacher(self) -> TeacherSource:
        """Whom students learn from."""
        return distilled_from(self.context, self.spec)

    def run(self, rows: Sequence[dict[str, Any]]) -> list[Path]:
        """Retrain the candidates of ``rows`` (of ``candidates.parquet``) that are not finished; the models' folders.

        Raises:
            StageError: some could not be finished; what is finished stays, and the same call goes on.
        """
        say = self.context.console.say
        if self.context.is_local and self.spec.workers > 1:
            raise SpecError(
                f"{self.spec.workers}, in a run without Ray; accepted: 1, or cluster.executor ray", key="workers"
            )
        todo = [row for row in rows if not self.models.has(row)]
        say(f"  {len(rows)} students in {self.folder}, {len(rows) - len(todo)} of them finished before")
        failed = self._finish(todo) if todo else []
        self.track()  # what finished before too: its end may have been killed before MLflow was told
        if failed:
            raise StageError(
                "retrain", f"{len(failed)} of {len(todo)} students were not finished; the first: "
                f"{failed[0].task.candidate_id} {failed[0].status} ({failed[0].reason}). Its last good checkpoint, if "
                f"it had one, is in {self.folder / _CHECKPOINTS}; the same command tries again from there"
            )  # fmt: skip
        return [self.models.at(row) for row in rows]

    def _finish(self, todo: Sequence[dict[str, Any]]) -> list[Outcome]:
        """Train the candidates of ``todo`` and write their models; those that could not be finished."""
        self._check()
        write_text(self.folder / _SETTINGS, to_yaml(self.spec))
        write_starts(self.context, self.spec, self.folder / _STARTS, todo, self.teacher)
        judging = self._judging()
        judge, outcomes = self._searched(todo, judging) if self.spec.search else self._trained(todo, judging)
        for row, outcome in zip(todo, outcomes, strict=True):
            if outcome.status == "completed":
                task = outcome.task
                student = judge.begin(Assignment(task.candidate_id, row["arch_id"], task.hyperparameters))
                student = at_its_end(student, self.context.console.say)
                tokenizer = load_tokenizer(self.teacher)
                self.models.write(row, student.model, tokenizer, self._card(row, student, outcome))
                self._clear(row)
        return [outcome for outcome in outcomes if outcome.status != "completed"]

    def _check(self) -> None:
        """A mistake in teacher, text or device is told before anything is written."""
        self.texts.training(self._sequences)
        if self.context.is_local:
            check_device("device", self.spec.device)

    @property
    def _sequences(self) -> int:
        """That a training reads at most."""
        return self.spec.steps * max(self.spec.sequences, *self.spec.counts, 1)

    def _clear(self, row: Mapping[str, Any]) -> None:
        """Delete the checkpoints of a finished model, four times its size."""
        own = str(row["candidate_id"])
        sets = journal_of(self.journal, own)
        records = read_journal(sets) if sets.is_file() else []
        names = {own, *(record["candidate_id"] for record in records if record["kind"] == "suggested")}
        for name in names:
            shutil.rmtree(self.folder / _CHECKPOINTS / name, ignore_errors=True)

    def _trained(self, todo: Sequence[dict[str, Any]], judging: Judging) -> tuple[RetrainJudge, list[Outcome]]:
        """Each of ``todo`` trained once."""
        session = students_session(self, todo)

        def progress(now: SearchSession) -> None:
            found = [now.outcomes[row["candidate_id"]] for row in todo if row["candidate_id"] in now.outcomes]
            self.context.console.progress(sum(map(self._steps, found)), len(todo) * self.spec.steps, "training steps")

        judge = self._train(session, judging, progress)
        return judge, [session.outcomes[row["candidate_id"]] for row in todo]

    def _steps(self, outcome: Outcome) -> int:
        """How far a student is: what it was judged at, or what its training says."""
        judged = 0 if outcome.rung is None else self.ladder[outcome.rung].budget
        return max(judged, steps_done(self.folder / _CHECKPOINTS, outcome.task.candidate_id))

    def _searched(self, todo: Sequence[dict[str, Any]], judging: Judging) -> tuple[RetrainJudge, list[Outcome]]:
        """The best trial of each of ``todo``, one after the other."""
        search, console, best = self.spec.search, self.context.console, []
        assert search is not None
        for row in todo:
            session = searching_session(self, row)

            def progress(now: SearchSession) -> None:
                stopped = sum(outcome.status == "stopped" for outcome in now.outcomes.values())
                console.progress(now.num_done, search.trials, "trials", f"{stopped} stopped early")

            judge = self._train(session, judging, progress)
            best.append(best_outcome(session))
            found, loss = best[-1].task.hyperparameters, best[-1].loss
            console.say(f"  {row['candidate_id']}: best of {len(session.outcomes)} sets {found}, loss {loss:.4f}")
        return judge, best

    @property
    def tracker(self) -> Tracker:
        """Where these students are logged."""
        return self.context.tracker(part := retraining_part(self.name), f"tracking-{part}.jsonl")

    @property
    def listener(self) -> TrackerListener:
        """Passes on what the session tells."""
        return TrackerListener(self.tracker, self.context, self.ladder, "retrain")

    def retell(self) -> None:
        """All that is known, as if it happened now."""
        for journal in sorted(self.folder.glob("journal*.jsonl")):
            self.listener.told(journal)
        self.track()

    def track(self) -> None:
        """What only the end of a training knows, and the summary."""
        cards = list(self.models.cards())
        for card in cards:
            self.tracker.candidate_ended(card.logged_as, "completed", card.metrics, {"stage": "retrain"})
        settings = {name: str(value) for name, value in self.spec.model_dump(mode="json").items()}
        files = [self.folder / _SETTINGS, *(self.models.at(asdict(card)) / CARD_FILE for card in cards)]
        self.tracker.summary({**settings, "run": self.context.run.run_id}, {"students": len(cards)}, files)

    def _train(
        self, session: SearchSession, judging: Judging, progress: Callable[[SearchSession], None]
    ) -> RetrainJudge:
        """All tasks of ``session`` to their ends; a judge that knows them."""
        config, arrays, text = judging
        try:
            if self.context.is_local:
                judge = config.build(arrays, text)
                run_local(session, judge, progress)
                return judge
            from nas_ray.cluster import run_search, take

            run_search(session, config, arrays, text, max_concurrent=None, progress=progress, workers=self.spec.workers)
            return on_driver(config).build(take(arrays), text)
        finally:
            session.journal.close()

    def _judging(self) -> Judging:
        """How a worker anywhere trains and judges; the evaluation arrays and the training text, as it gets them."""
        context, spec = self.context, self.spec
        text = self.texts.training(self._sequences)
        losses = Losses(**spec.loss_weights)
        kind: ErrorKind = "both" if losses.logits else "hidden_state"
        config = OutputsConfig(self.teacher.location, kind, spec.cache_bytes, spec.device, precision=spec.precision)
        outputs, arrays = teacher_outputs(context, f"{context.run.run_id}-{self.name}", config, self.texts)
        origin = f"{spec.weights} {losses} {spec.temperature} {spec.accumulation} {self.teacher.location}"
        plan = distill_plan(spec, seed=context.spec.seed, origin=origin, folder=self.folder / _CHECKPOINTS)
        judge = RetrainJudgeConfig(
            name=f"{context.run.run_id} {self.name}",
            ladder=self.ladder,
            plan=plan,
            losses=losses,
            temperature=spec.temperature,
            accumulation=spec.accumulation,
            starts=self.folder / _STARTS,
            ridges=context.spec.tabulate.ridges,
            test_documents=self.texts.test_documents(),
            outputs=outputs,
            cache_bytes=spec.cache_bytes,
            group=self.texts.spec.batch_sequences,
            freeze_embeddings=spec.freeze_embeddings,
        )
        return judge, arrays, text

    def _card(self, row: dict[str, Any], student: RetrainedStudent, outcome: Outcome) -> StudentCard:
        context, spec = self.context, self.spec
        task = outcome.task
        sequences = int(task.hyperparameters.get("sequences", spec.sequences))
        selected = {} if outcome.loss is None else {"select_weighted_loss": float(outcome.loss)}
        tokens = student.judge.text.num_tokens(context.spec.seed, spec.steps, sequences)
        return StudentCard(
            run=context.run.run_id,
            candidate_id=row["candidate_id"],
            arch_id=row["arch_id"],
            kind=context.run.space_spec.kind,
            teacher=spec.teacher or context.spec.teacher,
            normalised=has_normalised_sentences(spec.teacher or context.spec.teacher, self.teacher),
            start="scratch" if context.is_uniform else context.spec.supernet.start,
            weights=spec.weights,
            preset=spec.preset,
            loss_weights=spec.loss_weights,
            steps=spec.steps,
            tokens=tokens,
            data=tuple(source.model_dump(include={"source", "share"}) for source in self.texts.spec.sources),
            costs={name: row[name] for name in ("params", "encoder_params", "flops", "latency_ms")},
            latency_key=context.latency.metadata["key"],
            metrics={**selected, **student.metrics("test")},
            spec_hash=self.name,
            hyperparameters=task.hyperparameters,
            trial="" if task.candidate_id == row["candidate_id"] else task.candidate_id,
            command=f"nas-ray retrain {shlex.quote(str(context.run.folder))}{options([row], spec)}",
        )


def retrainings(context: Context) -> Iterator[Retraining]:
    """Those that the run's folder has."""
    for file in sorted(context.path(RETRAINED).glob(f"*/{_SETTINGS}")):
        try:
            found = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise RunError(
                f"{file}: cannot be read as YAML ({first_line(error)}); move {file.parent} elsewhere, and retrain what "
                "it held."
            ) from error
        # by the folder's name: one of another version, which had other keys, keeps it
        yield Retraining(context, parse(Retrain, found, str(file)), file.parent.name)


def _name(spec: Retrain) -> str:
    """Eight hexadecimal digits of the settings and of what their own teacher and text hold."""
    held = [text_content(source.source) for source in spec.text.sources or ()]
    held += [] if spec.teacher is None else [teacher_content(spec.teacher)]
    name = spec_hash(spec.training)
    return hashlib.sha256("\n".join([name, *held]).encode()).hexdigest()[:8] if held else name


def options(rows: Sequence[dict[str, Any]], spec: Retrain) -> str:
    """The command line's options for these students."""
    words = [word for row in rows for word in ("--candidate", row["candidate_id"])]
    return "".join(f" {word}" for word in [*words, *(f"--set {shlex.quote(found)}" for found in spec.overrides)])


def retrain_candidates(
    run: Run, spec: Retrain, rows: Sequence[dict[str, Any]], console: Console | None = None, address: str | None = None
) -> list[Path]:
    """Retrain the candidates of ``rows``, those of ``candidates.parquet``, of a finished run; the models' folders.

    Raises:
        RunError: another process drives the run, its inputs are not what they were, or a candidate is the teacher.
        StageError: see ``Retraining``.
    """
    teacher = next((row for row in rows if row["label"] == TEACHER), None)
    if teacher is not None and spec.weights != "scratch":
        raise RunError(
            f"{run.folder}: candidate {teacher['candidate_id']} is the teacher itself, whose weights have nothing to "
            "learn from it; accepted: other candidates, or --set weights=scratch."
        )
    remember(run, address, command="retrain", options=options(rows, spec))
    with driven(run, console, address, run.course.order) as context:
        try:
            return Retraining(context, spec).run(rows)
        except (NasRayError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise StageError("retrain", f"{type(error).__name__}: {first_line(error)}") from error
