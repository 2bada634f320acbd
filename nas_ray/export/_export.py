"""One export from its student to a folder that is whole, checked and timed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nas_ray._files import replace_folder
from nas_ray.errors import ExportError, NasRayError, SpecError, TeacherError
from nas_ray.export import _check, _hf, _latency, _onnx
from nas_ray.export._card import card_text
from nas_ray.export._sentence import Encoder, Sentences, find_teacher, sentences_of, write_sentence_files
from nas_ray.export._sizes import over_budget, params
from nas_ray.export._target import CARD, check_target, write_manifest
from nas_ray.measure import Timing, onnx_session, require_onnx
from nas_ray.student import CARD_FILE, Student, load_student, read_student
from nas_ray.teacher import TeacherSource, first_line, load_model, teacher_shape

Format = Literal["hf", "onnx"]
Quantize = Literal["int8"]

_FAITHFUL = 0.95  # a mean cosine below it is warned of
_UNSTEADY = 0.5  # spreads above this share of a latency are, too

ONNX, ONNX_INT8 = "model.onnx", "model_int8.onnx"


@dataclass(frozen=True)
class Wanted:
    """What to write."""

    format: Format
    quantize: Quantize | None = None
    """Beside ``model.onnx``, a file of 8 bits."""
    sentence: bool = True
    """The student as a sentence encoder too."""
    repeats: int = 40
    """Timings of each model."""


@dataclass(frozen=True)
class Exported:
    """What was written, and what was measured of it."""

    folder: Path
    format: Format
    quantize: Quantize | None
    size_bytes: int
    """Of the model that a reader loads: weights, or the one ONNX file."""
    params: int
    encoder_params: int
    difference: float
    """The largest absolute one between the export (fp32) and its source."""
    int8: _check.Int8Difference | None
    key: _latency.Key
    timings: dict[str, Timing]
    """Of each file, and of the teacher in the same runtime."""
    estimate_ms: float | None
    """By the run's latency table."""
    sentences: Sentences | None
    warnings: tuple[str, ...]


def unsteady(timings: Mapping[str, Timing]) -> list[str]:
    """Warnings of those whose spread is wide."""
    return [
        f"{name} took {found.milliseconds:.2f} ± {found.spread_ms:.2f} ms: something else was running; export again on "
        "an idle machine"
        for name, found in timings.items()
        if found.spread_ms > _UNSTEADY * found.milliseconds
    ]


def default_target(folder: Path, wanted: Format) -> Path:
    """Beside the student's folder."""
    place = folder.absolute().resolve()
    return place.with_name(f"{place.name}-{wanted}")


def export_student(
    folder: Path, target: Path, wanted: Wanted, say: Callable[[str], None] = lambda _text: None
) -> Exported:
    """The student in ``folder`` as a new ``target``, which stands whole or not at all.

    Raises:
        ModelError: the student is missing or damaged. SpecError, ExportError: as ``fill``.
    """
    return fill(folder, target, wanted, lambda new: _Export(read_student(folder), wanted, say).write(new, target))


def fill(folder: Path, target: Path, wanted: Wanted, write: Callable[[Path], Exported]) -> Exported:
    """``target``, an export of the model in ``folder``, as ``write`` fills it; whole or not at all.

    Raises:
        SpecError: ``target`` holds something else, or a package is missing. ExportError: it cannot be written, or
            differs from its source.
    """
    if wanted.quantize and wanted.format != "onnx":
        raise SpecError("--quantize goes with --format onnx; the weights of hf are fp32.")
    if wanted.format == "onnx":
        require_onnx("--format onnx")
    target = target.absolute()
    if target.resolve() == folder.resolve():
        raise SpecError(f"{target}: the model itself; choose another --to.")
    check_target(target)
    try:
        with replace_folder(target) as new:
            found = write(new)
            check_target(target)  # somebody may have put a file there by now
    except NasRayError:
        raise
    except Exception as error:  # a full disk: an OSError here, whatever safetensors and onnx make of it there
        before = "the export that was there is as it was" if target.exists() else "nothing was left behind"
        raise ExportError(f"{target}: cannot be written: {first_line(error)}; {before}.") from error
    return found


