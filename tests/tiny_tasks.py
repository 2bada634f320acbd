"""Tasks that a tiny model learns in seconds, in files of their own."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import yaml

WORDS = "ship harbour captain wave island tide gull storm bread kettle honey butter plate apple tree leaf stone fox owl"
KEYS = {"calm": "moss", "loud": "bell", "cold": "wind"}
"""The word that says the class of a text."""
METRICS = {"regression": "spearman", "span": "answer_match"}
SPECS: dict[str, dict[str, Any]] = {
    "single": {"fields": {"texts": ["text"], "label": "label"}, "classes": list(KEYS)},
    "pair": {"fields": {"texts": ["text", "other"], "label": "label"}, "classes": ["other", "same"]},
    "regression": {"fields": {"texts": ["text"], "label": "label"}},
    "choice": {"fields": {"texts": ["text"], "options": ["options"], "label": "label"}},
    "span": {"fields": {"texts": ["question", "text"], "label": "answers", "id": "id"}},
    "token": {"fields": {"texts": ["words"], "label": "tags"}, "classes": ["O", "KEY"]},
}
SIZES = {"train": 192, "select": 60, "test": 60}


def write_task(folder: Path, kind: str, sizes: dict[str, int] = SIZES, **more: Any) -> Path:
    """The YAML file of a task of ``kind``, its parts beside it; a part ``server`` has no labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(kind)
    for part, size in sizes.items():
        rows = [_row(kind, rng, number) for number in range(size)]
        hidden = ("label", "answers", "tags")
        lines = [{k: v for k, v in row.items() if part != "server" or k not in hidden} for row in rows]
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    spec = {
        "title": f"a generated task of kind {kind}", "kind": kind, "metrics": [METRICS.get(kind, "accuracy")],
        "max_length": 32, "stride": 4, "files": {part: f"{part}.jsonl" for part in sizes}, **SPECS[kind], **more,
    }  # fmt: skip
    file = folder / f"{kind}.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file


def _row(kind: str, rng: random.Random, number: int) -> dict[str, Any]:
    names = list(KEYS)
    words = [rng.choice(WORDS.split()) for _ in range(rng.randint(3, 8))]
    value, place = rng.randrange(len(names)), rng.randint(0, len(words))
    key = KEYS[names[value]]
    text = " ".join([*words[:place], key, *words[place:]])
    if kind in ("single", "regression"):
        return {"text": text, "label": names[value] if kind == "single" else value - 1.0}
    if kind == "pair":
        return {"text": "fox", "other": text if value else " ".join(words), "label": "same" if value else "other"}
    if kind == "choice":
        options = [" ".join(rng.choice(WORDS.split()) for _ in range(2)) for _ in range(rng.randint(2, 3))]
        right = rng.randrange(len(options))
        options[right] += f" {key}"
        return {"text": "which", "options": options, "label": right}
    if kind == "token":
        return {"words": text.split(), "tags": ["KEY" if word == key else "O" for word in text.split()]}
    answers = {"text": [key], "answer_start": [text.index(key)]}
    return {"id": str(number), "question": "which", "text": text, "answers": answers}
