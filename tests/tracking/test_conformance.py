"""What every tracker keeps to."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from nas_ray.tracking import CandidateRecord, MlflowTracker, NullTracker, Tracker

Open = Callable[[str], MlflowTracker]
RECORD = CandidateRecord("abc", "e128/128:M4-F4", "solver", params={"embedding_size": 128})


@pytest.fixture(params=["mlflow", "null"])
def tracker(request: pytest.FixtureRequest, uri: str, open_tracker: Open) -> Tracker:
    return open_tracker(uri) if request.param == "mlflow" else NullTracker()


def test_whole_life(tracker: Tracker, tmp_path: Path) -> None:
    (tmp_path / "front.parquet").write_bytes(b"x")
    tracker.candidate_started(RECORD)
    tracker.candidate_rung("abc", 8, 0.5)
    tracker.candidate_ended("abc", "completed", {"select_loss": 0.4, "latency_ms": None})
    tracker.mark_pareto(["abc"])
    tracker.summary({"seed": 1}, {"front_size": 1}, [tmp_path / "front.parquet"])
    assert tracker.flush(120)
    assert tracker.close(120)


def test_any_order_never_raises(tracker: Tracker, tmp_path: Path) -> None:
    tracker.mark_pareto(["never seen"])
    tracker.candidate_rung("unknown", 3, math.nan)
    tracker.candidate_rung("unknown", 3, math.inf)
    tracker.candidate_ended("other", 'failed: it\'s "odd" <b>\n\u2603', {"loss": math.nan})
    tracker.candidate_started(CandidateRecord("x" * 300, "a" * 9000, "o" * 9000, params={"long": "p" * 9000}))
    tracker.summary({}, {}, [tmp_path / "missing.html"])
    assert tracker.flush(120)


def test_close_twice_and_calls_after_it(tracker: Tracker) -> None:
    assert tracker.close(120)
    assert tracker.close(120)
    tracker.candidate_started(RECORD)
    tracker.summary({}, {})
    assert tracker.flush(1)
