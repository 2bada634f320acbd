"""Files are replaced whole, and are on disk before they stand under their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas_ray._files import replace_file, write_text


def test_content_is_synced_before_the_rename_and_the_folder_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, fsync, replace = [], os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        told.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        told.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_text(tmp_path / "a folder" / "x.json", "{}")
    assert told == [f"sync x.json.{os.getpid()}.tmp", "rename", "sync a folder"]
    assert [file.name for file in (tmp_path / "a folder").iterdir()] == ["x.json"]


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("old")

    def torn() -> None:
        with replace_file(file) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        torn()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("write", ["table", "checkpoint", "page", "figure"])
def test_all_that_a_run_keeps_is_written_so(write: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writer ends in ``replace_file``: its folder is synced last."""
    import torch

    from nas_ray.distill._store import Checkpoints
    from nas_ray.report import _figure, _html
    from nas_ray.tables import write_parquet

    synced: list[str] = []
    monkeypatch.setattr("nas_ray._files.sync", lambda path: synced.append(path.name))
    match write:
        case "table":
            write_parquet(tmp_path / "x", {"a": [1]}, {})
        case "checkpoint":
            Checkpoints(tmp_path).save(1, {"w": torch.zeros(1)}, {})
        case "page":
            monkeypatch.setattr(_html, "escape", lambda text: "")
            for name in dir(_html):
                if name in ("_headline", "_figures", "_front", "_comparisons", "_training", "_shrinking", "_tables",
                            "_ranking", "_stages", "_commands", "_spec", "extraction_section",
                            "order_section"):  # fmt: skip
                    monkeypatch.setattr(_html, name, lambda report: "")
            _html.write_html(type("Report", (), {"name": "x"})(), tmp_path / "x")  # type: ignore[arg-type]
        case _:
            monkeypatch.setattr(_figure, "_draw", lambda report, axes: None)
            _figure.write_figure(None, tmp_path / "x")  # type: ignore[arg-type]
    assert synced[-1] == tmp_path.name
    assert synced[0].endswith(".tmp")
