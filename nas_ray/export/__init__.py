"""Trained students as files that others load: transformers, sentence-transformers, onnxruntime."""

from nas_ray.export._export import Exported, Format, Quantize, Wanted, default_target, export_student
from nas_ray.export._target import MANIFEST, content_digest
from nas_ray.export._task import TaskSource, export_task_model

__all__ = [
    "MANIFEST",
    "Exported",
    "Format",
    "Quantize",
    "TaskSource",
    "Wanted",
    "content_digest",
    "default_target",
    "export_student",
    "export_task_model",
]
