"""Students as transformers models: untrained, with the weights of a stitched candidate, or from a trained
folder; encoders with a head for a task."""

from nas_ray.student._folder import TOKENIZER_FILES, Student, check_weights, load_student, read_student
from nas_ray.student._masked_lm import predictions, with_masked_lm_head
from nas_ray.student._models import path_config, save_model, scale_as, stitched_model, untrained_model
from nas_ray.student._record import CARD_FILE, StudentCard, read_card
from nas_ray.student._task_model import TASK_FILE, Head, HeadKind, ModelSource, backbone_sizes, find_model, task_logits
from nas_ray.student._words import WordReplacer

__all__ = [
    "CARD_FILE",
    "TASK_FILE",
    "TOKENIZER_FILES",
    "Head",
    "HeadKind",
    "ModelSource",
    "Student",
    "StudentCard",
    "WordReplacer",
    "backbone_sizes",
    "check_weights",
    "find_model",
    "load_student",
    "path_config",
    "predictions",
    "read_card",
    "read_student",
    "save_model",
    "scale_as",
    "stitched_model",
    "task_logits",
    "untrained_model",
    "with_masked_lm_head",
]