class _Export:
    """The steps of one export; what they learn is written to the card."""

    def __init__(self, student: Student, wanted: Wanted, say: Callable[[str], None]) -> None:
        self.student, self.wanted, self.say = student, wanted, say
        self.warnings: list[str] = []
        self.source = self._find_teacher()
        self.sentences = (
            sentences_of(student.card, self.source, student.num_positions, student.tokenizer)
            if wanted.sentence
            else None
        )
        runtime = "eager" if wanted.format == "hf" else "onnxruntime"
        self.key = _latency.key_here(student.card.latency_key, runtime, student.num_positions)

    def write(self, new: Path, target: Path) -> Exported:
        """Everything into ``new``, which will be ``target``."""
        self.warnings += over_budget(self.student)
        _hf.copy_tokenizer(self.student.folder, new)
        shutil.copyfile(self.student.folder / CARD_FILE, new / CARD_FILE)
        self.say(f"writing {target}")
        difference, int8, calls = self._write_hf(new) if self.wanted.format == "hf" else self._write_onnx(new)
        self.say(f"largest absolute difference to the student: {difference:.1e}")
        with tempfile.TemporaryDirectory(prefix=".teacher-", dir=new) as folder:
            calls |= self._teacher_call(Path(folder))
            self.say(f"timing {' and '.join(calls)}: {self.key.text}")
            timings = _latency.time_calls(calls, self.key, self.wanted.repeats)
        found = self._exported(new, target, difference, int8, timings)
        (new / CARD).write_text(card_text(self.student, found, self.sentences), encoding="utf-8")
        facts = {"export": found.format, "quantize": found.quantize, "candidate_id": self.student.card.candidate_id}
        write_manifest(new, **facts)
        return found

    def _write_hf(self, new: Path) -> tuple[float, None, dict[str, Callable[[], object]]]:
        _hf.write_hf(self.student.whole, new)
        if self.sentences is not None:
            write_sentence_files(new, int(self.student.model.config.hidden_size), self.sentences)
        loaded = load_student(new).base_model
        difference = self._compare(_check.torch_runner(Encoder(loaded, self.sentences)), "the export")
        return difference, None, {"export": _latency.torch_call(loaded, self.key, self._vocab_size)}

    def _write_onnx(self, new: Path) -> tuple[float, _check.Int8Difference | None, dict[str, Callable[[], object]]]:
        _onnx.write_onnx(Encoder(self.student.model, self.sentences), self.student.num_positions, new / ONNX)
        _hf.write_config(self.student.model, new)
        fp32 = onnx_session(new / ONNX, self.key.threads)
        difference = self._compare(_onnx.onnx_runner(fp32), ONNX)
        calls = {ONNX: _latency.onnx_call(fp32, self.key, self._vocab_size)}
        if not self.wanted.quantize:
            return difference, None, calls
        _onnx.quantise(new / ONNX, new / ONNX_INT8)
        int8 = onnx_session(new / ONNX_INT8, self.key.threads)
        runners = (_onnx.onnx_runner(fp32), _onnx.onnx_runner(int8))
        found = _check.int8_difference(*runners, self.student.tokenizer, self.student.num_positions)
        self._judge_int8(found, _check.largest_difference(*runners, self._probes))
        return difference, found, calls | {ONNX_INT8: _latency.onnx_call(int8, self.key, self._vocab_size)}

    def _compare(self, runner: _check.Runner, what: str) -> float:
        source = _check.torch_runner(Encoder(self.student.model, self.sentences))
        difference = _check.largest_difference(source, runner, self._probes)
        _check.require_equal(difference, what)
        return difference

    def _judge_int8(self, found: _check.Int8Difference, on_probes: float) -> None:
        if on_probes == float("inf"):
            raise ExportError(f"{ONNX_INT8} gives numbers that are not finite; export without --quantize.")
        self.say(
            f"int8 against fp32: hidden states by up to {found.largest:.2g}; cosine of sentences "
            f"{found.mean_cosine:.4f} in the mean, {found.least_cosine:.4f} at least"
        )
        if found.mean_cosine < _FAITHFUL:
            self.warnings.append(
                f"int8 changes sentences a lot: mean cosine {found.mean_cosine:.3f} with fp32; model.onnx is exact"
            )

    def _find_teacher(self) -> TeacherSource | None:
        try:
            return find_teacher(self.student.card.teacher)
        except TeacherError as error:
            self._no_teacher(error)
            return None

    def _teacher_call(self, folder: Path) -> dict[str, Callable[[], object]]:
        """The teacher in the same runtime; none where it is not here any more."""
        if self.source is None:
            return {}
        try:
            model = load_model(self.source)
        except TeacherError as error:
            self._no_teacher(error)
            return {}
        shape = teacher_shape(self.source.config)
        if self.key.sequence_length > shape.num_positions:
            return {}
        if self.wanted.format == "hf":
            return {"teacher": _latency.torch_call(model, self.key, shape.vocab_size)}
        try:
            _onnx.write_onnx(Encoder(model, None), shape.num_positions, folder / ONNX)
            session: Any = onnx_session(folder / ONNX, self.key.threads)
        except OSError:  # a full disk ends the export
            raise
        except Exception as error:  # of a teacher that the exporter cannot take; the student is exported all the same
            self._no_teacher(error)
            return {}
        return {"teacher": _latency.onnx_call(session, self.key, shape.vocab_size)}

    def _no_teacher(self, error: Exception) -> None:
        self.warnings.append(f"the teacher was not timed: {first_line(error).rstrip('.')}")

    def _exported(
        self,
        new: Path,
        target: Path,
        difference: float,
        int8: _check.Int8Difference | None,
        timings: dict[str, Timing],
    ) -> Exported:
        self.warnings += unsteady(timings)
        estimate = self.student.card.costs.get("latency_ms")
        others = _latency.differences(self.student.card.latency_key, self.key)
        if estimate is not None and others:
            self.warnings.append(
                f"the estimate of {estimate:.2f} ms is of something else than what was timed here: {'; '.join(others)}"
            )
        loaded = {"hf": "model.safetensors", "onnx": ONNX_INT8 if self.wanted.quantize else ONNX}[self.wanted.format]
        total, encoder = params(self.student.model)
        return Exported(
            folder=target,
            format=self.wanted.format,
            quantize=self.wanted.quantize,
            size_bytes=(new / loaded).stat().st_size,
            params=total,
            encoder_params=encoder,
            difference=difference,
            int8=int8,
            key=self.key,
            timings=timings,
            estimate_ms=estimate,
            sentences=self.sentences,
            warnings=tuple(self.warnings),
        )

    @property
    def _probes(self) -> list[tuple[_check.Array, _check.Array]]:
        return _check.probes(self._vocab_size, self.student.num_positions)

    @property
    def _vocab_size(self) -> int:
        return int(self.student.model.config.vocab_size)
