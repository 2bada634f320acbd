"""The search as Ray Tune trials: the searcher, the scheduler and the trainable are thin adapters of the session."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from nas_ray.cluster._group import CPUS, SharedRun, StudentGroup, begin, judge_of
from nas_ray.cluster._session import cpus_of_a_node, gpu_share, num_cpus, num_gpus
from nas_ray.distill import AnyJudgeConfig, Assignment, DocumentJudge, Judged, TrainingText
from nas_ray.errors import ClusterError
from nas_ray.search import SearchSession

BUDGET = "budget"  # rungs passed: our own time attribute
_MAX_FAILURES = 2  # of one trial, lost workers included


class CandidateTrial(tune.Trainable):
    """One candidate: each training iteration is one rung."""

    def setup(self, config: dict[str, Any], shared: SharedRun | None = None) -> None:
        assert shared is not None
        self.shared = shared
        self._begin(config)

    def _begin(self, config: Mapping[str, Any]) -> None:
        self.rung = config["first_rung"]
        self.assignment = Assignment(config["candidate_id"], config["arch_id"], config["hyperparameters"])
        self.candidate: Judged | None = None

    def step(self) -> dict[str, Any]:
        if self.candidate is None:
            self.candidate = begin(self.shared, self.assignment)
        rung, self.rung = self.rung, self.rung + 1
        loss = self.candidate.loss(rung)
        is_last = rung == len(self.shared.config.ladder) - 1
        return {"rung": rung, BUDGET: rung + 1, "loss": loss, "done": is_last}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """End the workers that train with this one."""
        if isinstance(self.candidate, StudentGroup):
            self.candidate.close()


class NotPickled:
    """Tune pickles searchers, schedulers and callbacks for its own restore, which we do not use; they stay here."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class SessionSearcher(NotPickled, Searcher):
    """Tune's searcher over the session: suggests its tasks, tells it when a trial has ended.

    ``errors`` are what trials raised last, by trial id; the scheduler writes them.
    """

    def __init__(self, session: SearchSession, errors: Mapping[str, BaseException]) -> None:
        super().__init__(metric="loss", mode="min")
        self.session, self.errors = session, errors
        self.candidates: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        task = self.session.next_task()
        if task is None:
            return Searcher.FINISHED
        self.candidates[trial_id] = task.candidate_id
        return {
            "candidate_id": task.candidate_id,
            "arch_id": task.architecture.arch_id,
            "hyperparameters": task.hyperparameters,
            "first_rung": task.first_rung,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        raised = self.errors.get(trial_id, RuntimeError("Tune gave no reason")) if error else None
        self.session.ended(self.candidates[trial_id], raised)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the search's memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resumed search makes a new Tuner."""


class SessionScheduler(NotPickled, TrialScheduler):
    """Tune's scheduler over the session: reports rungs, stops whom it tells to stop, keeps what trials raise."""

    _supports_buffered_results = False

    def __init__(
        self,
        session: SearchSession,
        errors: dict[str, BaseException],
        progress: Callable[[SearchSession], None],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.session, self.errors, self.progress = session, errors, progress

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to prepare."""

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Remember why: the trial may begin again, and of its end the searcher hears only that it failed."""
        error = trial.get_pickled_error()
        if error is not None:
            self.errors[trial.trial_id] = getattr(error, "cause", None) or error  # Ray wraps what was raised

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        goes_on = self.session.report(trial.config["candidate_id"], result["rung"], result["loss"])
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self.session.report(trial.config["candidate_id"], result["rung"], result["loss"])

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to clean up."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        self.progress(self.session)
        for trial in tune_controller.get_trials():
            if trial.status == trial.PENDING:
                return trial
        return None

    def debug_string(self) -> str:
        return "nas_ray: successive halving"


def run_search(
    session: SearchSession,
    config: AnyJudgeConfig,
    arrays: list[Any],
    text: TrainingText | None,
    *,
    max_concurrent: int | None,
    progress: Callable[[SearchSession], None],
    workers: int = 1,
) -> None:
    """Evaluate every task of ``session`` as a Tune trial, ``max_concurrent`` at a time (one a core).

    ``workers`` train each candidate together.
    """
    there = num_cpus() if config.device == "cpu" else num_gpus()
    if workers > there:
        unit = "CPUs" if config.device == "cpu" else "GPUs"
        raise ClusterError(f"{workers} workers are asked for; accepted: at most the cluster's {unit}, {there}.")
    most = there // workers
    concurrent = max_concurrent or most
    threads = min(max(1, num_cpus() // (concurrent * workers)), cpus_of_a_node())
    gpus = gpu_share(concurrent * workers + 1) if config.device == "cuda" else 0.0
    shared = SharedRun(config, tuple(arrays), _put(text), threads, workers, gpus)
    folder = tempfile.mkdtemp(prefix="nas_ray-tune-")
    errors: dict[str, BaseException] = {}
    trainable = tune.with_resources(
        tune.with_parameters(CandidateTrial, shared=shared),
        tune.PlacementGroupFactory([{"CPU": CPUS * threads, "GPU": gpus}] * workers),
    )
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=SessionSearcher(session, errors),
                scheduler=SessionScheduler(session, errors, progress),
                num_samples=-1,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=folder,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    progress(session)


def document_errors(
    config: AnyJudgeConfig,
    arrays: list[Any],
    text: TrainingText | None,
    assignments: list[Assignment],
    progress: Callable[[int], None],
) -> list[dict[int, tuple[float, int]]]:
    """Errors of every document of the test split for each candidate, as Ray tasks."""
    shared = ray.put(SharedRun(config, tuple(arrays), _put(text), 1))
    gpus = gpu_share(2) if config.device == "cuda" else 0.0  # the maximum point's actor has the other part

    @ray.remote(num_cpus=CPUS, num_gpus=gpus, max_retries=3)
    def evaluate(shared_run: SharedRun, assignment: Assignment) -> dict[int, tuple[float, int]]:
        judge = judge_of(shared_run)
        assert isinstance(judge, DocumentJudge), "a run's candidates are judged by documents"
        return dict(judge.document_errors(assignment))

    references = [evaluate.remote(shared, assignment) for assignment in assignments]
    waiting = list(references)
    while waiting:
        _, waiting = ray.wait(waiting)
        progress(len(references) - len(waiting))
    return ray.get(references)


def _put(text: TrainingText | None) -> Any:
    """The text in the object store, from where workers map it."""
    return None if text is None else ray.put(text)
