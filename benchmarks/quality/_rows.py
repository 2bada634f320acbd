"""The small file of finished trainings: one JSON line each, continued from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """Rows of one bundle and number of tokens; others in the file are left alone."""

    file: Path
    digest: str
    tokens: int

    def read(self) -> list[Row]:
        """Those that are finished, in their order; a torn last line is none."""
        found = []
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else ():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if (row["bundle"], row["asked_tokens"]) == (self.digest, self.tokens):
                found.append(row)
        return found

    def append(self, row: Mapping[str, Any]) -> None:
        """One line more, on disk when this returns."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        whole = not self.file.is_file() or self.file.read_bytes()[-1:] in (b"", b"\n")
        line = json.dumps({"bundle": self.digest, "asked_tokens": self.tokens, **row})
        with self.file.open("a", encoding="utf-8") as file:
            file.write(("" if whole else "\n") + line + "\n")
            file.flush()
