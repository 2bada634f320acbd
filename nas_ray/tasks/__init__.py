"""Downstream tasks: their examples, as token arrays, their scores."""

from nas_ray.tasks._catalogue import catalogue, load_task
from nas_ray.tasks._encode import Encoded, encode
from nas_ray.tasks._metrics import measure, score
from nas_ray.tasks._parts import read_part
from nas_ray.tasks._predict import Prediction, predict
from nas_ray.tasks._task import Example, Task

__all__ = [
    "Encoded",
    "Example",
    "Prediction",
    "Task",
    "catalogue",
    "encode",
    "load_task",
    "measure",
    "predict",
    "read_part",
    "score",
]
