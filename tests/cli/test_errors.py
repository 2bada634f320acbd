"""Bad input: one clear line on stderr, exit code 2 or 3, no traceback, nothing left running."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from nas_ray.cli import main
from tests.tiny_trial import nas_ray, nas_ray_process, write_trial


@pytest.fixture
def trial(tmp_path: Path, tiny_teacher_dir: Path, tiny_text_file: Path) -> Path:
    return write_trial(tmp_path / "trial", tiny_teacher_dir, tiny_text_file)


Refused = Callable[..., str]


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Run the command line in this process; returns the one line that it prints on stderr."""

    def run(*arguments: str | Path, code: int = 2) -> str:
        monkeypatch.setattr("sys.argv", ["nas-ray", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert ended.value.code == code, err + out
        lines = [line for line in err.strip().splitlines() if line]
        assert len(lines) == 1, err
        return lines[0]

    return run


def test_as_a_process_it_is_one_line_and_no_traceback() -> None:
    result = nas_ray_process("search", "quikstart")
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr


def test_unknown_trial(refused: Refused) -> None:
    line = refused("search", "quikstart")
    assert "unknown trial spec 'quikstart'" in line
    assert "Did you mean 'quickstart'?" in line


def test_misspelt_key(trial: Path, tmp_path: Path, refused: Refused) -> None:
    data = yaml.safe_load(trial.read_text())
    data["search"]["serchr"] = {}
    trial.write_text(yaml.safe_dump(data))
    line = refused("search", trial, "--storage", tmp_path / "runs")
    assert "trial.yaml" in line
    assert "search.serchr" in line
    assert "Did you mean 'searcher'?" in line


def test_misspelt_key_in_set(trial: Path, refused: Refused) -> None:
    assert "Did you mean 'num_candidates'?" in refused("search", trial, "--set", "search.num_candidate=3")


def test_unknown_searcher(trial: Path, tmp_path: Path, refused: Refused) -> None:
    line = refused("search", trial, "--storage", tmp_path / "runs", "--set", "search.searcher.name=evolutoin")
    assert "known: evolution, nsga2, random, surrogate, tpe" in line
    assert "Did you mean 'evolution'?" in line


def test_check_refuses_what_search_would(trial: Path, refused: Refused) -> None:
    text = trial.read_text()
    trial.write_text(text.replace("num_candidates", "num_candidats"))
    assert "Did you mean 'num_candidates'?" in refused("check", trial)
    data = yaml.safe_load(text)
    data["search"]["searcher"] = {"name": "evolutoin"}
    trial.write_text(yaml.safe_dump(data))
    assert "Did you mean 'evolution'?" in refused("check", trial)
    space = trial.parent / "space.yaml"
    space.write_text(space.read_text().replace("kind: paths", "kind: path"))
    assert "unknown kind 'path'" in refused("check", space)
    assert "unknown kind 'path'" in refused("check", trial)
    assert "no such file" in refused("check", trial.parent / "none.yaml")
    assert "unknown trial spec 'nas_bart'" in refused("check", "nas_bart")


def test_missing_teacher_folder(trial: Path, tmp_path: Path, refused: Refused) -> None:
    line = refused("search", trial, "--storage", tmp_path / "runs", "--set", f"teacher={tmp_path}/nowhere")
    assert "no such folder" in line
    assert "save_pretrained" in line


def test_decoder(trial: Path, tmp_path: Path, refused: Refused) -> None:
    folder = tmp_path / "gpt"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    line = refused("search", trial, "--storage", tmp_path / "runs", "--set", f"teacher={folder}")
    assert "'gpt2' model" in line
    assert "encoders" in line


def test_layers_that_do_not_divide(trial: Path, tmp_path: Path, refused: Refused) -> None:
    space = yaml.safe_load((trial.parent / "space.yaml").read_text())
    (trial.parent / "space.yaml").write_text(yaml.safe_dump({**space, "blocks": 3}))
    line = refused("search", trial, "--storage", tmp_path / "runs")
    assert "4 layers" in line
    assert "3 equal blocks" in line


@pytest.mark.parametrize(("content", "word"), [(b"", "empty"), (b" \n\n ", "empty"), (b"\x00\x01\x02", "binary")])
def test_text_that_is_none(trial: Path, tmp_path: Path, content: bytes, word: str, refused: Refused) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    line = refused("search", trial, "--storage", tmp_path / "runs", "--set", f"text.sources=[{{source: {file}}}]")
    assert str(file) in line
    assert word in line


def test_missing_text(trial: Path, tmp_path: Path, refused: Refused) -> None:
    line = refused("search", trial, "--storage", tmp_path / "runs", "--set", "text.sources=[{source: ./none.txt}]")
    assert "no such file or folder" in line


def test_budget_that_nothing_meets(trial: Path, tmp_path: Path, refused: Refused) -> None:
    arguments = ("search", trial, "--storage", tmp_path / "runs", "--set", "search.constraints.encoder_params=10")
    line = refused(*arguments, code=3)
    assert "encoder_params" in line
    assert "smallest reachable value" in line


def test_storage_that_cannot_be_written(trial: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("")
    line = refused("search", trial, "--storage", tmp_path / "file" / "runs")
    assert "cannot be written" in line
    assert "--storage" in line


def test_address_where_no_cluster_answers(trial: Path, tmp_path: Path, refused: Refused) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = ("search", trial, "--storage", tmp_path / "runs", "--set", "cluster.executor=ray")
    line = refused(*arguments, "--address", address)
    assert f"no Ray cluster answers at {address}" in line


def test_no_run(tmp_path: Path, refused: Refused) -> None:
    for name in ("resume", "front", "status", "report"):
        assert "not a run" in refused(name, tmp_path)


def test_usage() -> None:
    assert nas_ray("search").returncode == 2
    assert nas_ray("front", "x", "--max-params", "many").returncode == 2


def test_no_gpu(trial: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "accepted: graph with device cuda" in refused("search", trial, "--set", "latency.runtime=graph")
    assert "--runtime graph needs --device cuda" in refused("profile", "minilm_small", "--runtime", "graph")
    refusal = refused("profile", "minilm_small", "--runtime", "onnxruntime", "--dtype", "bf16")
    assert "--runtime onnxruntime needs --device cpu and --dtype fp32" in refusal
    for key in ("latency.device", "supernet.device"):
        line = refused("search", trial, "--storage", tmp_path / "runs", "--set", f"{key}=cuda")
        assert f"{key}: found cuda, torch finds no GPU here; accepted: cpu" in line
    assert "torch finds no GPU here" in refused("profile", "minilm_small", "--device", "cuda")
    assert "latency.device" in refused("search", trial, "--set", "latency.device=tpu")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("text.sequence_length=4096", 2, "text.sequence_length: found 4096; accepted: at most 128"),
        ("search.constraints.encoder_params=10", 3, "smallest reachable value"),
        ("space=minilm_small", 2, "do not divide into"),
        ("tracking.enabled=true tracking.uri=gopher://x", 2, "gopher"),
        ("search.objectives=[loss]", 2, "accepted: loss and at least one cost"),
    ],
)
def test_the_plan_refuses_what_the_search_would(
    trial: Path, tmp_path: Path, change: str, code: int, said: str, refused: Refused
) -> None:
    edits = [word for edit in change.split() for word in ("--set", edit)]
    for plan in ((), ("--plan",)):
        line = refused("search", trial, *plan, "--storage", tmp_path / "runs", *edits, code=code)
        assert said in line
        assert not any((tmp_path / "runs").glob("*"))  # a search that was refused leaves no run


def test_what_stage_2_needs_is_looked_at_before_stage_1(
    trial: Path, tmp_path: Path, tiny_teacher_dir: Path, refused: Refused
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((tiny_teacher_dir / name).read_bytes())
    assert "holds no tokenizer" in refused("search", trial, "--storage", tmp_path / "a", "--set", f"teacher={bare}")
    gone = f"text.sources=[{{source: 'dataset:{tmp_path}/none.csv'}}]"
    assert "no such file" in refused("search", trial, "--storage", tmp_path / "a", "--set", gone)


def test_a_profile_that_cannot_be_written(
    trial: Path, tmp_path: Path, tiny_teacher_dir: Path, refused: Refused
) -> None:
    (tmp_path / "file").write_text("")
    space = trial.parent / "space.yaml"
    arguments = ("profile", space, "--teacher", tiny_teacher_dir, "--output")
    assert "cannot be written" in refused(*arguments, tmp_path / "file" / "x.parquet")
    assert "a folder; accepted: the name of a file" in refused(*arguments, tmp_path)


def test_a_folder_of_runs_that_is_not_there(tmp_path: Path, refused: Refused) -> None:
    assert "no such folder of runs" in refused("ui", "--storage", tmp_path / "rnus")
    assert not (tmp_path / "rnus").exists()


def test_a_run_with_an_emptied_spec(tmp_path: Path, refused: Refused) -> None:
    for name in ("spec.yaml", "space.yaml"):
        (tmp_path / name).write_text("")
    assert "not a run" in refused("status", tmp_path)
