"""A fine-tuned model with its head, as files that others load."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nas_ray.errors import ExportError
from nas_ray.export import _check, _hf, _latency, _onnx
from nas_ray.export._export import ONNX, ONNX_INT8, Exported, Wanted, fill, unsteady
from nas_ray.export._target import CARD, write_manifest
from nas_ray.export._task_card import task_card_text
from nas_ray.measure import onnx_session
from nas_ray.student import TASK_FILE, Head, ModelSource, find_model

_OUTPUTS = {"span": ("start_logits", "end_logits")}


@dataclass(frozen=True)
class TaskSource:
    """A fine-tuned model: where it lies, its ``head``, and what its record says."""

    folder: Path
    head: Head
    record: Mapping[str, Any]


def export_task_model(
    model: TaskSource, target: Path, wanted: Wanted, say: Callable[[str], None] = lambda _text: None
) -> Exported:
    """``model`` as a new ``target``, which stands whole or not at all.

    Raises:
        ModelError, TeacherError: it is damaged. SpecError, ExportError: as ``fill``.
    """
    return fill(model.folder, target, wanted, lambda new: _Export(model, wanted, say).write(new, target))


class TaskOutputs(nn.Module):
    """Token ids, mask, and token types where the model has some, ``(batch, tokens)``, to its scores: ``logits``
    ``(batch, classes)`` of a text, ``(batch, 1)`` of a rating or an option, ``(batch, tokens, classes)`` of tokens;
    ``start_logits`` and ``end_logits`` ``(batch, tokens)``, and ``answerable_logits`` ``(batch,)`` of a model that says
    whether there is an answer."""

    def __init__(self, model: Any, head: Head, has_types: bool) -> None:
        super().__init__()
        self.model, self.kind = model, head.kind
        self.inputs = ("input_ids", "attention_mask", *(["token_type_ids"] if has_types else []))
        more = ("answerable_logits",) if getattr(model, "answerable", None) is not None else ()
        self.outputs = (*_OUTPUTS.get(head.kind, ("logits",)), *more)
        self.eval()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        given = [input_ids, attention_mask, *([] if token_type_ids is None else [token_type_ids])]
        if self.kind == "choice":  # transformers' classes want examples of several options
            given = [tensor[:, None] for tensor in given]
        found = self.model(**dict(zip(self.inputs, given, strict=True)))
        return tuple(getattr(found, name) for name in self.outputs)


class _Export:
    """The steps of one export."""

    def __init__(self, model: TaskSource, wanted: Wanted, say: Callable[[str], None]) -> None:
        self.source, self.wanted, self.say = model, wanted, say
        self.place = find_model(str(model.folder))
        self.tokenizer = self.place.tokenizer()
        self.outputs = self._outputs(self.place)
        self.model = self.outputs.model
        runtime = "eager" if wanted.format == "hf" else "onnxruntime"
        self.key = _latency.key_here({}, runtime, self.place.num_positions)

    def write(self, new: Path, target: Path) -> Exported:
        """Everything into ``new``, which will be ``target``."""
        _hf.copy_tokenizer(self.source.folder, new)
        shutil.copyfile(self.source.folder / TASK_FILE, new / TASK_FILE)
        self.say(f"writing {target}")
        difference, calls = self._write_hf(new) if self.wanted.format == "hf" else self._write_onnx(new)
        self.say(f"largest absolute difference to the model: {difference:.1e}")
        self.say(f"timing {' and '.join(calls)}: {self.key.text}")
        timings = _latency.time_calls(calls, self.key, self.wanted.repeats)
        main = {"hf": "model.safetensors", "onnx": ONNX_INT8 if self.wanted.quantize else ONNX}[self.wanted.format]
        exported = Exported(
            folder=target,
            format=self.wanted.format,
            quantize=self.wanted.quantize,
            size_bytes=(new / main).stat().st_size,
            params=self.source.record["params"],
            encoder_params=self.source.record["encoder_params"],
            difference=difference,
            int8=None,
            key=self.key,
            timings=timings,
            estimate_ms=None,
            sentences=None,
            warnings=tuple(unsteady(timings)),
        )
        (new / CARD).write_text(task_card_text(self.source, exported, self.outputs), encoding="utf-8")
        facts = {"export": exported.format, "quantize": exported.quantize, "task": self.source.record["task"]}
        write_manifest(new, **facts)
        return exported

    def _outputs(self, source: ModelSource) -> TaskOutputs:
        model = source.load(self.source.head, 0).requires_grad_(False)
        has_types = getattr(model.config, "type_vocab_size", 0) > 1
        return TaskOutputs(model, self.source.head, has_types and "token_type_ids" in self.tokenizer.model_input_names)

    def _write_hf(self, new: Path) -> tuple[float, dict[str, Callable[[], object]]]:
        _hf.write_hf(self.model, new)
        again = self._outputs(find_model(str(new)))
        difference = self._compare(_check.torch_runner(again), "the export")
        ids = _latency.ids_of(self.key, self._vocab_size)
        tensors = [torch.from_numpy(array) for array in _check.feed(again.inputs, ids, np.ones_like(ids)).values()]
        return difference, {"export": lambda: again(*tensors)}

    def _write_onnx(self, new: Path) -> tuple[float, dict[str, Callable[[], object]]]:
        _onnx.write_onnx(self.outputs, self.place.num_positions, new / ONNX)
        _hf.write_config(self.model, new)
        fp32 = onnx_session(new / ONNX, self.key.threads)
        difference = self._compare(_onnx.onnx_runner(fp32), ONNX)
        calls = {ONNX: _latency.onnx_call(fp32, self.key, self._vocab_size)}
        if not self.wanted.quantize:
            return difference, calls
        _onnx.quantise(new / ONNX, new / ONNX_INT8)
        int8 = onnx_session(new / ONNX_INT8, self.key.threads)
        runners = (_onnx.onnx_runner(fp32), _onnx.onnx_runner(int8))
        apart = _check.largest_difference(*runners, _check.texts(self.tokenizer, self.place.num_positions))
        if not np.isfinite(apart):
            raise ExportError(f"{ONNX_INT8} gives numbers that are not finite; export without --quantize.")
        self.say(f"int8 against fp32: scores of eight sentences by up to {apart:.2g}")
        return difference, calls | {ONNX_INT8: _latency.onnx_call(int8, self.key, self._vocab_size)}

    def _compare(self, runner: _check.Runner, what: str) -> float:
        probes = _check.probes(self._vocab_size, self.place.num_positions)
        difference = _check.largest_difference(_check.torch_runner(self.outputs), runner, probes)
        _check.require_equal(difference, what)
        return difference

    @property
    def _vocab_size(self) -> int:
        return int(self.model.config.vocab_size)
