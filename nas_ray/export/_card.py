"""The model card of an export: what it is, what it costs, how it was made, how to load it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nas_ray import __version__, assets
from nas_ray.export._sizes import layer_rows
from nas_ray.measure import Timing

if TYPE_CHECKING:
    from nas_ray.export._export import Exported
    from nas_ray.export._sentence import Sentences
    from nas_ray.student import Student


def card_text(student: Student, found: Exported, sentences: Sentences | None) -> str:
    """The card of an export whose files are checked and timed."""
    parts = [
        _header(found, sentences),
        _title(student),
        "## Use\n\n" + _use(student, found, sentences),
        "## Architecture\n\n" + _architecture(student),
        "## Size and latency\n\n" + _costs(student, found),
        "## How true this export is\n\n" + _truth(found),
        "## Training\n\n" + _training(student),
        "## Where it comes from\n\n" + _origin(student),
    ]
    return "\n\n".join(parts) + "\n"


def _header(found: Exported, sentences: Sentences | None) -> str:
    library = "onnx" if found.format == "onnx" else "sentence-transformers" if sentences else "transformers"
    task = "sentence-similarity" if sentences else "feature-extraction"
    tags = ["nas_ray", "neural-architecture-search", "distillation"]
    tags += ["sentence-transformers"] if library == "sentence-transformers" else []
    lines = [f"library_name: {library}", f"pipeline_tag: {task}", "tags:", *(f"- {tag}" for tag in tags)]
    return "---\n" + "\n".join(lines) + "\n---"


def _title(student: Student) -> str:
    card = student.card
    kind = "A plain BERT encoder" if card.kind == "uniform" else "An encoder of operations chosen layer by layer"
    return (
        f"# {card.run}, candidate {card.candidate_id}\n\n"
        f"{kind}, found by nas_ray {__version__} and distilled from "
        f"`{card.teacher}`.{_licence(card.teacher)} Architecture: `{card.arch_id}`."
    )


def _licence(teacher: str) -> str:
    known = assets.CATALOGUE.get(teacher)
    return f" The teacher's licence: {known.licence}." if known else ""


def _use(student: Student, found: Exported, sentences: Sentences | None) -> str:
    code = student.card.kind == "paths"
    if found.format == "onnx":
        return _use_onnx(student, found, sentences)
    trust = ", trust_remote_code=True" if code else ""
    text = (
        "```python\nfrom transformers import AutoModel, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("FOLDER"{trust})\n'
        f'model = AutoModel.from_pretrained("FOLDER"{trust})\n```\n'
    )
    if sentences is not None:
        text += (
            "\n```python\nfrom sentence_transformers import SentenceTransformer\n\n"
            f'model = SentenceTransformer("FOLDER"{trust})\n```\n\n' + _pooling(sentences)
        )
    if code:
        text += (
            "\n\nThe three `*_nas_ray.py` files beside the weights are the model's code; they need PyTorch and "
            "transformers only. Heads for masked words, classification of texts and tokens, question answering and "
            "multiple choice load by their `AutoModelFor...` classes, untrained where the files hold none."
        )
    else:
        text += "\n\nThere is no pooler in the files: transformers says that it makes one, untrained."
    if student.whole is not student.model:
        text += "\n\nThe files hold a trained masked-LM head: `AutoModelForMaskedLM` loads it."
    return text


def _use_onnx(student: Student, found: Exported, sentences: Sentences | None) -> str:
    longest = sentences.max_tokens if sentences is not None else student.num_positions
    file = "model_int8.onnx" if found.quantize else "model.onnx"
    text = (
        "```python\nimport numpy as np\nimport onnxruntime\nfrom tokenizers import Tokenizer\n\n"
        'tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")\n'
        f"tokenizer.no_padding()\ntokenizer.enable_truncation({longest})\n"
        f'session = onnxruntime.InferenceSession("FOLDER/{file}")\n'
        'text = tokenizer.encode("A text.")\n'
        "feed = {\n"
        '    "input_ids": np.array([text.ids]),\n'
        '    "attention_mask": np.array([text.attention_mask]),\n'
        "}\n"
        f"found = session.run(None, feed)\n```\n\n"
        "Inputs are int64 `(batch, tokens)`, of any batch and any length that the model takes. The output "
        "`last_hidden_state` is `(batch, tokens, hidden)`"
    )
    if sentences is not None:
        text += ", `sentence_embedding` `(batch, hidden)`. " + _pooling(sentences)
    else:
        text += "."
    if found.quantize:
        text += " `model.onnx` is the same in fp32."
    return text


def _pooling(sentences: Sentences) -> str:
    length = "brought to length 1" if sentences.normalise else "not brought to length 1"
    return (
        f"A sentence's vector is the mean over its tokens, {length} ({sentences.why}); texts are cut after "
        f"{sentences.max_tokens} tokens."
    )


def _architecture(student: Student) -> str:
    rows = [(str(at), name, sizes, f"{count:,}") for at, (name, sizes, count) in enumerate(layer_rows(student.model))]
    return table(("", "layer", "sizes", "weights"), rows)


def _costs(student: Student, found: Exported) -> str:
    card = student.card
    rows = [
        ("params: all weights", f"{found.params:,}", _promised(card.costs.get("params"))),
        (
            "encoder_params: all but embeddings",
            f"{found.encoder_params:,}",
            _promised(card.costs.get("encoder_params")),
        ),
    ]
    if (flops := card.costs.get("flops")) is not None:
        rows.append(("FLOPs of a sequence", "", _promised(flops)))
    rows.append(("files", f"{found.size_bytes / 1e6:.1f} MB", ""))
    text = table(("", "counted", "by the run's tables"), rows) + "\n\n"
    text += latency_table(found.timings, found.estimate_ms) + "\n\nMilliseconds a batch, lower quartile ± half the "
    text += f"interquartile range, measured at the export: {found.key.text}."
    if found.estimate_ms is not None:
        text += f" The table's key: {_key(card.latency_key)}."
    return text + _bullets(found.warnings)


def latency_table(timings: dict[str, Timing], estimate: float | None) -> str:
    """Measured latencies, the run's estimate behind them."""
    rows = [(name, f"{t.milliseconds:.2f} ± {t.spread_ms:.2f}") for name, t in timings.items()]
    if estimate is not None:
        rows.append(("the run's latency table", f"{estimate:.2f} (estimate)"))
    return table(("", "ms"), rows)


