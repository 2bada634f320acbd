"""What a block keeps on disk, and what is left of it after an accident."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_ray.distill import Checkpoints
from nas_ray.distill._store import Boundary, BoundaryCache


def boundary(seed: int, masked: bool = False) -> Boundary:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(2, 5, 4, generator=generator) for _ in range(2))
    return Boundary(x, y, torch.rand(2, 5, generator=generator) > 0.5 if masked else None)


@pytest.mark.parametrize("masked", [False, True])
def test_boundaries_come_back_to_the_bit(masked: bool) -> None:
    cache = BoundaryCache(10_000)
    for batch in (3, 0, 7):
        cache.put(batch, boundary(batch, masked))
    cache.put(3, boundary(99, masked))  # already there
    for batch in (0, 7, 3):
        found, expected = cache.get(batch), boundary(batch, masked)
        assert found is not None
        assert torch.equal(found.inputs, expected.inputs)
        assert torch.equal(found.targets, expected.targets)
        assert found.mask is expected.mask is None or torch.equal(found.mask, expected.mask)  # type: ignore[arg-type]
    assert cache.get(1) is None
    assert sorted(cache.held) == [0, 3, 7]
    cache.close()
    assert cache.get(3) is None


def test_the_limit_holds() -> None:
    cache = BoundaryCache(2 * 320 + 5)  # two boundaries of 320 bytes
    for batch in range(4):
        cache.put(batch, boundary(batch))
    assert sorted(cache.held) == [0, 1]
    assert cache.used <= cache.limit
    nothing = BoundaryCache(0)
    nothing.put(0, boundary(0))
    assert nothing.get(0) is None
    nothing.close()
    cache.close()


def test_a_view_is_kept_as_it_looks() -> None:
    cache = BoundaryCache(10_000)
    whole = torch.arange(40.0).reshape(5, 8)
    cache.put(0, Boundary(whole.T, whole[:, ::2].T, None))
    found = cache.get(0)
    assert found is not None
    assert torch.equal(found.inputs, whole.T)
    assert torch.equal(found.targets, whole[:, ::2].T)
    cache.close()


def test_a_full_disk_ends_the_keeping_only(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = BoundaryCache(10_000)
    cache.put(0, boundary(0))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nas_ray.distill._store._write", full)
        cache.put(1, boundary(1))
    cache.put(2, boundary(2))
    assert sorted(cache.held) == [0]
    assert cache.get(0) is not None
    cache.close()


def test_a_file_cut_short_is_forgotten() -> None:
    cache = BoundaryCache(10_000)
    cache.put(0, boundary(0))
    assert cache._file is not None
    cache._file.truncate(100)
    assert cache.get(0) is None
    assert not cache.held
    cache.close()


def saved(folder: Path, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(step, {"w": torch.full((3,), float(step)), "s": torch.tensor(step)}, {"curve": [[step, 0.5]]})
    return checkpoints


def test_the_newest_checkpoint_is_loaded_and_two_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "block-0"
    found = saved(folder, 5, 10, 15).load()
    assert found is not None
    assert torch.equal(found[0]["w"], torch.full((3,), 15.0))
    assert found[0]["s"].shape == ()
    assert found[1] == {"step": 15, "curve": [[15, 0.5]]}
    assert sorted(file.name for file in folder.iterdir()) == [
        f"step-{step:08d}.{kind}" for step in (10, 15) for kind in ("json", "safetensors")
    ]


def test_nothing_saved(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").load() is None


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "garbage"])
def test_a_damaged_newest_file_falls_back(tmp_path: Path, suffix: str, damage: str) -> None:
    checkpoints = saved(tmp_path, 5, 10)
    file = tmp_path / f"step-00000010.{suffix}"
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes({"cut": content[:-5], "empty": b"", "garbage": b"\xff" * len(content)}[damage])
    found = checkpoints.load()
    assert found is not None
    assert found[1]["step"] == 5
    saved(tmp_path, 10)
    found = checkpoints.load()
    assert found is not None
    assert found[1]["step"] == 10


def test_torn_writes_are_ignored_and_swept(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 5)
    (tmp_path / "step-00000010.123.tmp").write_bytes(b"half")
    (tmp_path / "step-00000010.safetensors").write_bytes(b"no json yet")
    found = checkpoints.load()
    assert found is not None
    assert found[1]["step"] == 5
    saved(tmp_path, 10)
    assert not list(tmp_path.glob("*.tmp"))
    assert json.loads((tmp_path / "step-00000010.json").read_text())["step"] == 10
