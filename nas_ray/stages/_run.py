"""A run's folder: its spec, which stages are done and intact, and the lock that keeps a second driver out."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nas_ray._files import write_text
from nas_ray._lock import FileLock, Held
from nas_ray.errors import RunError
from nas_ray.space import PathSpace, UniformSpace
from nas_ray.spec import PathSpaceSpec, TrialSpec, UniformSpaceSpec, parse, spec_hash, to_yaml
from nas_ray.stages._order import COURSES, Course

_FORMAT = 1


class Run:
    """The folder ``<name>-<hash8>`` of one execution of a trial spec."""

    def __init__(self, folder: Path, spec: TrialSpec, space_spec: PathSpaceSpec | UniformSpaceSpec) -> None:
        self.folder = folder
        self.spec = spec
        self.space_spec = space_spec
        self._lock = FileLock(folder / ".lock")

    @property
    def run_id(self) -> str:
        """Name and hash; also MLflow's tag and the actors' prefix."""
        return self.folder.name

    @property
    def storage(self) -> Path:
        """Where this and other runs lie."""
        return self.folder.parent

    @property
    def space(self) -> PathSpace | UniformSpace:
        """The search space."""
        return self.space_spec.build()

    @property
    def course(self) -> Course:
        """The stages of its kind of space."""
        return COURSES[self.space_spec.kind]

    @staticmethod
    def place(storage: Path, spec: TrialSpec, space_spec: PathSpaceSpec | UniformSpaceSpec) -> Path:
        """The folder of these specs below ``storage``, whether it is there or not."""
        return storage.expanduser().absolute() / f"{spec.name}-{spec_hash(spec, space_spec)}"

    @classmethod
    def create(cls, storage: Path, spec: TrialSpec, space_spec: PathSpaceSpec | UniformSpaceSpec) -> Run:
        """The folder of this spec below ``storage``, made if it is not there.

        Raises:
            RunError: the storage folder cannot be written, or the folder's spec was changed since.
        """
        folder = cls.place(storage, spec, space_spec)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "spec.yaml").is_file():
                cls(folder, spec, space_spec).write_specs()
        except OSError as error:
            raise RunError(
                f"{storage}: cannot be written: {error.strerror}. Choose another folder with --storage."
            ) from error
        run = cls.open(folder)
        if (run.spec, run.space_spec) != (spec, space_spec):
            raise RunError(
                f"{folder}: this run's spec was changed since it was made; go on with `nas-ray resume {folder}`, or "
                "give the spec another name (--set name=NAME) to search anew."
            )
        return run

    def write_specs(self) -> None:
        """Make the folder hold these specs."""
        write_text(self.folder / "space.yaml", to_yaml(self.space_spec))
        write_text(self.folder / "spec.yaml", to_yaml(self.spec))

    @classmethod
    def open(cls, folder: Path) -> Run:
        """The run at ``folder``.

        Raises:
            RunError: the folder holds no run.
        """
        folder = folder.expanduser().absolute()
        texts = {}
        for name in ("spec.yaml", "space.yaml"):
            try:
                texts[name] = dict(yaml.safe_load((folder / name).read_text(encoding="utf-8")))
            except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
                raise RunError(
                    f"{folder}: not a run ({name} cannot be read); accepted: a folder that `nas-ray search` wrote, "
                    "such as ./runs/quickstart-1a2b3c4d."
                ) from error
        return cls(folder, *_parse(texts["spec.yaml"], texts["space.yaml"], folder))

    # -- stages ----------------------------------------------------------------------------------------------------

    @property
    def manifest(self) -> dict[str, Any]:
        """Finished stages: seconds, outputs and their sha256; seconds of interrupted ones; the hash of the spec that
        each was begun with, and these specs; what the inputs held."""
        file = self.folder / "manifest.json"
        if not file.is_file():
            return {"format": _FORMAT, "stages": {}}
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{file}: damaged ({error}); delete it to run all stages again.") from error
        if manifest.get("format") != _FORMAT:
            raise RunError(f"{file}: format {manifest.get('format')}; accepted: {_FORMAT}.")
        return manifest  # type: ignore[no-any-return]

    def is_done(self, stage: str) -> bool:
        """Whether ``stage`` is finished and its outputs are what it wrote."""
        record = self.manifest["stages"].get(stage)
        if record is None:
            return False
        return all(_sha256(self.folder / name) == digest for name, digest in record["outputs"].items())

    def outputs(self, stage: str) -> dict[str, str]:
        """The sha256 of what a finished stage wrote, by name."""
        return dict(self.manifest["stages"][stage]["outputs"])

    def mark_done(self, stage: str, seconds: float, outputs: Sequence[Path], stages: Sequence[str]) -> None:
        """Record a finished stage; of ``stages``, in their order, those after it have to run again."""
        manifest = self.manifest
        interrupted = manifest.setdefault("interrupted", {})
        before = interrupted.pop(stage, 0.0)
        if stage != stages[-1]:  # the report is written anew whenever it is asked for
            before += manifest["stages"].get(stage, {}).get("seconds", 0.0)
        for later in stages[stages.index(stage) + 1 :]:
            manifest["stages"].pop(later, None)
            interrupted.pop(later, None)
        manifest["stages"][stage] = {
            "seconds": round(before + seconds, 2),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "outputs": {str(path.relative_to(self.folder)): _sha256(path) for path in outputs},
        }
        self._write(manifest)

    def begin(self, *stages: str) -> None:
        """Remember that ``stages`` are made with this spec."""
        manifest, key = self.manifest, spec_hash(self.spec, self.space_spec)
        begun = {**manifest.get("begun", {}), **dict.fromkeys(stages, key)}
        text = {"spec": self.spec.model_dump(mode="json"), "space": self.space_spec.model_dump(mode="json")}
        specs = {**manifest.get("specs", {}), key: text}
        self._write({**manifest, "begun": begun, "specs": {key: specs[key] for key in sorted(set(begun.values()))}})

    def begin_unknown(self) -> None:
        """The same for stages that an older version, which did not remember it, has run."""
        manifest = self.manifest
        known = manifest["stages"].keys() | manifest.get("interrupted", {}).keys()
        if unknown := known - manifest.get("begun", {}).keys():
            self.begin(*unknown)

    def begun_with(self, stage: str) -> tuple[TrialSpec, PathSpaceSpec | UniformSpaceSpec] | None:
        """The specs that ``stage`` is made with; None if it was never begun."""
        manifest = self.manifest
        key = manifest.get("begun", {}).get(stage)
        if key is None:
            return None
        found = manifest["specs"][key]
        return _parse(found["spec"], found["space"], self.folder)

    def forget_stages(self, stages: Iterable[str], inputs: Collection[str] | None = None) -> None:
        """Let ``stages`` be neither done nor begun; of the inputs remember only ``inputs``, if given."""
        manifest = self.manifest
        if inputs is not None:
            manifest["inputs"] = {name: value for name, value in self.inputs.items() if name in inputs}
        for stage in stages:
            for part in ("stages", "interrupted", "begun"):
                manifest.get(part, {}).pop(stage, None)
        self._write(manifest)

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Count what was spent on a stage that did not end."""
        manifest = self.manifest
        interrupted = manifest.setdefault("interrupted", {})
        interrupted[stage] = round(interrupted.get(stage, 0.0) + seconds, 2)
        self._write(manifest)

    @property
    def inputs(self) -> dict[str, str]:
        """What text, teacher and latency table held when the run began: a hash by name."""
        return dict(self.manifest.get("inputs", {}))

    def add_inputs(self, inputs: Mapping[str, str]) -> None:
        """Remember what inputs hold."""
        manifest = self.manifest
        self._write({**manifest, "inputs": {**manifest.get("inputs", {}), **inputs}})

    def _write(self, manifest: Mapping[str, Any]) -> None:
        write_text(self.folder / "manifest.json", json.dumps(manifest, indent=1))

    def stage_seconds(self) -> dict[str, float]:
        """Seconds of every finished stage."""
        return {stage: float(record["seconds"]) for stage, record in self.manifest["stages"].items()}

    # -- lock ------------------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Keep other drivers out until ``unlock`` or the end of this process.

        Raises:
            RunError: another process drives this run.
        """
        try:
            self._lock.acquire()
        except Held as error:
            raise RunError(
                f"{self.folder}: another process drives this run ({error}); wait for it or end it."
            ) from error
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written: {error.strerror}.") from error

    def unlock(self) -> None:
        """Let others in."""
        self._lock.release()

    @property
    def is_locked(self) -> bool:
        """Whether some process drives this run now."""
        return self._lock.is_held


def _parse(
    spec: Mapping[str, Any], space: Mapping[str, Any], folder: Path
) -> tuple[TrialSpec, PathSpaceSpec | UniformSpaceSpec]:
    """Both specs; what a version since has added takes its default."""
    kind: type[PathSpaceSpec] | type[UniformSpaceSpec]
    kind = UniformSpaceSpec if space.get("kind") == "uniform" else PathSpaceSpec
    return parse(TrialSpec, spec, str(folder / "spec.yaml")), parse(kind, space, str(folder / "space.yaml"))


def _sha256(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
