"""Local files, and data sets of a hub, as rows: mappings of column names to values."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_ray.errors import TaskError

Columns = Mapping[str, Any]

_DOCUMENTS = (".json", ".txt")  # of a folder: one JSON document a file, as RACE has them


@dataclass(frozen=True)
class Record:
    """One row, and where it stands."""

    place: str
    columns: Columns


def find_files(folder: Path, stems: Sequence[str]) -> list[Path]:
    """The file of the first of ``stems`` that is there: by its whole name, with a known ending, in shards, or a folder.

    Raises:
        TaskError: there is none.
    """
    for stem in stems:
        for path in (folder / stem, *(folder / f"{stem}{ending}" for ending in _READERS)):
            if path.exists():
                return [path]
        if shards := sorted(folder.glob(f"{stem}-*-of-*.parquet")):
            return shards
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    raise TaskError(
        f"{folder}: found {found}; accepted: {' or '.join(dict.fromkeys(stems))}, as a folder or with an ending of "
        f"{', '.join(_READERS)}."
    )


def read_file(path: Path, columns: tuple[str, ...] = (), *, is_own: bool = False) -> Iterator[Record]:
    """The rows of a file, or the documents of a folder; ``columns`` names those of a tsv file without a header.

    A cell too many is refused where it ``is_own`` of a user; of a benchmark's tsv file it is passed over.

    Raises:
        TaskError: it cannot be read as what its ending says.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _DOCUMENTS)
        if not files:
            raise TaskError(f"{path}: holds no file that ends in {' or '.join(_DOCUMENTS)}.")
        yield from (record for file in files for record in _checked(file, _json))
    elif path.suffix not in _READERS:
        raise TaskError(f"{path}: unknown ending; accepted: {', '.join(_READERS)}.")
    elif path.suffix == ".tsv":
        yield from _checked(path, lambda file: _tsv(file, columns, is_own))
    else:
        yield from _checked(path, _READERS[path.suffix])


def read_hub(path: str, config: str | None, split: str, label: Sequence[str]) -> Iterator[Record]:
    """The rows of a data set that ``datasets`` loads; classes of the column ``label`` by their names.

    Raises:
        TaskError: it cannot be loaded.
    """
    import datasets

    datasets.disable_progress_bars()
    name = f"{path}, {config}" if config else path
    try:
        data = datasets.load_dataset(path, config, split=split)
    except Exception as error:  # datasets raises whatever its readers raise
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise TaskError(
            f"the data set {name} cannot be loaded: {reason}; accepted: a hub that can be reached, or --data FOLDER "
            "with its files."
        ) from error
    named = {
        column: feature.names
        for column, feature in data.features.items()
        if column in label and isinstance(feature, datasets.ClassLabel)
    }
    for number, row in enumerate(data, 1):
        names = {column: known[row[column]] for column, known in named.items() if row[column] not in (None, -1)}
        yield Record(f"{name}: {split}, row {number}", {**row, **names})


def _checked(path: Path, read: Callable[[Path], Iterable[Columns]]) -> Iterator[Record]:
    try:
        for number, row in enumerate(read(path), 1):
            if not isinstance(row, Mapping):
                raise TaskError(f"{path}: row {number}: found {type(row).__name__}; accepted: named columns.")
            yield Record(f"{path}: row {number}", row)
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 text ({error.reason}); convert it first.") from error
    except (OSError, ValueError, csv.Error) as error:  # json's and pyarrow's errors are ValueErrors
        raise TaskError(f"{path}: cannot be read as {path.suffix[1:]}: {' '.join(str(error).split())}") from error


def _csv(path: Path) -> Iterator[Columns]:
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if None in row:
                raise _too_many(row[None][0])
            yield row


def _too_many(cell: str) -> ValueError:
    return ValueError(f"more cells than the header has, from {cell!r} on")


def _tsv(path: Path, columns: tuple[str, ...], is_own: bool) -> Iterator[Columns]:
    """Cells between tabs as they stand: in GLUE's files a quotation mark is one of the text."""
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        lines = (line.rstrip("\r\n").split("\t") for line in file)
        header = next(lines, [])
        if len(header) == len(columns) and not set(header) & set(columns):
            yield dict(zip(columns, header, strict=True))
            header = list(columns)
        for cells in lines:
            if is_own and len(cells) > len(header):
                raise _too_many(cells[len(header)])
            if cells != [""]:
                yield dict(zip(header, cells, strict=False))


def _jsonl(path: Path) -> Iterator[Columns]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        yield from (json.loads(line) for line in file if line.strip())


def _json(path: Path) -> Iterator[Columns]:
    """A list of rows, one document, or a document a line."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError:
        yield from _jsonl(path)
    else:
        yield from found if isinstance(found, list) else [found]


def _parquet(path: Path) -> Iterator[Columns]:
    from pyarrow import parquet

    for batch in parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


_READERS: Mapping[str, Callable[[Path], Iterable[Columns]]] = {
    ".csv": _csv,
    ".tsv": lambda path: _tsv(path, (), False),
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}
