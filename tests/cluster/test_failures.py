"""Why a candidate failed, told by Tune."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nas_ray.distill import JudgeConfig
from nas_ray.measure import EvaluatorConfig
from tests.search.test_session import LADDER, SPACE, make


@pytest.fixture
def one_node() -> Iterator[None]:
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("one_node")
def test_what_a_trial_raised_is_the_reason_of_its_failure(tmp_path: Path) -> None:
    from nas_ray.cluster import run_search

    session = make(tmp_path, num=1)
    evaluator = EvaluatorConfig("run", SPACE, "inherit", str(tmp_path / "nowhere"), (1.0,), 1, np.zeros((1, 1)))
    run_search(session, JudgeConfig(evaluator, LADDER, 1), [], None, max_concurrent=1, progress=lambda _: None)
    session.journal.close()
    assert [outcome.status for outcome in session.outcomes.values()] == ["failed", "failed"]
    assert all(outcome.reason.startswith("TeacherError: ") for outcome in session.outcomes.values())
    assert all("nowhere" in outcome.reason for outcome in session.outcomes.values())
