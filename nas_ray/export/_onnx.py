"""ONNX files by PyTorch's exporter, quantised and run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nas_ray.export._check import Array, Runner
from nas_ray.measure import quiet_exporter

if TYPE_CHECKING:
    from nas_ray.export._sentence import Encoder

_INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("last_hidden_state", "sentence_embedding")


@torch.no_grad()
def write_onnx(encoder: Encoder, num_positions: int, file: Path) -> None:
    """``encoder`` as ``file``: any batch, any number of tokens up to ``num_positions``."""
    batch, tokens = torch.export.Dim("batch", min=1), torch.export.Dim("tokens", min=1, max=num_positions)
    ids = torch.arange(2 * min(7, num_positions)).reshape(2, -1) + 1
    mask = torch.ones_like(ids)
    mask[1, -1] = 0
    axes = {0: batch, 1: tokens}
    with quiet_exporter():
        torch.onnx.export(
            encoder,
            (ids, mask),
            file,
            input_names=_INPUTS,
            output_names=OUTPUTS if encoder.sentences else OUTPUTS[:1],
            dynamic_shapes=(axes, axes),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _forget_origin(file)


def _forget_origin(file: Path) -> None:
    """Drop what the exporter notes of each node: stack traces, with the paths of this machine."""
    import onnx

    model = onnx.load(file)
    for part in (model, model.graph, *model.functions):
        del part.metadata_props[:]
    for graph in (model.graph, *model.functions):
        for entry in (*graph.node, *graph.value_info):
            del entry.metadata_props[:]
            entry.doc_string = ""
    onnx.save(model, file)


def quantise(source: Path, target: Path) -> None:
    """Weights of matrix products (a scale each column) and word vectors in 8 bits, activations as they come.

    Depthwise convolutions stay in fp32: they hold next to nothing, and onnxruntime is slower at them in 8 bits. One
    scale for each whole matrix left cosines of 0.966 on all-MiniLM-L6-v2 where one for each column has 0.994.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet_exporter():
        quantize_dynamic(
            source, target, op_types_to_quantize=["MatMul", "Gather"], per_channel=True, weight_type=QuantType.QInt8
        )


def onnx_runner(found: Any) -> Runner:
    """A session on arrays."""

    def run(ids: Array, mask: Array) -> list[Array]:
        return list(found.run(None, dict(zip(_INPUTS, (ids, mask), strict=True))))

    return run
