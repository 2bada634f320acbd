"""What a search costs beside the evaluation of its candidates, and what an MLflow server that is away costs.

    python benchmarks/overhead.py run [FOLDER]       ours without and with MLflow, stock Tune; one Ray cluster
    python benchmarks/overhead.py outage [FOLDER]    an MLflow server that is killed in mid-search, and sync
    python benchmarks/overhead.py table

A rung sleeps for 50 ms and nothing else. Overhead is what the wall time of all candidates, until every queue is
drained, has beyond these sleeps, a candidate; a candidate's wait is the time its slot was free before it began. The
cluster is up and databases have their schema before anything is timed; the first worker's start is counted. ``stock``
is OptunaSearch, ASHAScheduler and MLflowLoggerCallback on sqlite, with Tune's defaults; ``stock, reused`` keeps its
actors. Rows go to ``benchmarks/results/overhead.jsonl``.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _table_run import Moment, keep_moment, make_run, read_moments, replace, table_config
from schedulers import SCENARIOS, losses_of, space

from nas_ray.space import Architecture
from nas_ray.stages import Context, Run, synchronise
from nas_ray.tracking import local_uri, ui_environment

ROWS = Path(__file__).parent / "results" / "overhead.jsonl"
SECONDS = 0.05
SYSTEMS = ("ours", "ours, MLflow", "stock", "stock, reused")
RUNGS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "outage"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path, nargs="?")
        command.add_argument("--candidates", type=int, default=400)
        command.add_argument("--slots", type=int, default=1)
        command.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    commands.add_parser("table")
    args = parser.parse_args()
    if args.command == "table":
        table()
        return
    storage = args.folder or Path(tempfile.mkdtemp(prefix="nas_ray-overhead-"))
    with cluster():
        if args.command == "outage":
            keep(outage(storage, args.candidates, args.slots))
            return
        for system in args.systems:
            measure = stock if system.startswith("stock") else ours
            keep(measure(system, storage / system.replace(", ", "-"), args.candidates, args.slots))


@contextmanager
def cluster() -> Iterator[None]:
    from nas_ray.cluster import connect, disconnect

    replace()
    connect(None)
    yield
    disconnect()


def keep(row: dict[str, Any]) -> None:
    row |= {"load_average": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


def figures(system: str, moments: dict[str, list[Moment]], wall: float, processor: float, slots: int) -> dict[str, Any]:
    """A row; seconds of ``wall`` and of the driver's ``processor`` time."""
    evaluation = sum(end - begin for rungs in moments.values() for begin, end in rungs)
    waited = 1000 * np.array(waits(list(moments.values()), slots))
    return {
        "benchmark": "overhead", "system": system, "candidates": len(moments), "slots": slots,
        "rungs": sum(map(len, moments.values())), "wall_s": round(wall, 2), "evaluation_s": round(evaluation, 2),
        "driver_cpu_ms": round(1000 * processor / len(moments), 1),
        "overhead_ms": round(1000 * (wall - evaluation / slots) / len(moments), 1),
        "wait_median_ms": round(float(np.median(waited)), 1), "wait_p99_ms": round(float(np.percentile(waited, 99)), 1),
    }  # fmt: skip


def waits(candidates: list[list[Moment]], slots: int) -> list[float]:
    """Seconds for which a slot was free before each candidate but the first of the slot."""
    found: list[float] = []
    free: list[float] = []
    for rungs in sorted(candidates):
        if len(free) == slots:
            found.append(rungs[0][0] - heapq.heappop(free))
        heapq.heappush(free, rungs[-1][1])
    return found


# -- ours --------------------------------------------------------------------------------------------------------------


def ours(system: str, storage: Path, candidates: int, slots: int) -> dict[str, Any]:
    run = make_run(storage, SECONDS, f"search.num_candidates={candidates}", f"tracking.enabled={'MLflow' in system}")
    wall, processor, _ = search(run, slots)
    return figures(system, read_moments(run.folder / "trace"), wall, processor, slots)


def search(run: Run, slots: int, in_between: Callable[[], None] | None = None) -> tuple[float, float, float]:
    """Seconds until everything was drained, those of the driver's processor, and those until the last candidate ended.

    ``in_between`` is called after a third of the candidates.
    """
    from nas_ray.cluster import run_search
    from nas_ray.search import SearchSession
    from nas_ray.stages._candidates import open_session

    context = Context(run)
    context.connect()
    tracker = context.tracker()
    tracker.flush(120)
    session, called = open_session(context, tracker), []

    def progress(now: SearchSession) -> None:
        if in_between is not None and not called and now.num_done >= run.spec.search.num_candidates // 3:
            called.append(True)
            in_between()

    began, busy = time.monotonic(), time.process_time()
    run_search(session, table_config(context), [], None, max_concurrent=slots, progress=progress)  # type: ignore[arg-type]
    ended = time.monotonic() - began
    session.journal.close()
    assert tracker.flush(600) or in_between is not None
    context.close()
    return time.monotonic() - began, time.process_time() - busy, ended


