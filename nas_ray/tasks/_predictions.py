"""Predictions as the benchmarks' servers take them.

GLUE takes a zip file of tab-separated files, one a task; SuperGLUE one of json lines; SQuAD and RACE one json file that
gives each question its answer.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas_ray._files import replace_file, write_text
from nas_ray.errors import TaskError
from nas_ray.spec import Predictions
from nas_ray.tasks._answers import SpanAnswer, null_probability
from nas_ray.tasks._predict import Prediction, answer_text
from nas_ray.tasks._task import Example, Task

_DATE = (1980, 1, 1, 0, 0, 0)  # equal predictions make equal archives


def write_predictions(task: Task, examples: Sequence[Example], predictions: Sequence[Prediction], folder: Path) -> Path:
    """Write the file that the benchmark's server takes into ``folder``; of a user's own task a table.

    Raises:
        OSError: it cannot be written.
    """
    own = "json" if task.kind == "span" else "tsv"  # answers may hold tabs and ends of lines
    form = task.predictions or Predictions(format=own, file=f"{task.name}.{own}")
    said = [_said(task, form, *pair) for pair in zip(examples, predictions, strict=True)]
    write_text(folder / form.file, _WRITERS[form.format]([example.id for example in examples], said))
    return folder / form.file


def write_null_probabilities(examples: Sequence[Example], answers: Sequence[SpanAnswer], file: Path) -> None:
    """Write the probability that a question has no answer, as SQuAD 2.0's script takes it.

    Raises:
        OSError: it cannot be written.
    """
    found = {e.id: null_probability(answer) for e, answer in zip(examples, answers, strict=True)}
    write_text(file, json.dumps(found))


def add_to_archive(files: Iterable[Path], archive: Path) -> None:
    """Put ``files`` into the zip file that GLUE and SuperGLUE take, beside those of other tasks that are there.

    Raises:
        TaskError: the archive is none. OSError: it cannot be written.
    """
    held = _members(archive) | {file.name: file.read_bytes() for file in files}
    archive.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(archive) as temporary, zipfile.ZipFile(temporary, "w") as packed:
        for name, content in sorted(held.items()):
            packed.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)


def check_archive(archive: Path) -> None:
    """Whether predictions can be put into ``archive``.

    Raises:
        TaskError: it is there, and is no zip file.
    """
    _members(archive)


def _members(archive: Path) -> dict[str, bytes]:
    if not archive.exists():
        return {}
    try:
        with zipfile.ZipFile(archive) as packed:
            return {name: packed.read(name) for name in packed.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        reason = "a folder" if archive.is_dir() else error
        raise TaskError(f"{archive}: is no zip file ({reason}); accepted: one, or a name that is free.") from error


def _said(task: Task, form: Predictions, example: Example, prediction: Prediction) -> Any:
    """A prediction as files have it."""
    if task.kind == "regression":
        low, high = form.ratings or (float("-inf"), float("inf"))
        return round(min(max(float(prediction), low), high), 3)  # type: ignore[arg-type]
    if isinstance(prediction, tuple):
        return " ".join(task.classes[number] if number >= 0 else "-" for number in prediction)
    if isinstance(prediction, str) or example.names:
        return answer_text(example, prediction)
    names = form.labels or task.classes
    return names[int(prediction)] if int(prediction) < len(names) else int(prediction)  # options may outnumber names


def _tsv(ids: Sequence[str], said: Sequence[Any]) -> str:
    rows = (f"{name}\t{value}\n" for name, value in zip(ids, said, strict=True))
    return "index\tprediction\n" + "".join(rows)


def _jsonl(ids: Sequence[str], said: Sequence[Any]) -> str:
    return "".join(json.dumps({"idx": int(i), "label": label}) + "\n" for i, label in zip(ids, said, strict=True))


def _multirc(ids: Sequence[str], said: Sequence[Any]) -> str:
    """A line a paragraph: its questions, and of each its answers."""
    paragraphs: dict[int, dict[int, list[dict[str, Any]]]] = {}
    for name, label in zip(ids, said, strict=True):
        paragraph, question, answer = map(int, name.split("-"))
        paragraphs.setdefault(paragraph, {}).setdefault(question, []).append({"idx": answer, "label": label})
    lines = (
        {"idx": number, "passage": {"questions": [{"idx": q, "answers": answers} for q, answers in questions.items()]}}
        for number, questions in paragraphs.items()
    )
    return "".join(json.dumps(line) + "\n" for line in lines)


def _json(ids: Sequence[str], said: Sequence[Any]) -> str:
    return json.dumps(dict(zip(ids, said, strict=True)), ensure_ascii=False)


_WRITERS: Mapping[str, Callable[[Sequence[str], Sequence[Any]], str]] = {
    "tsv": _tsv,
    "jsonl": _jsonl,
    "multirc": _multirc,
    "json": _json,
}
