"""nas_ray: compress BERT-like encoders by architecture search on Ray Tune."""

__version__ = "0.1.0"
