"""The wheel carries the whole package and its YAML, and works without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA_FOLDERS = ("search_spaces", "trials")


def run(*arguments: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel alone; built offline, and from a copy to leave no build/."""
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("nas_ray", *DATA_FOLDERS):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    offline = ("--no-deps", "--no-index")
    run(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(wheels), str(source), cwd=wheels)
    [wheel] = wheels.glob("*.whl")
    run(*pip, "install", *offline, "--target", str(target), str(wheel), cwd=wheels)
    return target


@pytest.mark.parametrize("command", ["spaces", "trials"])
def test_the_wheel_lists_what_it_ships(site: Path, tmp_path: Path, command: str) -> None:
    folder = {"spaces": "search_spaces", "trials": "trials"}[command]
    shipped = sorted(path.stem for path in (ROOT / folder).glob("*.yaml"))
    assert shipped
    listed = run("-m", "nas_ray.cli", command, cwd=tmp_path, PYTHONPATH=str(site)).split()
    assert [name for name in shipped if name not in listed] == []


def test_the_package_is_the_wheel_s(site: Path, tmp_path: Path) -> None:
    found = run("-c", "import nas_ray; print(nas_ray.__file__)", cwd=tmp_path, PYTHONPATH=str(site))
    assert Path(found.strip()).is_relative_to(site)


def test_the_wheel_holds_every_file(site: Path) -> None:
    ours = {".py", ".typed", ".yaml"}
    wanted = {path.relative_to(ROOT) for path in (ROOT / "nas_ray").rglob("*") if path.suffix in ours}
    for folder in DATA_FOLDERS:
        wanted |= {Path("nas_ray", folder, path.name) for path in (ROOT / folder).glob("*.yaml")}
    assert sorted(str(path) for path in wanted if not (site / path).exists()) == []


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "nas_ray").rglob("__init__.py")}
    assert set(listed) == packages | {f"nas_ray.{folder}" for folder in DATA_FOLDERS}
