"""How predictions are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_ray.errors import TaskError
from nas_ray.spec import Metric
from nas_ray.tasks._encode import Encoded
from nas_ray.tasks._predict import Logits, Prediction, predict
from nas_ray.tasks._task import Example, Task


def score(task: Task, examples: Sequence[Example], logits: Logits, encoded: Encoded) -> dict[str, float]:
    """The task's metrics of ``logits`` (see ``predict``), each 0 to 1 or a correlation; 0 where one is not defined.

    Raises:
        TaskError: the examples are not labelled.
    """
    return measure(task, examples, predict(task, examples, logits, encoded))


def measure(task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """The task's metrics of ``predictions``.

    Raises:
        TaskError: the examples are not labelled.
    """
    if any(example.target is None for example in examples):
        raise TaskError(f"task '{task.name}': these examples have no labels to be scored by; accepted: another part.")
    return {metric: _METRICS[metric](task, examples, predictions) for metric in task.metrics}


def _pairs(examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets and predictions, of words all in one row."""
    wanted = np.concatenate([np.atleast_1d(np.asarray(example.target)) for example in examples])
    return wanted, np.concatenate([np.atleast_1d(np.asarray(prediction)) for prediction in predictions])


def _accuracy(_task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    wanted, found = _pairs(examples, predictions)
    return float(np.mean(wanted == found))


def _f1(_task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(*_pairs(examples, predictions), zero_division=0))


def _macro_f1(_task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from sklearn.metrics import f1_score

    wanted, found = _pairs(examples, predictions)
    return float(f1_score(wanted, found, labels=np.unique(wanted), average="macro", zero_division=0))


def _matthews(_task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(*_pairs(examples, predictions)))


def _pearson(_task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, examples, predictions)


def _spearman(_task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, examples, predictions)


def _correlation(of: Callable[..., Any], examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    wanted, found = _pairs(examples, predictions)
    if np.ptp(wanted) == 0 or np.ptp(found) == 0:
        return 0.0
    return float(of(wanted, found).statistic)


_METRICS: Mapping[Metric, Callable[[Task, Sequence[Example], Sequence[Prediction]], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
