"""Candidate operations, the supernet of a block, inheritance, readouts and the student; torch and numpy only."""

from nas_ray.blocks._embedding import reduced_embedding
from nas_ray.blocks._inherit import Inheritance, Layer, probe_path
from nas_ray.blocks._inherit_uniform import UniformInheritance
from nas_ray.blocks._operations import build_operation
from nas_ray.blocks._ridge import Moments, Readout, TargetTile, Tokens, fit_readout, prior_of
from nas_ray.blocks._student import (
    PathStudent,
    build_part,
    build_student,
    layer_of,
    linear_of,
)
from nas_ray.blocks._supernet import BlockSupernet
from nas_ray.blocks._uniform import (
    UniformStudent,
    build_layer,
    build_prediction_head,
    build_uniform,
    uniform_config,
)

__all__ = [
    "BlockSupernet",
    "Inheritance",
    "Layer",
    "Moments",
    "PathStudent",
    "Readout",
    "TargetTile",
    "Tokens",
    "UniformInheritance",
    "UniformStudent",
    "build_layer",
    "build_operation",
    "build_part",
    "build_prediction_head",
    "build_student",
    "build_uniform",
    "fit_readout",
    "layer_of",
    "linear_of",
    "prior_of",
    "probe_path",
    "reduced_embedding",
    "uniform_config",
]
