"""What fills the tables: path scores, latency on a device, FLOPs, stitched candidates; torch and numpy only."""

from nas_ray.measure._clock import interleaved
from nas_ray.measure._documents import Errors, errors_by_document
from nas_ray.measure._evaluate import CandidateEvaluator, EvaluatorConfig
from nas_ray.measure._flops import flops_table
from nas_ray.measure._latency import LatencyRequest, measure_latency
from nas_ray.measure._scores import ScoreSets, States, linear_loss, rank_floors, refit, score_paths, split_calibration
from nas_ray.measure._stitch import SplitStates, Stitcher, student_parts
from nas_ray.measure._stitch_tree import stitched_losses

__all__ = [
    "CandidateEvaluator",
    "Errors",
    "EvaluatorConfig",
    "LatencyRequest",
    "ScoreSets",
    "SplitStates",
    "States",
    "Stitcher",
    "errors_by_document",
    "flops_table",
    "interleaved",
    "linear_loss",
    "measure_latency",
    "rank_floors",
    "refit",
    "score_paths",
    "split_calibration",
    "stitched_losses",
    "student_parts",
]
