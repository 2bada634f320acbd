"""The proof that a search can be killed at any moment: `kill -9` of a real driver, twenty times in one search.

Without Ray; `benchmarks/kills.py` does the same through Tune and MLflow.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from nas_ray.tables import read_parquet
from tests.tiny_trial import command, environment, nas_ray_process, run_folder, write_trial

NUM_CANDIDATES, NUM_KILLS = 200, 20


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_killed_at_twenty_random_moments_the_search_is_that_of_an_undisturbed_driver(
    tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path
) -> None:
    trial = write_trial(
        tmp_path / "trial",
        tiny_teacher_dir,
        tiny_text_file,
        search={"num_candidates": NUM_CANDIDATES, "scheduler": {"name": "mo_asha"}},
    )
    done = nas_ray_process("search", trial, "--storage", tmp_path / "runs", timeout=1800)
    assert done.returncode == 0, done.stderr
    whole = run_folder(tmp_path / "runs")
    killed = before_the_search(whole, tmp_path / "killed")
    journal = killed / "journal.jsonl"

    rng = random.Random(0)
    moments = sorted(rng.sample(range(1, _num_lines(whole / "journal.jsonl")), NUM_KILLS))
    for moment in moments:
        _kill_after(command("resume", killed), journal, moment, rng.random() * 0.01)
    done = nas_ray_process("resume", killed, timeout=1800)
    assert done.returncode == 0, done.stderr

    records = [json.loads(line) for line in journal.read_text().splitlines()]
    suggested = [r for r in records if r["kind"] == "suggested"]
    assert len({r["arch_id"] for r in suggested}) == len(suggested) == NUM_CANDIDATES + 3
    ended = Counter(r["candidate_id"] for r in records if r["kind"] == "done")
    assert ended == Counter(r["candidate_id"] for r in suggested)
    assert {r["status"] for r in records if r["kind"] == "done"} == {"completed", "stopped"}
    assert journal.read_bytes() == (whole / "journal.jsonl").read_bytes()
    for name in ("candidates.parquet", "front.parquet"):
        assert read_parquet(killed / name) == read_parquet(whole / name)
    candidates = read_parquet(killed / "candidates.parquet")[0]["candidate_id"]
    assert sorted(candidates) == sorted(ended)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("in_flight", ["1", "2"])
def test_the_same_through_tune_with_mlflow(in_flight: str, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "kills.py"
    options = ["--in-flight", in_flight, "--rows", str(tmp_path / "rows.jsonl")]
    done = subprocess.run([sys.executable, script, "run", tmp_path, *options], env=environment(), check=False)
    assert done.returncode == 0
    assert json.loads((tmp_path / "rows.jsonl").read_text())["kills"] == NUM_KILLS


def before_the_search(whole: Path, storage: Path) -> Path:
    """A copy of a run as it was when its search began: the same tables and weights."""
    copy = storage / whole.name
    shutil.copytree(whole, copy)
    for name in ("journal.jsonl", "candidates.parquet", "front.parquet", "report.html"):
        (copy / name).unlink()
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["stages"] = {name: manifest["stages"][name] for name in ("profile", "supernet", "tabulate")}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def _kill_after(words: list[str], journal: Path, num_lines: int, seconds: float) -> None:
    """Start a driver, kill it ``seconds`` after ``journal`` has ``num_lines``; it must die of that and nothing else."""
    log = journal.parent.parent / "driver.log"
    with log.open("w") as output, subprocess.Popen(words, env=environment(), stdout=output, stderr=output) as process:
        while _num_lines(journal) < num_lines and process.poll() is None:
            time.sleep(0.001)
        time.sleep(seconds)
        process.kill()
    assert process.returncode == -signal.SIGKILL, log.read_text()


def _num_lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0
