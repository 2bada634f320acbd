"""Modules in onnxruntime, on the CPU."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas_ray.errors import SpecError
from nas_ray.measure._clock import Call

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def require_onnx(what: str) -> None:
    """Refuse a machine that lacks what ``what`` needs.

    Raises:
        SpecError: names what is missing and how to install it.
    """
    missing = []
    for name in _PACKAGES:
        try:
            import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise SpecError(f"{what} needs {', '.join(missing)}, which cannot be imported; pip install 'nas_ray[export]'.")


def onnx_session(file: Path, threads: int) -> Any:
    """The model in ``file``.

    Its threads stop spinning when a run ends: else those of one session take cores from another that is being timed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def onnx_call(module: nn.Module, inputs: Sequence[Tensor], threads: int) -> Call:
    """One run of ``module`` on ``inputs``, exported at their shapes."""
    names = [f"input_{number}" for number in range(len(inputs))]
    with tempfile.TemporaryDirectory() as folder, quiet_exporter():
        file = Path(folder) / "module.onnx"
        torch.onnx.export(
            module, tuple(inputs), file, input_names=names, dynamo=True, external_data=False, verbose=False
        )
        session = onnx_session(file, threads)
    taken = {found.name for found in session.get_inputs()}  # a mask that changes nothing is left out
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True) if name in taken}
    return lambda: session.run(None, feed)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporter tells of its own internals, and of torchvision; quantisation of a step that is not needed."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
