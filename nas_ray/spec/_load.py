"""YAML text to frozen specs: finding files, ``--set``, clear errors, the hash."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

import nas_ray
from nas_ray.errors import SpecError, unknown
from nas_ray.space import PathSpace, UniformSpace
from nas_ray.spec._space import PathSpaceSpec, UniformSpaceSpec
from nas_ray.spec._task import Kind, TaskSpec
from nas_ray.spec._trial import TrialSpec

Model = TypeVar("Model", bound=BaseModel)


def shipped(folder: str) -> dict[str, Path]:
    """The shipped files of ``search_spaces`` or ``trials`` by name: in the wheel, else beside the package."""
    package = Path(nas_ray.__file__).parent
    for place in (package / folder, package.parent / folder):
        if place.is_dir():
            return {file.stem: file for file in sorted(place.glob("*.yaml"))}
    return {}


def find(name: str, folder: str, what: str) -> Path:
    """The file that ``name`` means: a path if it has a ``/`` or a suffix, else a shipped name.

    Raises:
        SpecError: there is no such file or name.
    """
    if "/" in name or Path(name).suffix:
        file = Path(os.path.expanduser(name))
        if not os.path.isfile(file):
            raise SpecError(f"no such file; accepted: a {what} file, or one of {', '.join(shipped(folder))}", file=name)
        return file
    files = shipped(folder)
    if name not in files:
        raise SpecError(unknown(what, name, files))
    return files[name]


def load_trial(name: str, overrides: Sequence[str] = ()) -> TrialSpec:
    """The trial spec called ``name``, with ``a.b=c`` overrides; ``base`` in it names a spec that it starts from.

    Raises:
        SpecError: no such spec, not YAML, an unknown key or a value that is not accepted.
    """
    file = find(name, "trials", "trial spec")
    data = _with_base(file, ())
    for override in overrides:
        _override(data, override)
    return parse(TrialSpec, data, _shown(file))


def edit(spec: Model, overrides: Sequence[str]) -> Model:
    """``spec`` with ``a.b=c`` overrides.

    Raises:
        SpecError: as ``load_trial``.
    """
    data = spec.model_dump(mode="json")
    for override in overrides:
        _override(data, override)
    return parse(type(spec), data, "--set")


def read_settings(default: Model, file: Path) -> Model:
    """``default`` with what the YAML ``file`` says.

    Raises:
        SpecError: no such file, not YAML, an unknown key or a value that is not accepted.
    """
    return parse(type(default), _merged(default.model_dump(mode="json"), _read(file)), _shown(file))


def load_space(name: str, base: Path | None = None) -> PathSpace | UniformSpace:
    """The search space called ``name``; relative files are tried beside ``base`` too."""
    return load_space_spec(name, base).build()


def is_space(name: str) -> bool:
    """Whether ``name`` means a search space and not a trial spec: a file with a ``kind``, or a shipped name."""
    if name in shipped("trials"):
        return False
    return name in shipped("search_spaces") or "kind" in _read(find(name, "trials", "trial spec"))


def is_task(name: str) -> bool:
    """Whether ``name`` is a file that describes a downstream task."""
    if not ("/" in name or Path(name).suffix):
        return False
    data = _read(find(name, "trials", "trial spec"))
    return "metrics" in data or data.get("kind") in get_args(Kind)


def load_space_spec(name: str, base: Path | None = None) -> PathSpaceSpec | UniformSpaceSpec:
    """The checked text of the search space called ``name``."""
    beside = base / name if base is not None else None
    file = beside if beside is not None and os.path.isfile(beside) else find(name, "search_spaces", "search space")
    data = _read(file)
    if "kind" not in data:
        raise SpecError("this key is missing; accepted: paths, uniform", file=_shown(file), key="kind")
    kinds: dict[Any, type[PathSpaceSpec] | type[UniformSpaceSpec]] = {
        "paths": PathSpaceSpec,
        "uniform": UniformSpaceSpec,
    }
    kind = str(data["kind"])
    if kind not in kinds:
        raise SpecError(unknown("kind", kind, kinds), file=_shown(file), key="kind")
    return parse(kinds[kind], data, _shown(file))


def load_task_spec(file: Path) -> TaskSpec:
    """The task that the YAML ``file`` describes.

    Raises:
        SpecError: as ``load_trial``.
    """
    if not os.path.isfile(file):
        raise SpecError("no such file; accepted: a YAML file that describes a task", file=str(file))
    return parse(TaskSpec, _read(file), _shown(file))


def load_task_specs(file: Path) -> dict[str, TaskSpec]:
    """The tasks of a YAML ``file`` that holds several, by name."""
    return {name: parse(TaskSpec, data, f"{_shown(file)}: {name}") for name, data in _read(file).items()}


def parse(model: type[Model], data: Mapping[str, Any], file: str) -> Model:
    """``data`` as a frozen ``model``; the first problem becomes a SpecError with its dotted key."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc = [str(part) for part in first["loc"]]
        in_key = loc[-1:] == ["[key]"]  # pydantic's mark for the key of a mapping, not its value
        loc = loc[:-1] if in_key else loc
        key = ".".join(loc)
        if first["type"] == "extra_forbidden":
            *parents, name = loc
            known = _keys(model, parents)
            message = unknown("key", name, known, (f"{k}.{name}" for k in known if name in _keys(model, [*parents, k])))
        elif first["type"] == "literal_error":
            known = re.findall(r"'([^']*)'", first["ctx"]["expected"])
            message = unknown("key" if in_key else "value", str(first["input"]), known)
        elif first["type"] == "missing":
            message = "this key is missing and has no default"
        else:
            message = first["msg"].removeprefix("Value error, ")
            if not isinstance(first["input"], dict | list | BaseModel):
                message += f" (found: {first['input']!r})"
        raise SpecError(message, file=file, key=key) from error


