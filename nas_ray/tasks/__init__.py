"""Downstream tasks: their examples, these as token arrays, scores, and files for the benchmarks' servers."""

from nas_ray.tasks._answers import SpanAnswer, choose_threshold, span_answers
from nas_ray.tasks._catalogue import catalogue, load_task
from nas_ray.tasks._encode import Encoded, encode
from nas_ray.tasks._metrics import measure, score
from nas_ray.tasks._parts import has_data, parts_of, read_part
from nas_ray.tasks._predict import Prediction, predict
from nas_ray.tasks._predictions import add_to_archive, check_archive, write_null_probabilities, write_predictions
from nas_ray.tasks._task import Example, Task

__all__ = [
    "Encoded",
    "Example",
    "Prediction",
    "SpanAnswer",
    "Task",
    "add_to_archive",
    "catalogue",
    "check_archive",
    "choose_threshold",
    "encode",
    "has_data",
    "load_task",
    "measure",
    "parts_of",
    "predict",
    "read_part",
    "score",
    "span_answers",
    "write_null_probabilities",
    "write_predictions",
]
