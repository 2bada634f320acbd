"""What a block keeps on disk: the teacher's hidden states of the first epoch, and its checkpoints."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nas_ray._files import replace_file, write_text


@dataclass
class Boundary:
    """A block's input and target of one batch, and its mask."""

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None

    def pieces(self, sequences: int) -> list[Boundary]:
        """Parts of ``sequences`` sequences each, the last may be smaller."""
        cuts = [slice(at, at + sequences) for at in range(0, len(self.inputs), sequences)]
        return [Boundary(self.inputs[c], self.targets[c], None if self.mask is None else self.mask[c]) for c in cuts]

    def to(self, device: str) -> Boundary:
        """The same on ``device``."""
        mask = None if self.mask is None else self.mask.to(device)
        return Boundary(self.inputs.to(device), self.targets.to(device), mask)


class BoundaryCache:
    """Boundaries by batch, in one unnamed temporary file, up to ``limit`` bytes; it vanishes with this process.

    ``refused`` says why the first boundary that was not kept found no room.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.used, self.refused = limit, 0, ""
        self.held: dict[int, list[_Record]] = {}
        self._file: BinaryIO | None = None

    def put(self, batch: int, boundary: Boundary) -> None:
        """Keep ``boundary`` if there is room; a full disk ends the keeping, not the training."""
        tensors = [boundary.inputs, boundary.targets] + ([] if boundary.mask is None else [boundary.mask])
        size = sum(tensor.nbytes for tensor in tensors)
        if batch in self.held:
            return
        if self.used + size > self.limit:
            self.refused = self.refused or f"they are limited to {self.limit:,} bytes"
            return
        try:
            if self._file is None:
                self._file = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  (lives as long as this)
            records = []
            for tensor in tensors:
                array = tensor.detach().cpu().contiguous().numpy()
                records.append(_Record(self.used, array.shape, array.dtype))
                _write(self._file, self.used, array)
                self.used += array.nbytes
        except OSError as error:
            self.limit = self.used
            self.refused = self.refused or f"{tempfile.gettempdir()}: {error.strerror or error}"
        else:
            self.held[batch] = records

    def get(self, batch: int) -> Boundary | None:
        """The boundary of ``batch``, if it was kept; on the CPU."""
        if batch not in self.held or self._file is None:
            return None
        try:
            inputs, targets, *mask = (_read(self._file, record) for record in self.held[batch])
        except OSError:
            del self.held[batch]  # it will be streamed again
            return None
        return Boundary(inputs, targets, mask[0] if mask else None)

    def close(self) -> None:
        """Free the disk."""
        self.held.clear()
        self.used = 0
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True)
class _Record:
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def _write(file: BinaryIO, offset: int, array: NDArray[Any]) -> None:
    file.seek(offset)
    rest = array.data.cast("B")
    while rest:
        rest = rest[file.write(rest) :]


def _read(file: BinaryIO, record: _Record) -> Tensor:
    array: NDArray[Any] = np.empty(record.shape, record.dtype)
    file.seek(record.offset)
    rest = array.data.cast("B")
    while rest:
        count = cast(io.RawIOBase, file).readinto(rest)
        if not count:
            raise OSError("the temporary file ends too early")
        rest = rest[count:]
    return torch.from_numpy(array)


class Checkpoints:
    """``step-<n>.safetensors`` and ``step-<n>.json`` in one folder, the newest few."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], keep: int = 2) -> None:
        """Write both files; the JSON last, it makes the checkpoint count. ``keep`` checkpoints stay."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for torn in self.folder.glob("step-*.tmp"):  # of a worker that died while it wrote
            torn.unlink(missing_ok=True)
        stem = self.folder / f"step-{step:08d}"
        with replace_file(stem.with_suffix(".safetensors")) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
        write_text(stem.with_suffix(".json"), json.dumps({"step": step, **state}))
        for old in sorted(self.folder.glob("step-*.json"))[:-keep]:
            old.unlink(missing_ok=True)
            old.with_suffix(".safetensors").unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget all of them."""
        for file in self.folder.glob("step-*"):
            file.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint that can be read, or None."""
        for file in sorted(self.folder.glob("step-*.json"), reverse=True):
            try:
                state = json.loads(file.read_text(encoding="utf-8"))
                return load_file(file.with_suffix(".safetensors")), state
            except (OSError, ValueError, SafetensorError):
                continue  # damaged: the one before it is whole
        return None
