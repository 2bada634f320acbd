"""Paths and architectures: immutable, hashable, with a canonical text form."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nas_ray.errors import SpaceError
from nas_ray.space._operations import Operation, parse_operation

_WIDTH = re.compile(r"[1-9][0-9]*")
_GIVEN = re.compile(r"model:([0-9a-f]+)")
_UNIFORM = re.compile(r"uniform:D([1-9][0-9]*)-A([1-9][0-9]*)-H([1-9][0-9]*)-I([1-9][0-9]*)")


@dataclass(frozen=True, order=True)
class Path:
    """One operation per layer of one block, all at one hidden size; trailing identities are not written."""

    width: int
    operations: tuple[Operation, ...]

    @cached_property
    def path_id(self) -> str:
        return f"{self.width}:" + "-".join(operation.token for operation in self.operations)

    @property
    def depth(self) -> int:
        return len(self.operations)

    def num_params(self) -> int:
        """Weights of the operations; maps to and from the block are counted by ``parts``."""
        return sum(operation.num_params(self.width) for operation in self.operations)


def parse_path(path_id: str, head_size: int) -> Path:
    """The path that ``path_id`` (``width:token-token-...``) names.

    Raises:
        SpaceError: the text is not of this form, or names an unknown operation.
    """
    width, _, tokens = path_id.partition(":")
    if not _WIDTH.fullmatch(width) or not tokens:
        raise SpaceError(f"'{path_id}' is no path; accepted: width:operation-operation-..., as in 192:M6-F4.")
    return Path(int(width), tuple(parse_operation(token, head_size) for token in tokens.split("-")))


@dataclass(frozen=True, order=True)
class Architecture:
    """The embedding size and the paths of all blocks; no weights (``kind: paths`` spaces)."""

    embedding_size: int
    paths: tuple[Path, ...]

    @cached_property
    def arch_id(self) -> str:
        return "/".join([f"e{self.embedding_size}", *(path.path_id for path in self.paths)])


def parse_architecture(arch_id: str, head_size: int) -> Architecture:
    """The architecture that ``arch_id`` names.

    Raises:
        SpaceError: the text is not e<size>/path/path/...
    """
    first, *rest = arch_id.split("/")
    if not (first[:1] == "e" and _WIDTH.fullmatch(first[1:]) and rest):
        raise SpaceError(f"'{arch_id}' is no architecture; accepted: e<size>/<path>/<path>/...")
    return Architecture(int(first[1:]), tuple(parse_path(path, head_size) for path in rest))


@dataclass(frozen=True, order=True)
class UniformArchitecture:
    """A plain encoder, Bort's tuple of depth, heads, hidden and intermediate size (``kind: uniform``)."""

    depth: int
    heads: int
    hidden: int
    intermediate: int

    @cached_property
    def arch_id(self) -> str:
        return f"uniform:D{self.depth}-A{self.heads}-H{self.hidden}-I{self.intermediate}"


def parse_uniform(arch_id: str) -> UniformArchitecture:
    """The plain encoder that ``arch_id`` names.

    Raises:
        SpaceError: the text is not uniform:D<depth>-A<heads>-H<hidden>-I<intermediate>.
    """
    match = _UNIFORM.fullmatch(arch_id)
    if match is None:
        raise SpaceError(
            f"'{arch_id}' is no plain encoder; accepted: uniform:D<depth>-A<heads>-H<hidden>-I<intermediate>."
        )
    return UniformArchitecture(*map(int, match.groups()))


@dataclass(frozen=True, order=True)
class GivenModel:
    """A model as it is, whatever it is made of; ``digest``: hexadecimal digits of what its files hold."""

    digest: str

    @cached_property
    def arch_id(self) -> str:
        return f"model:{self.digest}"


AnyArchitecture = Architecture | UniformArchitecture | GivenModel


def parse_any(arch_id: str, head_size: int) -> AnyArchitecture:
    """The architecture of any kind that ``arch_id`` names.

    Raises:
        SpaceError: it is of no form.
    """
    if (given := _GIVEN.fullmatch(arch_id)) is not None:
        return GivenModel(given[1])
    return parse_uniform(arch_id) if arch_id.startswith("uniform:") else parse_architecture(arch_id, head_size)


def candidate_id(config: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of the sha256 of a candidate's canonical configuration."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
