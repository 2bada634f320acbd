"""Parquet files whose schema carries the table's metadata, written whole or not at all.

pyarrow is loaded by the first file: what trains and measures on a bare machine needs none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas_ray._files import replace_file
from nas_ray.errors import TableError

_KEY = b"nas_ray"


def write_parquet(path: Path, columns: Mapping[str, Sequence[Any]], metadata: Mapping[str, Any]) -> None:
    """Write ``columns`` and JSON ``metadata`` to ``path``; makes its folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(dict(columns)).replace_schema_metadata({_KEY: json.dumps(metadata).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file)


def read_parquet(path: Path) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The columns and the metadata of ``path``.

    Raises:
        TableError: the file is missing or no table of this project.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise TableError(f"{path}: no such table; run the stage that writes it, or check the path.")
    try:
        with path.open("rb") as file:  # pyarrow would read a folder called a=b as a column
            # One thread: a process that ends right after a threaded read can abort in pyarrow's thread pool.
            table = pq.read_table(file, use_threads=False, pre_buffer=False)
        metadata = dict(json.loads((table.schema.metadata or {})[_KEY]))
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        reason = "it lacks this project's metadata" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise TableError(f"{path}: not a lookup table of nas_ray ({reason}); measure it again.") from error
    return table.to_pydict(), metadata


def read_rows(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows and the metadata of ``path``; raises as ``read_parquet`` does."""
    columns, metadata = read_parquet(path)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)], metadata
