"""The model card of a fine-tuned model's export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas_ray import __version__
from nas_ray.export._card import latency_table, table

if TYPE_CHECKING:
    from nas_ray.export._export import Exported
    from nas_ray.export._task import TaskOutputs, TaskSource

_PIPELINES = {
    "sequence": "text-classification",
    "regression": "text-classification",
    "choice": "multiple-choice",
    "span": "question-answering",
    "token": "token-classification",
}


def task_card_text(source: TaskSource, found: Exported, outputs: TaskOutputs) -> str:
    """The card of an export whose files are checked and timed."""
    record = source.record
    classes = f" Classes: {', '.join(record['classes'])}." if record["classes"] else ""
    library = "onnx" if found.format == "onnx" else "transformers"
    header = f"---\nlibrary_name: {library}\npipeline_tag: {_PIPELINES[source.head.kind]}\ntags:\n- nas_ray\n---"
    parts = [
        header,
        f"# {record['task']}\n\nAn encoder fine-tuned on task `{record['task']}` of kind {record['kind']} by nas_ray "
        f"{__version__}.{classes}",
        "## Use\n\n" + (_use_onnx(source, found) if found.format == "onnx" else _use_hf(source, outputs)),
        "## Scores\n\n" + _scores(source),
        "## Size and latency\n\n" + _costs(found),
        "## How true this export is\n\nLoaded again and compared with the model it was made from, on texts of several "
        f"lengths and batches, with padding: largest absolute difference of a score {found.difference:.1e}.",
        "## Training\n\n" + _training(source),
    ]
    return "\n\n".join(parts) + "\n"


def _use_hf(source: TaskSource, outputs: TaskOutputs) -> str:
    from nas_ray.modeling import NasRayConfig

    head, record = source.head, source.record
    is_path = outputs.model.config.model_type == NasRayConfig.model_type
    trust = ", trust_remote_code=True" if is_path else ""
    text = (
        f"```python\nimport torch\nfrom transformers import {head.auto_class}, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("FOLDER"{trust})\n'
        f'model = {head.auto_class}.from_pretrained("FOLDER"{trust})\n'
        f"{_rows(record)}\nwith torch.no_grad():\n    found = model(**rows)\n{_answer(source)}\n```"
    )
    if is_path:
        text += (
            "\n\nThe three `*_nas_ray.py` files beside the weights are the model's code; they need PyTorch and "
            "transformers only."
        )
    return text


def _rows(record: object) -> str:
    """Lines that make ``rows``."""
    assert isinstance(record, dict)
    cut = f'truncation=True, max_length={record["max_length"]}, return_tensors="pt"'
    match record["kind"]:
        case "pair":
            return f'rows = tokenizer("A text.", "Another.", {cut})'
        case "span":
            return f'rows = tokenizer("A question?", "The text with the answer.", {cut})'
        case "choice":
            return (
                f'rows = tokenizer(["A question?"] * 2, ["One option.", "Another."], padding=True, {cut})\n'
                "rows = {name: tensor[None] for name, tensor in rows.items()}"
            )
        case "token":
            return f'words = ["Words", " of", " a", " text"]\nrows = tokenizer(words, is_split_into_words=True, {cut})'
    return f'rows = tokenizer("A text.", {cut})'


def _answer(source: TaskSource) -> str:
    """Lines that print what the model says."""
    match source.head.kind:
        case "sequence":
            return "print(model.config.id2label[int(found.logits.argmax())])"
        case "token":
            return (
                "said, places = found.logits[0].argmax(-1), rows.word_ids()\n"
                "for number, word in enumerate(words):  # a word's class is that of its first token\n"
                "    print(word, model.config.id2label[int(said[places.index(number)])])"
            )
        case "span":
            return (
                "begin, end = int(found.start_logits.argmax()), int(found.end_logits.argmax())\n"
                "print(tokenizer.decode(rows.input_ids[0, begin : end + 1]))"
            )
    return "print(found.logits)"


def _use_onnx(source: TaskSource, found: Exported) -> str:
    record = source.record
    file = "model_int8.onnx" if found.quantize else "model.onnx"
    texts = '"A text.", "Another."' if record["kind"] in ("pair", "span", "choice") else '"A text."'
    meaning = {
        "sequence": "`logits` are `(batch, classes)`",
        "regression": "`logits` are ratings, `(batch, 1)`",
        "choice": "`logits`, `(batch, 1)`, are scores of options, each a row with the text before it; softmax over the "
        "options of an example gives probabilities",
        "span": "`start_logits` and `end_logits` are `(batch, tokens)`: where the answer begins and ends",
        "token": "`logits` are `(batch, tokens, classes)`; a word's class is that of its first token",
    }[source.head.kind]
    return (
        "```python\nimport numpy as np\nimport onnxruntime\nfrom tokenizers import Tokenizer\n\n"
        'tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")\n'
        f"tokenizer.no_padding()\ntokenizer.enable_truncation({record['max_length']})\n"
        f'session = onnxruntime.InferenceSession("FOLDER/{file}")\n'
        f"text = tokenizer.encode({texts})\n"
        "known = {\n"
        '    "input_ids": np.array([text.ids]),\n'
        '    "attention_mask": np.array([text.attention_mask]),\n'
        '    "token_type_ids": np.array([text.type_ids]),\n'
        "}\n"
        "feed = {each.name: known[each.name] for each in session.get_inputs()}\n"
        f"found = session.run(None, feed)\n```\n\n"
        f"Inputs are int64 `(batch, tokens)`, of any batch and any length that the model takes. {meaning}."
    )


def _scores(source: TaskSource) -> str:
    record = source.record
    rows = [(name, *(f"{100 * record[part][name]:.1f}" for part in ("select", "test"))) for name in record["test"]]
    text = table(("times 100", "select, which chose", "test"), rows)
    if record["answerable"]:
        text += f"\n\nThere is no answer where its log-odds are above {record['threshold']:.3f} (chosen on *select*)."
    return text


def _costs(found: Exported) -> str:
    rows = [
        ("params: all weights but the head's", f"{found.params:,}"),
        ("encoder_params: all but embeddings and head", f"{found.encoder_params:,}"),
        ("files", f"{found.size_bytes / 1e6:.1f} MB"),
    ]
    return (
        table(("", "counted"), rows) + "\n\n" + latency_table(found.timings, None) + "\n\nMilliseconds a batch, lower "
        f"quartile ± half the interquartile range, measured at the export: {found.key.text}."
        + "".join(f"\n\n**Note:** {line}." for line in found.warnings)
    )


def _training(source: TaskSource) -> str:
    record = source.record
    rows = [
        ("made of", Path(record["model"]).name),
        ("seed", str(record["seed"])),
        *((name, f"{value:g}") for name, value in record.get("hyperparameters", {}).items() if name != "seed"),
        *((name, str(record[name])) for name in ("origin", "trial") if name in record),
    ]
    return table(("", ""), rows)
