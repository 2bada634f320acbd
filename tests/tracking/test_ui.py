"""What a person sees in the MLflow UI, in a real browser: the run table, the front, three candidates side by side."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from nas_ray.tracking import MlflowTracker, compare_path, share_view, ui_address, ui_command, ui_environment
from nas_ray.tracking._view import run_view
from tests.tracking.test_mlflow import record

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTH, HEIGHT = 1700, 1300
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no browser is installed")


def fill(uri: str, folder: Path) -> None:
    """A finished search: a front of twelve candidates, a reference, the summary."""
    tracker = MlflowTracker(uri, "quickstart", "quickstart", "quickstart-1a2b3c4d", folder / "art", folder / "s.jsonl")
    for i in range(13):
        loss = 0.9 - 0.06 * i
        tracker.candidate_started(record(i, **({"kind": "reference", "label": "uniform"} if i == 12 else {})))
        tracker.candidate_rung(f"candidate-{i}", 8, loss + 0.1)
        metrics = {
            "select_loss": loss,
            "test_loss": loss + 0.01,
            "encoder_params": 1e6 * (i + 1),
            "latency_ms": 1.5 * (i + 1),
            "rung": 1,
        }
        tracker.candidate_ended(f"candidate-{i}", "completed", metrics, {"stage": "test", "rung": "1"})
    tracker.mark_pareto(f"candidate-{i}" for i in range(12))
    tracker.summary({"seed": 0}, {"front_size": 12})
    assert tracker.close(120)


@pytest.fixture(scope="module")
def place(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The store of a finished search, and where ``nas-ray ui`` serves it."""
    folder = tmp_path_factory.mktemp("ui")
    shutil.copy(template, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    fill(uri, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "ui.log").open("ab") as log:
        process = subprocess.Popen(
            ui_command(uri, folder / "art", port),
            stdout=log, stderr=log, env={**os.environ, **ui_environment(uri)}, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_for(f"{ui_address(uri, port)}/health", folder / "ui.log")
        yield uri, ui_address(uri, port)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def browse(url: str, folder: Path, ready: Callable[[str], bool]) -> tuple[str, Path]:
    """The page as a browser has built it, and its picture, which also goes to the folder NAS_RAY_SCREENSHOTS.

    A busy machine may take the picture of a page that still loads: that is done again, until it is ``ready``.
    """
    assert BROWSER is not None
    image = folder / "page.png"
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={WIDTH},{HEIGHT}",
        f"--screenshot={image}", "--dump-dom",
    ]  # fmt: skip
    page = ""
    for budget in (20_000, 60_000, 120_000, 240_000):
        waiting = [*command, f"--virtual-time-budget={budget}", url]
        page = subprocess.run(waiting, check=True, capture_output=True, text=True, timeout=200).stdout
        if ready(page):
            break
    if kept := os.environ.get("NAS_RAY_SCREENSHOTS"):
        shutil.copy(image, Path(kept) / f"{folder.name}.png")
    return page, image


def words(page: str) -> str:
    return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL).split())


def num_points(page: str) -> int:
    """Points of all scatter charts."""
    return len(re.findall(r'<path class="point', page))


def num_colours(image: Path) -> int:
    from PIL import Image

    pixels = np.asarray(Image.open(image).convert("RGB")).reshape(-1, 3)
    return len(np.unique(pixels, axis=0))


def test_a_view_fits_into_a_tag_and_names_what_is_logged() -> None:
    view = run_view("quickstart-1a2b3c4d")
    assert len(json.dumps(view)) < 20_000  # MLflow's limit
    assert "metrics.`select_loss`" in view["selectedColumns"]
    assert [chart["xaxis"]["key"] for chart in view["compareRunCharts"]] == ["encoder_params", "latency_ms"]


@needs_browser
def test_the_run_table_has_columns_for_comparison(place: tuple[str, str], tmp_path: Path) -> None:
    uri, address = place
    path = share_view(uri, "quickstart", "quickstart-1a2b3c4d", ["encoder_params", "latency_ms"])
    assert path == share_view(uri, "quickstart", "quickstart-1a2b3c4d", ["encoder_params", "latency_ms"])
    page, image = browse(address + path, tmp_path, lambda page: "13 matching runs" in words(page))
    text = words(page)
    for column in ("select_loss", "test_loss", "encoder_params", "latency_ms"):
        assert column in text
    assert "13 matching runs" in text  # not the summary
    assert "candidate-11" in text
    assert num_colours(image) > 100


@needs_browser
def test_the_front_is_a_scatter_chart(place: tuple[str, str], tmp_path: Path) -> None:
    uri, address = place
    path = share_view(uri, "quickstart", "quickstart-1a2b3c4d", ["encoder_params", "latency_ms"])
    page, image = browse(f"{address}{path}&compareRunsMode=CHART", tmp_path, lambda page: num_points(page) > 0)
    assert page.count("scatterlayer") >= 2
    text = words(page)
    assert "encoder_params" in text
    assert "latency_ms" in text
    assert num_points(page) == 2 * 13
    assert num_colours(image) > 100


@needs_browser
def test_three_candidates_side_by_side(place: tuple[str, str], tmp_path: Path) -> None:
    uri, address = place
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None
    front = client.search_runs([experiment.experiment_id], "tags.pareto = 'true'", max_results=3)
    ids = [run.info.run_id for run in front]
    page, image = browse(
        address + compare_path(experiment.experiment_id, ids), tmp_path, lambda page: "num_attention" in words(page)
    )
    text = words(page)
    assert "Comparing 3 Runs from 1 Experiment" in text
    for run in front:
        assert run.data.params["block_1"] in text
    assert "num_attention" in text
    assert num_colours(image) > 100
