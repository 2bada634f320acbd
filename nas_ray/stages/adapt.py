"""Not of a run: a teacher is given a masked-LM head, and kept where it is found again."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nas_ray._files import replace_folder
from nas_ray.assets import cache_dir
from nas_ray.errors import ModelError, NasRayError, RunError, StageError, TeacherError
from nas_ray.spec import Adapt
from nas_ray.stages._checks import check_device, check_positions, check_room
from nas_ray.stages._console import Console
from nas_ray.stages._hold import hold
from nas_ray.stages._inputs import teacher_content, text_content
from nas_ray.stages._pipeline import remember_command
from nas_ray.student import check_weights
from nas_ray.teacher import (
    ADAPTED_FILE,
    TeacherSource,
    first_line,
    has_masked_lm_head,
    has_normalised_sentences,
    load_tokenizer,
    quiet,
    resolve_teacher,
    teacher_shape,
)

_FORMAT = 1
_STATES = 3  # checkpoints on disk while one is written


@dataclass(frozen=True)
class Adapting:
    """One teacher with one ``Adapt``; ``out`` is where the result goes, the cache if None."""

    teacher: str
    spec: Adapt
    out: Path | None
    console: Console

    def run(self) -> Path:
        """The folder of the adapted teacher, trained now unless it was before.

        Raises:
            TeacherError: it is none, has a head already, or its tokenizer cannot hide words. TextError: of the text.
            SpecError: of a setting. RunError: ``out`` holds something else, another process is at it, or the disk has
                no room. StageError: the training failed; its last good checkpoint stays.
        """
        self._check()
        remember_command(self.command)
        say = self.console.say
        if is_finished(self.target, self.key):
            say(f"  done before: {self.target}")
            return self.target
        self._check_target()
        try:
            if is_finished(self._cached, self.key):
                say(f"  done before in {self._cached}, copied")
                with replace_folder(self.target) as new:
                    shutil.copytree(self._cached, new, dirs_exist_ok=True)
                return self.target
            with hold(self._work, "trains this teacher"):
                try:
                    if not is_finished(self.target, self.key):  # another process may just have ended
                        self._make()
                    shutil.rmtree(self._work, ignore_errors=True)
                except NasRayError:
                    if not any(self._work.rglob("step-*")):  # nothing to go on from
                        shutil.rmtree(self._work, ignore_errors=True)
                    raise
        except (NasRayError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise StageError("adapt-teacher", f"{type(error).__name__}: {first_line(error)}") from error
        return self.target

    @cached_property
    def source(self) -> TeacherSource:
        """The teacher, found."""
        return resolve_teacher(self.teacher, self.console.say)

    @cached_property
    def key(self) -> str:
        """Eight hexadecimal digits of all that the result depends on: settings, and what teacher and text hold."""
        texts = [text_content(source.source) for source in self.spec.text.sources]
        found = [self.spec.training.model_dump(mode="json"), self.teacher, teacher_content(self.teacher), texts]
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def command(self) -> str:
        """What makes it."""
        where = [] if self.out is None else ["--out", str(self.out)]
        words = [self.teacher, *where, *(word for pair in self.spec.overrides for word in ("--set", pair))]
        return f"nas-ray adapt-teacher {shlex.join(words)}"

    @property
    def target(self) -> Path:
        """The folder of the result."""
        return self._cached if self.out is None else self.out

    @property
    def _cached(self) -> Path:
        return cache_dir() / "adapted" / self._name

    @property
    def _work(self) -> Path:
        """Checkpoints, wherever the result goes."""
        return cache_dir() / "adapted" / "training" / self._name

    @property
    def _name(self) -> str:
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', Path(self.teacher).name)}-{self.key}"

    def _check(self) -> None:
        """What can be known before anything is computed."""
        config = self.source.config
        if has_masked_lm_head(config) and self.spec.head == "new":
            raise TeacherError(
                f"teacher '{self.teacher}' has a masked-LM head already; use it as it is, or train that head and the "
                "encoder on your text with --set head=own."
            )
        if not has_masked_lm_head(config) and self.spec.head == "own":
            raise TeacherError(
                f"teacher '{self.teacher}' has no masked-LM head of its own to train; accepted: --set head=new."
            )
        check_positions(self.spec, teacher_shape(config))
        if load_tokenizer(self.source).mask_token_id is None:
            raise TeacherError(
                f"the tokenizer of teacher '{self.teacher}' has no mask token, which stands for hidden words; "
                "accepted: a tokenizer with one among the model's own tokens."
            )
        check_device("device", self.spec.device)

    def _check_target(self) -> None:
        """Refuse a place that holds anything else than this result, and a disk without room."""
        if self.out is not None and (self.out.is_symlink() or self.out.exists()):
            if not self.out.is_dir() or self.out.is_symlink():
                raise RunError(f"{self.out}: not a folder; choose another --out.")
            if (self.out / ADAPTED_FILE).is_file():
                raise RunError(
                    f"{self.out}: holds a teacher that was adapted with other settings, from another teacher or on "
                    "other text; choose another --out."
                )
            if any(self.out.iterdir()):
                raise RunError(f"{self.out}: exists and is not empty; choose another --out.")
        shape = teacher_shape(self.source.config)
        weights = 4 * (shape.embedding_params + shape.encoder_params + shape.hidden**2)
        check_room(self.target.parent, weights, "choose another --out")
        check_room(self._work.parent, 3 * _STATES * weights, "set NAS_RAY_CACHE to another folder")

    def _make(self) -> None:
        """Train it, and write model, tokenizer and record, whole or not at all."""
        from nas_ray.stages._adaptation import HeadTraining

        training = HeadTraining(self.source, self.spec, self.key, self._work, self.console)
        adaptation, spec = training.train(), self.spec
        figures = training.measure(adaptation)
        record = {
            "format": _FORMAT,
            "key": self.key,
            "teacher": self.teacher,
            "normalised": has_normalised_sentences(self.teacher, self.source),
            "settings": spec.model_dump(mode="json"),
            "tokens": spec.steps * spec.sequences * spec.text.sequence_length,
            "curve": {str(step): asdict(found) for step, found in sorted(training.curve.items())},
            "figures": figures,
            "command": self.command,
        }
        with replace_folder(self.target) as new:
            with quiet():
                adaptation.masked_lm.model.save_pretrained(new)
            load_tokenizer(self.source).save_pretrained(new)
            (new / ADAPTED_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any]:
    """What ``adapted.json`` in ``folder`` says.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads((folder / ADAPTED_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / ADAPTED_FILE}: cannot be read as JSON ({error}).") from error
    return found


def is_finished(folder: Path, key: str) -> bool:
    """Whether ``folder`` holds the result of ``key``."""
    try:
        check_weights(folder)
        return bool(read_record(folder).get("key") == key)
    except (ModelError, RunError):
        return False
