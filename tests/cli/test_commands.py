"""What the small commands print."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from nas_ray import api
from nas_ray.spec import shipped
from tests.tiny_trial import nas_ray, write_trial


def test_spaces_states_the_papers_numbers() -> None:
    found = {space["name"]: space for space in json.loads(nas_ray("spaces", "--json").stdout)}
    paper = found["nas_bert"]
    assert (paper["operations_per_layer"], paper["paths_per_block"], paper["blocks"]) == (26, 97650, 4)
    assert f"{paper['architectures']:.2e}" == "9.09e+19"
    assert (found["bort"]["architectures"], found["bort"]["tuples"]) == (300, 360)
    assert 300 <= found["minilm_small"]["paths_per_block"] <= 500
    table = nas_ray("spaces").stdout
    assert "97650" in table
    assert "9.09e+19" in table
    assert "300 valid tuples of 360" in " ".join(table.split())


def test_trials_and_assets_are_listed() -> None:
    assert {line.split()[0] for line in nas_ray("trials").stdout.splitlines()} >= {"quickstart", "smoke", "shrink"}
    listed = nas_ray("assets", "list")
    assert listed.returncode == 0
    assert "minilm" in listed.stdout
    assert "Apache-2.0" in listed.stdout
    assert nas_ray("assets", "where", "minilm").stdout.strip().endswith("minilm")
    unknown = nas_ray("assets", "where", "minlm")
    assert unknown.returncode == 2
    assert "minilm" in unknown.stderr


@pytest.mark.parametrize("name", shipped("trials"))
def test_shipped_trials_check(name: str) -> None:
    lines = api.check(name).splitlines()
    assert lines[0].startswith(f"{name}: trial spec '{name}', space ")
    assert len(lines) > 3


@pytest.mark.parametrize("name", shipped("search_spaces"))
def test_shipped_spaces_check(name: str) -> None:
    words = [str(shipped("search_spaces")[name])]
    for word in words if name in shipped("trials") else [*words, name]:  # a trial spec of that name comes first
        found = api.check(word)
        assert found.startswith(f"{word}: search space '{name}', kind ")
        assert "97650 paths a block" in found or name != "nas_bert"


def test_check_a_file(tmp_path: Path, tiny_text_file: Path) -> None:
    file = write_trial(tmp_path, Path("not/here"), tiny_text_file)
    shown = nas_ray("check", file)
    assert shown.returncode == 0
    assert "10 candidates" in shown.stdout
    assert "2 blocks of up to 2 layers" in shown.stdout
    assert "teacher not/here" in shown.stdout
    assert "search space 'tiny'" in api.check(str(tmp_path / "space.yaml"))


def test_check_states_shrinking_and_bounds(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> None:
    changes = {"supernet": {"shrink": {"mode": "operations"}}, "search": {"constraints": {"params": 5e6}}}
    found = api.check(str(write_trial(tmp_path, tiny_teacher_dir, tiny_text_file, **changes)))
    assert "shrinking mode operations" in found
    assert "params <= 5e+06" in found


def test_profile_writes_a_table(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> None:
    from nas_ray.tables import PartTable

    write_trial(tmp_path, tiny_teacher_dir, tiny_text_file)
    table = tmp_path / "latency.parquet"
    arguments = ("--teacher", tiny_teacher_dir, "--threads", "1", "--seq-len", "16", "--output", table)
    result = nas_ray("profile", tmp_path / "space.yaml", *arguments)
    assert result.returncode == 0, result.stderr
    found = PartTable.read(table)
    assert found.metric == "latency_ms"
    assert all(value > 0 for value in found.values.values())
    assert found.metadata["key"]["sequence_length"] == 16
    assert "mape_percent" in found.metadata["check"]


def test_an_interrupt_that_a_library_swallowed_comes_back_at_the_next_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nas_ray import _console

    console = _console.TerminalConsole()
    console.progress(1, 2, "steps")
    monkeypatch.setattr(_console, "interrupted", threading.Event())
    _console.interrupted.set()
    console.say("still speaks")
    with pytest.raises(KeyboardInterrupt):
        console.progress(2, 2, "steps")


def test_progress_says_how_long_in_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from nas_ray import _console

    now = [100.0]
    monkeypatch.setattr(_console.time, "monotonic", lambda: now[0])
    console = _console.TerminalConsole()
    console.progress(0, 1200, "steps")
    for done, clock in ((8, 500.0), (1100, 600.0)):
        now[0] = clock
        console.progress(done, 1200, "steps")
    slow, fast = capsys.readouterr().out.splitlines()[-2:]
    assert slow == "  8 of 1200 steps, one in 50 s, about 16 h 33 min left"
    assert fast == "  1100 of 1200 steps, 2.2/s, about 45 s left"


def test_threads_speak_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from nas_ray._console import TerminalConsole

    console, inside, most = TerminalConsole(), [0], [0]

    def slow(*_args: object, **_options: object) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        inside[0] -= 1

    monkeypatch.setattr(console.rich, "print", slow)
    asks = (lambda: console.say("x"), lambda: console.show("x"), lambda: console.progress(1, 1, "steps"))
    threads = [threading.Thread(target=lambda ask=ask: [ask() for _ in range(20)]) for ask in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