# -- stock -------------------------------------------------------------------------------------------------------------


def stock(system: str, storage: Path, candidates: int, slots: int) -> dict[str, Any]:
    from mlflow import MlflowClient
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    trace = storage / "trace"
    trace.mkdir(parents=True)
    uri = local_uri(storage)
    MlflowClient(uri).search_experiments()  # makes the schema
    os.environ.pop("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", None)
    paths = len(space().paths)
    began, busy = time.monotonic(), time.process_time()
    tune.Tuner(
        tune.with_parameters(sleeper(), trace=trace),
        param_space={f"block_{block}": tune.randint(0, paths) for block in range(space().num_blocks)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=OptunaSearch(),
            scheduler=ASHAScheduler(max_t=RUNGS, grace_period=1, reduction_factor=2),
            num_samples=candidates,
            max_concurrent_trials=slots,
            reuse_actors=system.endswith("reused"),
        ),
        run_config=tune.RunConfig(
            storage_path=str(storage),
            verbose=0,
            callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name="stock")],
        ),
    ).fit()
    wall = time.monotonic() - began
    return figures(system, read_moments(trace), wall, time.process_time() - busy, slots)


def sleeper() -> type:
    from ray import tune

    class Sleeper(tune.Trainable):
        """A candidate of the same table; sleeps as ours do."""

        def setup(self, config: dict[str, Any], trace: Path) -> None:
            self.trace = trace
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            paths = tuple(space().block_paths(b)[new_config[f"block_{b}"]] for b in range(space().num_blocks))
            self.architecture, self.rung = Architecture(384, paths), 0
            return True

        def step(self) -> dict[str, Any]:
            began = time.time()
            loss = losses_of(self.architecture, SCENARIOS["batches"])[self.rung]
            time.sleep(SECONDS)
            self.rung += 1
            keep_moment(self.trace, self.trial_id, began)
            return {"loss": loss, "done": self.rung == RUNGS}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing to keep; Tune asks for it when a trial is stopped."""

    return Sleeper


# -- an MLflow server that is away -------------------------------------------------------------------------------------


def outage(storage: Path, candidates: int, slots: int) -> dict[str, Any]:
    """Search with a server, and with one that is killed after a third of the candidates and comes back for ``sync``."""
    from kills import check_tracking

    storage.mkdir(parents=True, exist_ok=True)
    rates: dict[str, list[float]] = {"there": [], "away": []}
    for number in range(4):  # there, away, away, there: what drifts with the machine cancels
        state = ("there", "away", "away", "there")[number]
        server = Server(storage / f"{number}.db", storage / f"artifacts-{number}")
        server.start()
        run = make_run(
            storage / f"{state}-{number}", SECONDS, f"search.num_candidates={candidates}", f"tracking.uri={server.uri}"
        )
        *_, seconds = search(run, slots, server.kill if state == "away" else None)
        rates[state].append(candidates / seconds)
        if state == "away":
            server.start()
            synchronise(run)
        found = check_tracking(run, server.uri)
        server.kill()
    mean = {state: sum(found) / len(found) for state, found in rates.items()}
    return {
        "benchmark": "outage", "candidates": candidates, "slots": slots, "mlflow_runs": found,
        "candidates_per_s": {state: [round(rate, 2) for rate in all_] for state, all_ in rates.items()},
        "slower_percent": round(100 * (1 - mean["away"] / mean["there"]), 1),
    }  # fmt: skip


class Server:
    """An ``mlflow server`` on 127.0.0.1 that can be killed and started again at the same address."""

    def __init__(self, database: Path, artifacts: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.uri, self._log = f"http://127.0.0.1:{port}", database.with_suffix(".log")
        self._command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"]
        self._command += ["--artifacts-destination", artifacts.as_uri(), "--host", "127.0.0.1", "--port", str(port)]
        self._command += ["--workers", "1"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            environment = {**os.environ, **ui_environment()}
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).read()
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError(self._log.read_text())

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def table() -> None:
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    names = ("system", "candidates", "slots", "overhead_ms", "wait_median_ms", "wait_p99_ms", "load_average")
    print("|", " | ".join(names), "|")
    print("|---" * len(names), "|", sep="")
    for row in rows:
        if row["benchmark"] == "overhead":
            print("|", " | ".join(str(row[name]) for name in names), "|")


if __name__ == "__main__":
    main()
