"""From a finished run's tables and the embedded labelled texts to a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality._arms import choose
from benchmarks.quality._bundle import ARMS_FILE, TEACHER_FOLDER, TEXT_FILE, Arms, digest_of, sentence_arrays
from benchmarks.quality._setting import RESULTS
from nas_ray.assets import documents
from nas_ray.data import Example, labelled, pack, resolve_text, unseen
from nas_ray.measure import chance
from nas_ray.space import PathSpace
from nas_ray.stages import Run
from nas_ray.tables import Costs, PartTable, QualityTable
from nas_ray.teacher import TeacherSource, load_model, load_tokenizer, quiet, resolve_teacher

TEACHER = "minilm"  # of the committed rows
SOURCES = ("movie_rating", "amazon_rating", "nyt_rating", "tweet_rating")
PROBES = {"movie": "movie_sentiment", "question": "question_type"}
BUCKETS = 48  # of test texts, whole reviews: what intervals resample
RANKED = 500  # test snippets whose pairwise similarities are compared
LENGTH = 128
_LIMIT = 64 * 2**20
_CALIBRATION_ROWS = 80  # packed; what students inherit from the teacher by

Arrays = dict[str, NDArray[Any]]


def write_text(file: Path) -> None:
    """The snippets that are in no test part, as a data set that a search can read."""
    lines = [json.dumps({"text": text}) for text in unseen(documents("snippets"))]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines):,} snippets in {file}")


def prepare(folder: Path, out: Path, latency: Path | None, randoms: int = 10) -> None:
    """Write the bundle of the run in ``folder``; ``latency`` is a table of the runtime that serves, else the run's."""
    run = Run.open(folder)
    space = run.space
    assert isinstance(space, PathSpace), "runs of kind paths"
    costs = Costs.read(folder / "tables", space, run.spec.supernet.start)
    if latency is not None:
        costs = replace(costs, latency=PartTable.read(latency))
    arms = choose(costs, QualityTable.read(folder / "tables" / "quality.parquet"), randoms=randoms, seed=run.spec.seed)
    source = resolve_teacher(run.spec.teacher)
    arrays, weights = text_arrays(load_tokenizer(source), source.config.vocab_size)
    spec, net = run.spec, run.spec.supernet
    rows = net.steps * spec.text.batch_sequences
    arms = arms.with_about(
        digest=digest_of(arms, arrays),
        run=run.run_id,
        space=described(space),
        latency_key=costs.latency.metadata["key"],
        teacher={"encoder_params": costs.shape.encoder_params, "layers": costs.shape.num_layers},
        supernet_tokens=rows * spec.text.sequence_length,
        supernet_path_tokens=rows * spec.text.sequence_length * net.paths_per_update,
        test_texts_in_search=sum(_test_texts(s.source, s.field) for s in spec.text.sources),
        ridges=spec.tabulate.ridges,
        weights=weights,
        chance={name: chance(arrays[f"{name}.test.labels"]) for name in PROBES},
    )
    write_bundle(out, arms, arrays, source)


def restore(out: Path) -> None:
    """Write the bundle that the committed rows belong to, from the arms beside them."""
    arms, source = Arms.read(RESULTS / ARMS_FILE), resolve_teacher(TEACHER)
    arrays, _ = text_arrays(load_tokenizer(source), source.config.vocab_size)
    found = digest_of(arms, arrays)
    assert found == arms.digest, f"the texts have changed: the rows are of {arms.digest}, this would be {found}"
    write_bundle(out, arms, arrays, source)


def write_bundle(out: Path, arms: Arms, arrays: Arrays, source: TeacherSource) -> None:
    """Arms, texts and the teacher in half precision."""
    out.mkdir(parents=True, exist_ok=True)
    arms.write(out / ARMS_FILE)
    np.savez_compressed(out / TEXT_FILE, **arrays)  # type: ignore[arg-type]
    model = load_model(source).half()
    model.config.dtype = "float16"
    with quiet():
        model.save_pretrained(out / TEACHER_FOLDER)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    assert size <= _LIMIT, f"{size:,} bytes"
    print(
        f"{out}: {len(arms.models)} models in {len(arms.arms)} arms at {len(arms.sizes)} sizes, {size / 2**20:.1f} MiB"
    )


