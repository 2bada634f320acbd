"""Block-wise distillation: the training loop, sampling, shrinking, block workers and how they are driven."""

from nas_ray.distill._adapt import Adaptation, Predictions, WordFrequencies
from nas_ray.distill._config import BlockConfig
from nas_ray.distill._finetune import FinetunedModel, FinetuneJudge, FinetuneJudgeConfig, TaskRows, task_scores
from nas_ray.distill._judge import (
    AnyJudge,
    AnyJudgeConfig,
    Assignment,
    DocumentJudge,
    Judge,
    JudgeConfig,
    Judged,
    JudgedCandidate,
)
from nas_ray.distill._losses import Losses
from nas_ray.distill._outputs import ErrorKind, Outputs, OutputsConfig, TeacherOutputs, evaluation_arrays, outputs_of
from nas_ray.distill._pipeline import Blocks, LocalBlocks, inherited_arrays, prepare, settled, train
from nas_ray.distill._replicas import ReplicaGroup, ReplicaLostError, join_replicas
from nas_ray.distill._retrain import Encoder, RetrainedStudent, RetrainJudge, RetrainJudgeConfig
from nas_ray.distill._sampling import step_paths, stratified_sample
from nas_ray.distill._shrink import ShrinkPlan, is_shrunk, path_bins, shrink_once
from nas_ray.distill._standalone import StandAlone, StandAlonePlan
from nas_ray.distill._start import teacher_inheritance
from nas_ray.distill._store import Checkpoints
from nas_ray.distill._student import DistillPlan, StudentTraining, TrainingText, steps_done
from nas_ray.distill._task_losses import OF_TOKENS, TaskBatch, batch_parts, task_loss, teacher_loss
from nas_ray.distill._trainer import Schedule, Trainer, has_native_bf16, normalised_mse
from nas_ray.distill._uniform import UniformCandidate, UniformJudge, UniformJudgeConfig
from nas_ray.distill._worker import BlockWorker

__all__ = [
    "OF_TOKENS",
    "Adaptation",
    "AnyJudge",
    "AnyJudgeConfig",
    "Assignment",
    "BlockConfig",
    "BlockWorker",
    "Blocks",
    "Checkpoints",
    "DistillPlan",
    "DocumentJudge",
    "Encoder",
    "ErrorKind",
    "FinetuneJudge",
    "FinetuneJudgeConfig",
    "FinetunedModel",
    "Judge",
    "JudgeConfig",
    "Judged",
    "JudgedCandidate",
    "LocalBlocks",
    "Losses",
    "Outputs",
    "OutputsConfig",
    "Predictions",
    "ReplicaGroup",
    "ReplicaLostError",
    "RetrainJudge",
    "RetrainJudgeConfig",
    "RetrainedStudent",
    "Schedule",
    "ShrinkPlan",
    "StandAlone",
    "StandAlonePlan",
    "StudentTraining",
    "TaskBatch",
    "TaskRows",
    "TeacherOutputs",
    "Trainer",
    "TrainingText",
    "UniformCandidate",
    "UniformJudge",
    "UniformJudgeConfig",
    "WordFrequencies",
    "batch_parts",
    "evaluation_arrays",
    "has_native_bf16",
    "inherited_arrays",
    "is_shrunk",
    "join_replicas",
    "normalised_mse",
    "outputs_of",
    "path_bins",
    "prepare",
    "settled",
    "shrink_once",
    "step_paths",
    "steps_done",
    "stratified_sample",
    "task_loss",
    "task_scores",
    "teacher_inheritance",
    "teacher_loss",
    "train",
]
