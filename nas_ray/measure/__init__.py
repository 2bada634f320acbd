"""What fills the tables: path scores, latency on a device, FLOPs, stitched candidates; sentence embeddings; torch
and numpy only."""

from nas_ray.measure._clock import Timing, interleaved
from nas_ray.measure._correlation import spearman
from nas_ray.measure._documents import Errors, errors_by_document
from nas_ray.measure._evaluate import CandidateEvaluator, EvaluatorConfig
from nas_ray.measure._flops import counted_flops, flops_table
from nas_ray.measure._latency import LatencyRequest, measure_latency, measure_models
from nas_ray.measure._onnx import onnx_session, quiet_exporter, require_onnx
from nas_ray.measure._probe import STRENGTH, Probe, above_chance, chance, fit_probe, fold_hits
from nas_ray.measure._scores import ScoreSets, States, linear_loss, rank_floors, refit, score_paths, split_calibration
from nas_ray.measure._sentences import Comparison, Encode, Reference, Sentences, embeddings, rank_agreement
from nas_ray.measure._stitch import SplitStates, Stitcher, student_parts
from nas_ray.measure._stitch_tree import stitched_losses

__all__ = [
    "STRENGTH",
    "CandidateEvaluator",
    "Comparison",
    "Encode",
    "Errors",
    "EvaluatorConfig",
    "LatencyRequest",
    "Probe",
    "Reference",
    "ScoreSets",
    "Sentences",
    "SplitStates",
    "States",
    "Stitcher",
    "Timing",
    "above_chance",
    "chance",
    "counted_flops",
    "embeddings",
    "errors_by_document",
    "fit_probe",
    "flops_table",
    "fold_hits",
    "interleaved",
    "linear_loss",
    "measure_latency",
    "measure_models",
    "onnx_session",
    "quiet_exporter",
    "rank_agreement",
    "rank_floors",
    "refit",
    "require_onnx",
    "score_paths",
    "spearman",
    "split_calibration",
    "stitched_losses",
    "student_parts",
]
