"""Students as transformers models: untrained, or with the weights of a stitched candidate."""

from nas_ray.student._models import path_config, stitched_model, untrained_model

__all__ = ["path_config", "stitched_model", "untrained_model"]
