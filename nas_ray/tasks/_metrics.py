"""How predictions are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_ray.errors import TaskError
from nas_ray.spec import Metric
from nas_ray.tasks._answers import Logits
from nas_ray.tasks._encode import Encoded
from nas_ray.tasks._predict import Prediction, answer_text, predict
from nas_ray.tasks._task import Example, Task
from nas_ray.tasks._texts import accepted_texts, answer_f1, answer_match


def score(
    task: Task,
    examples: Sequence[Example],
    logits: Logits,
    encoded: Encoded,
    *,
    threshold: float = 0.0,
) -> dict[str, float]:
    """The task's metrics of ``logits`` (see ``predict``), each 0 to 1 or a correlation; 0 where one is not defined.

    Raises:
        TaskError: the examples are not labelled.
    """
    found = predict(task, examples, logits, encoded, threshold=threshold)
    return measure(task, examples, found)


def measure(task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """The task's metrics of ``predictions``.

    Raises:
        TaskError: the examples are not labelled.
    """
    if any(example.target is None for example in examples):
        raise TaskError(f"task '{task.name}': these examples have no labels to be scored by; accepted: another part.")
    return {metric: _METRICS[metric](examples, predictions) for metric in task.metrics}


def _pairs(examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets and predictions, of words all in one row."""
    return _row(example.target for example in examples), _row(predictions)


def _row(values: Iterable[Any]) -> NDArray[Any]:
    return np.array([one for value in values for one in (value if isinstance(value, tuple) else (value,))])


def _accuracy(examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    wanted, found = _pairs(examples, predictions)
    return float(np.mean(wanted == found))


def _f1(examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(*_pairs(examples, predictions), zero_division=0))


def _macro_f1(examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from sklearn.metrics import f1_score

    wanted, found = _pairs(examples, predictions)
    known = np.union1d(wanted, found)  # without -1, said of words beyond the model's positions
    return float(f1_score(wanted, found, labels=known[known >= 0], average="macro", zero_division=0))


def _matthews(examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(*_pairs(examples, predictions)))


def _pearson(examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, examples, predictions)


def _spearman(examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, examples, predictions)


def _correlation(of: Callable[..., Any], examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    wanted, found = _pairs(examples, predictions)
    if np.ptp(wanted) == 0 or np.ptp(found) == 0:
        return 0.0
    return float(of(wanted, found).statistic)


def _question_match(examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    """Share of questions all answers of which are judged rightly; an answer's id is paragraph-question-answer."""
    right: dict[str, bool] = {}
    for example, prediction in zip(examples, predictions, strict=True):
        question = example.id.rpartition("-")[0]
        right[question] = right.get(question, True) and prediction == example.target
    return float(np.mean(list(right.values())))


def _gender_parity(_examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    """Share of pairs with one prediction for both; an example and the next differ in the gender alone."""
    return float(np.mean([one == other for one, other in zip(predictions[::2], predictions[1::2], strict=True)]))


def _answers(
    of: Callable[[str, Sequence[str]], float],
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
) -> float:
    found = (answer_text(example, prediction) for example, prediction in zip(examples, predictions, strict=True))
    return float(np.mean([of(text, accepted_texts(example)) for text, example in zip(found, examples, strict=True)]))


_METRICS: Mapping[Metric, Callable[[Sequence[Example], Sequence[Prediction]], float]] = {
    "accuracy": _accuracy,
    "answer_f1": partial(_answers, answer_f1),
    "answer_match": partial(_answers, answer_match),
    "f1": _f1,
    "gender_parity": _gender_parity,
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "question_match": _question_match,
    "spearman": _spearman,
}
