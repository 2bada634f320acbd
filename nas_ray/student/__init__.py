"""Students as transformers models: untrained, or with the weights of a stitched candidate; and their folders."""

from nas_ray.student._folder import load_model, save_model
from nas_ray.student._models import path_config, stitched_model, untrained_model
from nas_ray.student._record import StudentRecord

__all__ = ["StudentRecord", "load_model", "path_config", "save_model", "stitched_model", "untrained_model"]
