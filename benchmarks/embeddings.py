"""What teachers' sentence embeddings are worth: movie-review snippets told apart by a linear readout.

    python benchmarks/embeddings.py minilm ./minilm-mlm

Mean-pooled last hidden states of snippets whose rating is at least 1 away from 0; a ridge classifier fitted in closed
form on 3,000 of them, its strength chosen on 500, tested on 2,000. Ratings: Hutto and Gilbert (ICWSM 2014).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from nas_ray import assets
from nas_ray.modeling import mean_pooled
from nas_ray.teacher import load_model, load_tokenizer, resolve_teacher

FIT, CHOOSE, TEST = 3000, 500, 2000
RIDGES = 10.0 ** np.arange(-4, 3)


def snippets(seed: int) -> tuple[list[str], NDArray[np.float64]]:
    """Texts in random order, and +1 or -1 for each."""
    file = assets.fetch("snippets") / "movieReviewSnippets_GroundTruth.txt"
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").split("\n")[1:] if line.count("\t") >= 2]
    clear = [(" ".join(row[2:]), np.sign(float(row[1]))) for row in rows if abs(float(row[1])) >= 1]
    order = np.random.default_rng(seed).permutation(len(clear))[: FIT + CHOOSE + TEST]
    return [clear[at][0] for at in order], np.array([clear[at][1] for at in order])


@torch.no_grad()
def embeddings(name: str, texts: list[str]) -> NDArray[np.float64]:
    """Mean-pooled last hidden states ``(texts, hidden)``."""
    source = resolve_teacher(name)
    model, tokenizer = load_model(source), load_tokenizer(source)
    found = []
    for at in range(0, len(texts), 50):
        inputs = tokenizer(texts[at : at + 50], padding=True, truncation=True, max_length=128, return_tensors="pt")
        mask = inputs["attention_mask"]
        found.append(mean_pooled(model(inputs["input_ids"], mask).last_hidden_state, mask.bool()).numpy())
    return np.concatenate(found).astype(np.float64)


def accuracy(vectors: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """On the last ``TEST``, of the readout that is best on the ``CHOOSE`` before them."""
    vectors = (vectors - vectors[:FIT].mean(0)) / vectors[:FIT].std(0)
    vectors = np.concatenate([vectors, np.ones((len(vectors), 1))], axis=1)
    gram, moment = vectors[:FIT].T @ vectors[:FIT] / FIT, vectors[:FIT].T @ labels[:FIT] / FIT
    right = []
    for ridge in RIDGES:
        readout = np.linalg.solve(gram + ridge * np.eye(len(gram)), moment)
        right.append(np.sign(vectors[FIT:] @ readout) == labels[FIT:])
    best = max(right, key=lambda found: found[:CHOOSE].mean())
    return float(best[CHOOSE:].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teachers", nargs="+")
    teachers = parser.parse_args().teachers
    texts, labels = snippets(0)
    print(f"more frequent rating {max((labels[-TEST:] > 0).mean(), (labels[-TEST:] < 0).mean()):.1%}")
    first: NDArray[np.float64] | None = None
    for name in teachers:
        found = embeddings(name, texts)
        first = found if first is None else first
        cosine = (found * first).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(first, axis=1)
        print(f"{name}: {accuracy(found, labels):.1%} right, cosine with the first {cosine.mean():.4f}")


if __name__ == "__main__":
    main()