def _truth(found: Exported) -> str:
    text = (
        f"Loaded again and compared with the student it was made from, on texts of several lengths and batches, with "
        f"padding: largest absolute difference {found.difference:.1e}."
    )
    if found.int8 is not None:
        text += (
            f" In int8 hidden states differ by up to {found.int8.largest:.2g}; between a sentence's mean vectors in "
            f"fp32 and int8 the cosine is {found.int8.mean_cosine:.4f} in the mean and {found.int8.least_cosine:.4f} "
            "at least (8 English sentences)."
        )
    return text


def _training(student: Student) -> str:
    card = student.card
    rows = [
        ("teacher", f"`{card.teacher}`"),
        ("weights began as", card.weights),
        ("preset", card.preset),
        ("loss", ", ".join(f"{weight:g} x {name}" for name, weight in card.loss_weights.items() if weight)),
        *((name, f"{value:g} (searched)") for name, value in card.hyperparameters.items()),
        ("steps", f"{card.steps:,} ({card.tokens:,} tokens)"),
        ("text", ", ".join(_source(entry) for entry in card.data)),
        *((name, f"{value:.4g}") for name, value in card.metrics.items()),
    ]
    return table(("", ""), rows)


def _source(entry: object) -> str:
    if isinstance(entry, dict) and "source" in entry:
        share = entry.get("share")
        return f"{entry['source']} ({share:.0%})" if isinstance(share, int | float) else str(entry["source"])
    return json.dumps(entry)


def _origin(student: Student) -> str:
    card = student.card
    rows = [
        ("run", card.run),
        ("candidate", card.candidate_id),
        ("architecture", f"`{card.arch_id}`"),
        ("maps", card.start),
        ("spec", f"sha256 `{card.spec_hash}`"),
        ("command", f"`{card.command}`"),
    ]
    return table(("", ""), rows)


def _promised(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _key(key: object) -> str:
    found = dict(key) if isinstance(key, dict) else {}
    names = ("processor", "device", "runtime", "dtype", "threads", "sequence_length", "batch_size")
    return ", ".join(f"{name} {found[name]}" for name in names if name in found) or "not kept"


def _bullets(lines: Iterable[str]) -> str:
    return "".join(f"\n\n**Note:** {line}." for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars inside a cell would end it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
