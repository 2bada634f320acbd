"""How near is a retrained student to its teacher on texts that neither search nor retraining learned from?

    python benchmarks/student.py MODEL [--threads 1]

MODEL lies in its run's folder. Texts are the labelled snippets in the run's own *test* split; those of films and tweets
stand alone, those of products and editorials may have neighbours of the same review in training and are shown apart.
Film sentiment is a logistic regression on frozen embeddings, ten-fold over all snippets rated at least 1 or at most -1
(their texts, without labels, may be in training); question types are fitted on the training and measured on the test
part of TREC, which is in no training text. Shares are of the teacher's accuracy above that of the most frequent class.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas_ray.data import Example, labelled, split_of
from nas_ray.distill import Encoder
from nas_ray.measure import (
    Reference,
    Sentences,
    above_chance,
    chance,
    embeddings,
    fit_probe,
    fold_hits,
    rank_agreement,
)
from nas_ray.spec import load_trial
from nas_ray.student import read_student
from nas_ray.teacher import load_model, resolve_teacher

ALONE, BESIDE = ("movie", "tweet"), ("amazon", "nyt")
_RANKED, _RESAMPLES = 500, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    student = read_student(args.model)
    run = next(parent for parent in args.model.resolve().parents if (parent / "spec.yaml").is_file())
    spec = load_trial(str(run / "spec.yaml"))
    shares = spec.text.splits.model_dump()
    encoders = {
        "teacher": Encoder(load_model(resolve_teacher(student.card.teacher))),
        "student": Encoder(student.model),
    }

    def sentences(texts: list[str]) -> Sentences:
        found = [student.tokenizer(text, truncation=True, max_length=128)["input_ids"] for text in texts]
        return Sentences(np.array([t for ids in found for t in ids]), np.array([len(ids) for ids in found]))

    for names in (ALONE, BESIDE):
        examples = [example for name in names for example in labelled(f"{name}_rating").examples]
        texts = [e.text for e in examples if split_of(e.text, shares, spec.seed) == "test"]
        reference = Reference(encoders["teacher"], sentences(texts))
        found = reference.compare(encoders["student"])
        some = np.random.default_rng(0).permutation(len(texts))[:_RANKED]
        ranks = rank_agreement(found.embeddings[some], reference.embeddings[some])
        shown(
            texts=" and ".join(names), number=len(texts), loss=round(found.loss, 4),
            similarity=interval(found.cosines), rank_correlation=round(ranks, 4),
        )  # fmt: skip
    probes(encoders, sentences)


def probes(encoders: dict[str, Encoder], sentences: Any) -> None:
    """Film sentiment ten-fold, question types on their test part."""
    film, question = labelled("movie_sentiment").examples, labelled("question_type")
    right: dict[str, dict[str, NDArray[Any]]] = {}
    for name, encoder in encoders.items():

        def features(examples: tuple[Example, ...], encoder: Encoder = encoder) -> NDArray[np.float32]:
            return embeddings(encoder, sentences([example.text for example in examples]))

        probe = fit_probe(features(question.part("train")), labels(question.part("train")), len(question.classes))
        right[name] = {
            "movie_sentiment": fold_hits(features(film), labels(film), 2, folds=10, seed=0),
            "question_type": probe.predict(features(question.part("test"))) == labels(question.part("test")),
        }
    for task, examples in (("movie_sentiment", film), ("question_type", question.part("test"))):
        mine, theirs = (right[name][task].astype(float) for name in ("student", "teacher"))
        by_chance = chance(labels(examples))
        draws = np.random.default_rng(1).integers(len(mine), size=(_RESAMPLES, len(mine)))
        drawn = [above_chance(mine[draw].mean(), theirs[draw].mean(), by_chance) for draw in draws]
        low, high = np.percentile(drawn, (2.5, 97.5))
        share = above_chance(mine.mean(), theirs.mean(), by_chance)
        shown(
            task=task, number=len(mine), student=round(mine.mean(), 4), teacher=round(theirs.mean(), 4),
            chance=round(by_chance, 4), share=f"{share:.4f} [{low:.4f}, {high:.4f}]",
        )  # fmt: skip


def labels(examples: tuple[Example, ...]) -> NDArray[np.int64]:
    """The classes of examples."""
    return np.array([example.target for example in examples], dtype=np.int64)


def interval(values: NDArray[Any]) -> str:
    """The mean of ``values``, and where 95 % of its resamples lie."""
    draws = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(1), (2.5, 97.5))
    return f"{values.mean():.4f} [{low:.4f}, {high:.4f}]"


def shown(**values: object) -> None:
    """One JSON line."""
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
