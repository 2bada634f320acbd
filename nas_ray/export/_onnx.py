"""ONNX files by PyTorch's exporter, quantised and run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_ray.export._check import Array, Exportable, Runner, feed
from nas_ray.measure import quiet_exporter


@torch.no_grad()
def write_onnx(model: Exportable, num_positions: int, file: Path) -> None:
    """``model`` as ``file``: any batch, any number of tokens up to ``num_positions``."""
    batch, tokens = torch.export.Dim("batch", min=1), torch.export.Dim("tokens", min=1, max=num_positions)
    ids = np.arange(2 * min(7, num_positions)).reshape(2, -1) + 1
    mask = np.ones_like(ids)
    mask[1, -1] = 0
    axes = {0: batch, 1: tokens}
    module: Any = model
    with quiet_exporter():
        torch.onnx.export(
            module,
            tuple(map(torch.from_numpy, feed(model.inputs, ids, mask).values())),
            file,
            input_names=model.inputs,
            output_names=model.outputs,
            dynamic_shapes=(axes,) * len(model.inputs),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _forget_origin(file)


def _forget_origin(file: Path) -> None:
    """Drop what the exporter notes of each node: stack traces, with the paths of this machine; and shapes of weights,
    which have their own, and which the quantiser does not keep true when it transposes one."""
    import onnx

    model = onnx.load(file)
    for part in (model, model.graph, *model.functions):
        del part.metadata_props[:]
    for graph in (model.graph, *model.functions):
        for entry in (*graph.node, *graph.value_info):
            del entry.metadata_props[:]
            entry.doc_string = ""
    weights = {weight.name for weight in model.graph.initializer}
    shapes = [entry for entry in model.graph.value_info if entry.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(shapes)
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

    inputs = [each.name for each in found.get_inputs()]

    def run(ids: Array, mask: Array) -> list[Array]:
        return list(found.run(None, feed(inputs, ids, mask)))

    return run
