"""Rows as examples: columns found, labels read, everything that does not fit refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from nas_ray.errors import TaskError
from nas_ray.spec import Fields, Part
from nas_ray.tasks._files import Columns, Record
from nas_ray.tasks._forms import LAYOUTS
from nas_ray.tasks._targets import target_of
from nas_ray.tasks._task import Example, Target, Task


class _MissingColumn(TaskError):
    """A row has no such column."""


def examples_of(task: Task, part: Part, records: Iterable[Record]) -> tuple[Example, ...]:
    """The examples that ``records`` hold. Those of the part ``server`` have no targets, all others must have one.

    Raises:
        TaskError: a column is missing, a label is missing or unknown, or there is no example.
    """
    found: list[Example] = []
    for place, row in _rows(task, records):
        try:
            found.append(_example(task, part, row, len(found)))
        except _MissingColumn as error:
            if not (found and task.skip_broken):
                raise TaskError(f"{place}: {error}") from error
        except (TaskError, ValueError) as error:
            raise TaskError(f"{place}: {error}") from error
        except (KeyError, TypeError) as error:
            raise TaskError(f"{place}: not laid out as kind {task.kind} is: {error!r}") from error
    if not found:
        raise TaskError(
            f"task '{task.name}': the part '{part}' is empty; accepted: at least one example in {task.source}."
        )
    if "gender_parity" in task.metrics and len(found) % 2:
        raise TaskError(
            f"task '{task.name}': {len(found)} examples of '{part}'; accepted: an even number, since gender_parity "
            "compares each with the next."
        )
    return tuple(_with_ids(found))


def check_classes(task: Task, examples: Iterable[Example]) -> None:
    """Refuse training examples among which a class has none.

    Raises:
        TaskError: names the classes.
    """
    if task.kind not in ("single", "pair", "token"):
        return
    numbers: set[float] = set()
    for example in examples:
        target = example.target
        numbers.update(target if isinstance(target, tuple) else (target,))  # type: ignore[arg-type]
    if missing := [name for number, name in enumerate(task.classes) if number not in numbers]:
        raise TaskError(
            f"task '{task.name}': no training example of {', '.join(missing)}; accepted: examples of every class, or "
            "classes without these."
        )


def _rows(task: Task, records: Iterable[Record]) -> Iterator[tuple[str, Columns]]:
    """Rows in the columns that the task's ``fields`` name, and where they stand."""
    if task.form is None:
        yield from ((record.place, record.columns) for record in records)
        return
    layout = LAYOUTS[task.form]
    for record in records:
        try:
            for row in layout.rows(record.columns):
                for column in layout.needs:
                    _find(row, (column,))
                yield record.place, {**row, **layout.prepare(row)}
        except TaskError as error:
            raise TaskError(f"{record.place}: {error}") from error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise TaskError(f"{record.place}: not laid out as {task.form} is: {error!r}") from error


def _example(task: Task, part: Part, row: Columns, number: int) -> Example:
    fields = task.fields
    assert fields is not None, "the spec has them where it names files or a hub"
    texts = _texts(task, row, fields)
    of_one = texts[1 if task.kind == "span" else 0]  # a context has many questions
    shared = " ".join(texts) if task.kind == "token" else of_one
    return Example(
        id=_optional(row, fields.id, str(number)),
        texts=texts,
        target=None if part == "server" else _target(task, row, fields, texts),
        group=_optional(row, fields.group, shared),
        names=tuple(row.get("names", ())),
        answers=tuple(row.get("answers") or ()) if task.form == "record" else (),
    )


def _texts(task: Task, row: Columns, fields: Fields) -> tuple[str, ...]:
    values = [row[_find(row, names)] for names in fields.texts]
    if task.kind == "token":
        return tuple(values[0].split() if isinstance(values[0], str) else map(str, values[0]))
    options = [row[_find(row, names)] for names in fields.options]
    if len(options) == 1:
        cell = json.loads(options[0]) if isinstance(options[0], str) else options[0]  # a list in a cell of a table
        if isinstance(cell, str | Mapping):
            raise TaskError(f"found {cell!r} for the options; accepted: a list of texts")
        options = list(cell)
    texts = (*values, *options)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise TaskError(f"found {wrong[0]!r} for a text; accepted: text")
    return texts


def _target(task: Task, row: Columns, fields: Fields, texts: tuple[str, ...]) -> Target:
    label = fields.label or ("label",)
    start = row.get(_find(row, fields.start)) if fields.start else None
    target = target_of(task, row[_find(row, label)], texts, start)
    if target is None:
        raise TaskError("no label; accepted: labelled examples, or unlabelled ones as the part 'server'")
    return target


def _find(row: Columns, names: tuple[str, ...]) -> str:
    """The first of ``names`` that is a column."""
    for name in names:
        if name in row:
            return name
    raise _MissingColumn(f"no column {' or '.join(names)} (found: {', '.join(map(str, row))})")


def _optional(row: Columns, names: tuple[str, ...] | None, default: str) -> str:
    return next((str(row[name]) for name in names or () if row.get(name) is not None), default)


def _with_ids(examples: Iterable[Example]) -> Iterator[Example]:
    """Ids that repeat are numbered: questions of one article, say."""
    seen = Counter[str]()
    for example in examples:
        number = seen[example.id]
        seen[example.id] += 1
        yield replace(example, id=f"{example.id}-{number}") if number else example
