"""All trainings of a setting that are not finished, in a few processes, until there is no time for another."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from statistics import median

from benchmarks.quality._bundle import ARMS_FILE, RANDOM, Arms, Bundle
from benchmarks.quality._rows import Row, Rows
from benchmarks.quality._setting import RESULTS, TABLES, Setting
from benchmarks.quality._studio import TEACHER, Job, Studio

_MARGIN = 1.3  # of the time that a training is expected to take
_studio: Studio | None = None  # of a worker


def run(
    folder: Path, setting: Setting, minutes: float, workers: int, file: Path | None = None, only: str | None = None
) -> None:
    """Train what is left, of one arm ``only`` or of all; each finished training is one row more."""
    bundle = Bundle(folder)
    rows = Rows(file or setting.file, bundle.arms.digest, setting.tokens)
    _keep_arms(folder, rows.file.parent if file else RESULTS)
    todo = left(bundle.arms, setting, rows.read())
    if only is not None:
        chosen = {arm.model for arm in bundle.arms.arms if arm.name == only}
        todo = [job for job in todo if job.model in chosen]
    print(f"{len(todo)} of {len(jobs(bundle.arms, setting))} trainings are left", flush=True)
    deadline = time.monotonic() + 60 * minutes
    for row in _finished(folder, setting, todo, deadline, min(workers, len(todo)), _Pace(bundle.arms, rows.read())):
        rows.append(row)
        print(f"{row['table'] or 'measured'} {row['arch']} seed {row['seed']}: {row['train_s']:.0f} s", flush=True)
    print(f"{len(left(bundle.arms, setting, rows.read()))} are left", flush=True)


def jobs(arms: Arms, setting: Setting) -> list[Job]:
    """Every training once: the first seed of a table at all sizes, then the next; random architectures have one."""
    found: dict[Job, None] = {TEACHER: None}
    for table in TABLES:
        for seed in setting.seeds:
            for size in range(setting.sizes):
                for name in dict.fromkeys(arm.name for arm in arms.arms):
                    models = arms.of(size, name)
                    if name == RANDOM:
                        models = models[: setting.randoms] if seed == setting.seeds[0] else []
                    found |= dict.fromkeys(Job(table, model, seed) for model in models)
    return list(found)


def left(arms: Arms, setting: Setting, rows: Sequence[Row]) -> list[Job]:
    """The trainings that have no row yet."""
    done = {(row["table"], row["model"], row["seed"]) for row in rows}
    return [job for job in jobs(arms, setting) if (job.table, job.model, job.seed) not in done]


class _Pace:
    """How long a training takes, by those before: in proportion to the model's FLOPs."""

    def __init__(self, arms: Arms, rows: Sequence[Row]) -> None:
        self.arms = arms
        self.rates = [self._rate(row) for row in rows if row["table"]]

    def learn(self, row: Row) -> None:
        """Another training has ended."""
        if row["table"]:
            self.rates.append(self._rate(row))

    def seconds(self, job: Job) -> float:
        """At most so long, with some margin; 0 before anything is known."""
        return _MARGIN * median(self.rates) * self._flops(job.model) if self.rates and job != TEACHER else 0.0

    def _rate(self, row: Row) -> float:
        return float((row["train_s"] + row["measure_s"]) / self._flops(row["model"]))

    def _flops(self, model: str) -> float:
        return float(self.arms.models[model].costs["flops"]) + 2e8  # what does not shrink: embedding, probes


def _finished(
    folder: Path, setting: Setting, todo: list[Job], deadline: float, workers: int, pace: _Pace
) -> Iterator[Row]:
    """Rows as they come; a training that would not end in time is not begun."""

    def begin() -> Job | None:
        if todo and time.monotonic() + pace.seconds(todo[0]) < deadline:
            return todo.pop(0)
        return None

    if workers <= 1:
        studio = Studio(Bundle(folder), setting).open() if todo else None
        while studio is not None and (job := begin()) is not None:
            row = studio.row(job)
            pace.learn(row)
            yield row
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_open, initargs=(folder, setting)) as pool:
        running: set[Future[Row]] = set()
        while True:
            while len(running) < workers and (job := begin()) is not None:
                running.add(pool.submit(_row, job))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                row = future.result()
                pace.learn(row)
                yield row


def _open(folder: Path, setting: Setting) -> None:
    global _studio
    _studio = Studio(Bundle(folder), setting).open()


def _row(job: Job) -> Row:
    assert _studio is not None, "a worker has opened it"
    return _studio.row(job)


def _keep_arms(folder: Path, results: Path) -> None:
    """What the rows belong to, beside them."""
    results.mkdir(parents=True, exist_ok=True)
    if (folder / ARMS_FILE).resolve() != (results / ARMS_FILE).resolve():
        shutil.copyfile(folder / ARMS_FILE, results / ARMS_FILE)