def text_arrays(tokenizer: Any, vocab_size: int) -> tuple[Arrays, dict[str, list[float]]]:
    """Tokenised texts, labels and buckets; and by measure the weight of each bucket."""
    kind = np.uint16 if vocab_size <= 2**16 else np.int32

    def tokens(texts: Iterable[str]) -> list[list[int]]:
        found = tokenizer(list(texts), truncation=True, max_length=LENGTH, verbose=False)["input_ids"]
        return [list(row) for row in found]

    ratings = [labelled(name) for name in SOURCES]
    arrays: Arrays = {}
    for split in ("train", "calibrate", "select"):
        texts = unseen(example.text for found in ratings for example in found.part(split))
        arrays |= sentence_arrays(split, tokens(dict.fromkeys(texts)), kind)
    plain = [row[1:-1] for row in tokens(e.text for found in ratings for e in found.part("calibrate"))]
    packed = pack(plain, range(len(plain)), LENGTH, tokenizer.cls_token_id, tokenizer.sep_token_id)
    arrays["calibration.rows"] = packed.ids[:_CALIBRATION_ROWS].astype(kind)
    test = [example for found in ratings for example in found.part("test")]
    arrays |= sentence_arrays("test", tokens(example.text for example in test), kind)
    arrays["test.bucket"] = buckets(test)
    arrays["rank.chosen"] = np.sort(np.random.default_rng(19).permutation(len(test))[:RANKED])
    lengths, bucket = arrays["test.lengths"], arrays["test.bucket"]
    weights = {"loss": _sums(bucket, lengths), "cosine": _sums(bucket), "rank": [1.0] * BUCKETS}
    for name, of in PROBES.items():
        found = labelled(of)
        for part in ("train", "test"):
            examples = found.part(part)
            arrays |= sentence_arrays(f"{name}.{part}", tokens(example.text for example in examples), kind)
            arrays[f"{name}.{part}.labels"] = np.array([int(example.target) for example in examples], dtype=np.int32)
        arrays[f"{name}.test.bucket"] = buckets(examples)
        weights[name] = _sums(arrays[f"{name}.test.bucket"])
    return arrays, weights


def buckets(examples: Sequence[Example], count: int = BUCKETS, seed: int = 0) -> NDArray[np.int32]:
    """The bucket of each example: whole groups, large ones first, each into the one that holds least."""
    sizes: dict[str, int] = {}
    for example in examples:
        sizes[example.group] = sizes.get(example.group, 0) + 1
    names = sorted(sizes)
    order = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    held, place = np.zeros(count, dtype=np.int64), {}
    for name in sorted(order, key=lambda name: -sizes[name]):
        place[name] = int(held.argmin())
        held[place[name]] += sizes[name]
    return np.array([place[example.group] for example in examples], dtype=np.int32)


def _sums(bucket: NDArray[Any], values: NDArray[Any] | None = None) -> list[float]:
    return [float(v) for v in np.bincount(bucket, values, minlength=BUCKETS)]


def _test_texts(source: str, field: str) -> int:
    """How many documents of a search's text are test texts."""
    found = list(resolve_text(source)(field))
    return len(found) - len(list(unseen(found)))


def described(space: PathSpace) -> dict[str, Any]:
    """What ``PathSpace`` is built from; operations as their own fields."""
    choices = [{**vars(choice), "head_fraction": str(choice.head_fraction)} for choice in space.choices]
    return {
        "name": space.name, "num_blocks": space.num_blocks, "num_layers": space.num_layers,
        "widths": space.widths, "head_size": space.head_size, "choices": choices,
        "embedding_sizes": space.embedding_sizes, "alternate": space.alternate,
    }  # fmt: skip
