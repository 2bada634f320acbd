"""A driver killed again and again with ``kill -9`` in one search, resumed each time: nothing is lost or done twice.

    python benchmarks/kills.py run [FOLDER]           20 kills, 240 candidates by table; one, then two in flight
    python benchmarks/kills.py quickstart [FOLDER]    5 kills of the real quickstart, at random times

Moments are drawn with a seed: a line of the journal, and up to 0.2 s after it. What must hold is asserted; a row goes
to ``benchmarks/results/kills.jsonl``. With one candidate in flight journal, candidates and front must be those of an
undisturbed run, byte by byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _table_run import drive, make_run, records

from nas_ray.stages import Run
from nas_ray.tables import read_parquet
from nas_ray.tracking import local_uri

ROOT = Path(__file__).parent.parent
ROWS = ROOT / "benchmarks" / "results" / "kills.jsonl"
SECONDS = 0.02  # a rung
QUICKSTART_SECONDS = (15.0, 75.0)  # between two kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "quickstart"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path, nargs="?")
        command.add_argument("--kills", type=int, default={"run": 20, "quickstart": 5}[name])
        command.add_argument("--rows", type=Path, default=ROWS, help="where rows go")
        if name == "run":
            command.add_argument("--candidates", type=int, default=240)
            command.add_argument("--in-flight", type=int, nargs="+", default=(1, 2))
    commands.add_parser("drive").add_argument("folder", type=Path)
    args = parser.parse_args()
    if args.command == "drive":
        drive(args.folder)
        return
    storage = args.folder or Path(tempfile.mkdtemp(prefix="nas_ray-kills-"))
    if args.command == "quickstart":
        keep(args.rows, quickstart(storage, args.kills))
        return
    for in_flight in args.in_flight:
        keep(args.rows, by_table(storage, in_flight, args.candidates, args.kills))


def keep(rows: Path, row: dict[str, Any]) -> None:
    row |= {"load_average": round(os.getloadavg()[1], 1), "cores": os.cpu_count()}
    with rows.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row)


def by_table(storage: Path, in_flight: int, candidates: int, kills: int) -> dict[str, Any]:
    """One search that is killed, beside one that is not."""
    settings = (f"search.num_candidates={candidates}", f"search.max_concurrent={in_flight}")
    whole, killed = (make_run(storage / f"{name}-{in_flight}", SECONDS, *settings) for name in ("whole", "killed"))
    began = time.monotonic()
    subprocess.run(driver(whole), env=environment(), check=True)
    undisturbed = time.monotonic() - began

    rng, restarts = random.Random(in_flight), []
    journal = killed.folder / "journal.jsonl"
    for moment in sorted(rng.sample(range(1, num_lines(whole.folder / "journal.jsonl") - 2), kills)):
        began = time.monotonic()
        line = max(moment, num_lines(journal) + 1)  # not before it searches again
        kill(driver(killed), partial(reaches, journal, line), rng.random() * 0.2)
        restarts.append(time.monotonic() - began)
    subprocess.run(driver(killed), env=environment(), check=True)
    found = check(killed)
    same = same_files(whole, killed)
    assert same or in_flight > 1, "the front is not that of an undisturbed run"
    return {
        "benchmark": "kills", "search": "table", "in_flight": in_flight, "kills": kills, **found,
        "as_undisturbed": same, "undisturbed_s": round(undisturbed, 1), "longest_life_s": round(max(restarts), 1),
    }  # fmt: skip


def quickstart(storage: Path, kills: int) -> dict[str, Any]:
    """The real one, from the first stage to the last."""
    rng = random.Random(0)
    search = [sys.executable, "-m", "nas_ray.cli", "search", "quickstart", "--storage", str(storage)]
    stages = []
    for _ in range(kills):
        seconds = rng.uniform(*QUICKSTART_SECONDS)
        kill(search, lambda: True, seconds)
        (folder,) = storage.glob("quickstart-*")
        stages.append(sum(Run.open(folder).is_done(stage) for stage in ("profile", "supernet", "tabulate", "search")))
    subprocess.run(search, env=environment(), check=True)
    run = Run.open(folder)
    return {"benchmark": "kills", "search": "quickstart", "kills": kills, "stages_done": stages} | check(run)


# -- killing -----------------------------------------------------------------------------------------------------------


def driver(run: Run) -> list[str]:
    return [sys.executable, __file__, "drive", str(run.folder)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "benchmarks")))}


def kill(command: list[str], reached: Callable[[], bool], seconds: float) -> None:
    """Start ``command`` and kill it ``seconds`` after ``reached``; it must die of that and nothing else."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
        while not reached() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(seconds)
        process.kill()
        process.wait()
        log.seek(0)
        assert process.returncode == -signal.SIGKILL, log.read()


def reaches(journal: Path, line: int) -> bool:
    return num_lines(journal) >= line


def num_lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


# -- checking ----------------------------------------------------------------------------------------------------------


def check(run: Run) -> dict[str, Any]:
    """One suggestion, one end, one row and one MLflow run for every candidate and reference."""
    found = records(run)
    suggested = [r for r in found if r["kind"] == "suggested"]
    once = dict.fromkeys((r["candidate_id"] for r in suggested), 1)
    assert len(once) == len(suggested) == len({r["arch_id"] for r in suggested})
    done = [r for r in found if r["kind"] == "done"]
    assert Counter(r["candidate_id"] for r in done) == once
    ends = Counter(r["status"] for r in done)
    assert set(ends) <= {"completed", "stopped"}, ends
    assert Counter(read_parquet(run.folder / "candidates.parquet")[0]["candidate_id"]) == once
    candidates = sum(r["task"] == "candidate" for r in suggested)
    assert candidates == run.spec.search.num_candidates
    tracked = check_tracking(run, local_uri(run.storage))
    return {"candidates": candidates, "references": len(once) - candidates, "ends": ends, "mlflow_runs": tracked}


def check_tracking(run: Run, uri: str) -> int:
    """How many runs MLflow has: one for each candidate, reference and summary, with its loss; none is still running."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    place = client.get_experiment_by_name(run.spec.tracking.experiment or run.spec.name)
    assert place is not None
    runs = client.search_runs([place.experiment_id], max_results=5000)
    kinds = Counter(one.data.tags["nas_ray.kind"] for one in runs)
    assert kinds.pop("summary") == 1
    judged = [one for one in runs if one.data.tags["nas_ray.kind"] != "summary"]
    assert {one.info.status for one in judged} == {"FINISHED"}
    assert all("select_loss" in one.data.metrics for one in judged)
    once = {r["candidate_id"]: 1 for r in records(run) if r["kind"] == "done"}
    assert Counter(one.data.tags["nas_ray.candidate_id"] for one in judged) == once
    return len(runs)


def same_files(whole: Run, killed: Run) -> bool:
    """Whether journal, candidates and front are the same."""
    journals = {(run.folder / "journal.jsonl").read_bytes() for run in (whole, killed)}
    tables = ("candidates.parquet", "front.parquet")
    return len(journals) == 1 and all(
        read_parquet(whole.folder / name) == read_parquet(killed.folder / name) for name in tables
    )


if __name__ == "__main__":
    main()
