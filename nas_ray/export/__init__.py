"""Trained students as files that others load: transformers, sentence-transformers, onnxruntime."""

from nas_ray.export._export import Exported, Format, Quantize, Wanted, default_target, export_student
from nas_ray.export._target import MANIFEST, content_digest

__all__ = [
    "MANIFEST",
    "Exported",
    "Format",
    "Quantize",
    "Wanted",
    "content_digest",
    "default_target",
    "export_student",
]