def to_yaml(spec: BaseModel) -> str:
    """The resolved spec as YAML, all defaults written out."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False)


def spec_hash(*specs: BaseModel) -> str:
    """Eight hexadecimal digits that name the resolved specs."""
    text = json.dumps([spec.model_dump(mode="json") for spec in specs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _shown(file: Path) -> str:
    """A path a reader recognises: relative where that is shorter."""
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # a date that is none is a ValueError
        reason = " ".join(str(error).split())
        raise SpecError(f"cannot be read as YAML: {reason}", file=_shown(file)) from error
    if not isinstance(data, dict):
        raise SpecError("holds no keys; accepted: a YAML mapping", file=_shown(file))
    return data


def _with_base(file: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """What ``file`` holds over what its ``base`` holds; ``above``: the files whose base it is."""
    data = _read(file)
    if "base" not in data:
        return data
    base = data.pop("base")
    beside = file.parent / str(base)
    try:
        found = beside if beside.is_file() else find(str(base), "trials", "trial spec")
    except SpecError as error:
        raise SpecError(str(error), file=_shown(file), key="base") from error
    if found.resolve() in (file.resolve(), *above):
        raise SpecError(f"'{base}' starts from this file itself; accepted: another spec", file=_shown(file), key="base")
    under = _with_base(found, (*above, file.resolve()))
    if "kind" in under:
        raise SpecError(f"'{base}' is a search space; accepted: a trial spec", file=_shown(file), key="base")
    if (space := found.parent / str(under.get("space"))).is_file():
        under["space"] = str(space.resolve())  # named beside its own file
    return _merged(under, data)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings key by key; any other value of ``over`` replaces that of ``under``."""
    both = {k: _merged(under[k], v) for k, v in over.items() if isinstance(v, dict) and isinstance(under.get(k), dict)}
    return {**under, **over, **both}


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SpecError(f"--set {override}: accepted: --set a.b=value")
    try:
        value = yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise SpecError(f"the value '{text}' is not YAML", file="--set", key=key) from error
    *parents, last = key.split(".")
    place: Any = data
    for done, parent in enumerate(parents):
        at = _at(place, parent, parents[:done])
        below = place[at] if isinstance(place, list) else place.get(at)
        if not isinstance(below, dict | list):
            below = place[at] = {}
        place = below
    place[_at(place, last, parents)] = value


def _at(place: Any, text: str, parents: list[str]) -> Any:
    """The key of a mapping, or the place in a list, that ``--set`` names, as in ``text.sources.0.share=1``."""
    if not isinstance(place, list):
        return text
    if not (text.isdecimal() and int(text) < len(place)):
        raise SpecError(f"no item '{text}' in a list of {len(place)}", file="--set", key=".".join(parents))
    return int(text)


def _keys(model: type[BaseModel], parents: Iterable[str]) -> list[str]:
    """The keys that ``model`` accepts below the dotted path ``parents``."""
    here: Any = model
    for parent in parents:
        if isinstance(here, type) and issubclass(here, BaseModel) and parent in here.model_fields:
            here = _model_in(here.model_fields[parent].annotation)
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _model_in(annotation: Any) -> Any:
    """The model inside ``Model | None`` or ``tuple[Model, ...]``."""
    if get_origin(annotation) in (Union, UnionType, tuple):
        for inner in get_args(annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                return inner
    return annotation
