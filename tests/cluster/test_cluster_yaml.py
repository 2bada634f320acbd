"""cluster.yaml is what Ray's launcher accepts, and names only files that exist. Nothing is started."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
Config = dict[str, Any]


@pytest.fixture
def config() -> Config:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def check(config: Config) -> None:
    """What `ray up` does with the file before it calls the cloud."""
    validate_config(prepare_config(copy.deepcopy(config)))


def _misspell(config: Config) -> None:
    config["max_worker"] = config.pop("max_workers")


def _unknown_head(config: Config) -> None:
    config["head_node_type"] = "haed"


def _lose_node_config(config: Config) -> None:
    del config["available_node_types"]["gpu"]["node_config"]


def _text_for_number(config: Config) -> None:
    config["available_node_types"]["gpu"]["min_workers"] = "one"


def _more_workers_than_allowed(config: Config) -> None:
    config["max_workers"] = config["available_node_types"]["gpu"]["min_workers"] - 1


def test_ray_accepts_it(config: Config) -> None:
    check(config)


@pytest.mark.parametrize(
    "broken",
    [_misspell, _unknown_head, _lose_node_config, _text_for_number, _more_workers_than_allowed],
)
def test_ray_refuses_a_broken_copy(config: Config, broken: Callable[[Config], None]) -> None:
    broken(config)
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        check(config)


def test_mounts_what_exists(config: Config) -> None:
    # The launcher skips a missing source in silence. What starts with ~ is the user's own.
    sources = [source for source in config["file_mounts"].values() if not source.startswith("~")]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.parametrize("commands", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_every_node_asks_for_the_token(config: Config, commands: str) -> None:
    [start] = [command for command in config[commands] if "ray start" in command]
    exports, *_ = start.split(";")
    assert "RAY_AUTH_MODE=token" in shlex.split(exports)
    assert "~/.ray/auth_token" in config["file_mounts"]


def test_installs_the_pinned_versions(config: Config) -> None:
    assert any(command.endswith("-e . -c constraints.txt") for command in config["setup_commands"])
