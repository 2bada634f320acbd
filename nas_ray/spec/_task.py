"""Downstream tasks: what an entry of the catalogue, or a user's YAML file, may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from nas_ray.spec._frozen import Frozen

Kind = Literal["single", "pair", "regression", "choice", "span", "token"]
Part = Literal["train", "select", "test", "server"]
Form = Literal["copa", "multirc", "race", "record", "squad", "wic", "wsc"]
Metric = Literal[
    "accuracy",
    "answer_f1",
    "answer_match",
    "f1",
    "gender_parity",
    "macro_f1",
    "matthews",
    "pearson",
    "question_match",
    "spearman",
]

_METRICS: Mapping[Kind, frozenset[Metric]] = {
    "single": frozenset({"accuracy", "f1", "macro_f1", "matthews"}),
    "pair": frozenset({"accuracy", "f1", "macro_f1", "matthews", "gender_parity", "question_match"}),
    "regression": frozenset({"pearson", "spearman"}),
    "choice": frozenset({"accuracy", "answer_f1", "answer_match"}),
    "span": frozenset({"answer_f1", "answer_match"}),
    "token": frozenset({"accuracy", "macro_f1"}),
}
_TEXTS: Mapping[Kind, tuple[int, ...]] = {
    "single": (1,), "pair": (2,), "regression": (1, 2), "choice": (1,), "span": (2,), "token": (1,)
}  # fmt: skip
_TWO_CLASSES = frozenset({"f1", "gender_parity", "question_match"})


def _names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _class_names(value: object) -> object:
    if isinstance(value, list) and any(isinstance(name, bool) for name in value):
        raise ValueError("YAML reads yes, no, on, off, true and false as truth values; accepted: 'yes' in quotes")
    return [str(name) if isinstance(name, int) else name for name in value] if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)]
"""One name, or several of which the first that is there counts."""
Columns = Annotated[tuple[Names, ...], BeforeValidator(_names)]
"""Some columns, or one."""


class Fields(Frozen):
    """The columns of a data set."""

    texts: Columns = Field(min_length=1, max_length=2)
    """One text, or two; of a choice the text before the options; of a span the question and the context."""
    options: Columns = ()
    """Of a choice: one column that holds a list, or a column for each option."""
    label: Names | None = None
    """The class by name or number, the rating, the number of the right option, the answers, or a class a word."""
    start: Names | None = None
    """Of a span whose label is plain text: where in the context the answer begins."""
    id: Names | None = None
    """What prediction files call an example; its number in the file if there is no such column."""
    group: Names | None = None
    """Examples of one group lie in one part; the first text if there is no such column."""


class Hub(Frozen):
    """A data set that `datasets` loads."""

    path: str
    """Its name on the hub, or a folder."""
    config: str | None = None
    """Which of its configurations."""
    splits: Mapping[Part, str]
    """Its split for each part."""


class Predictions(Frozen):
    """The file that a benchmark's server takes."""

    format: Literal["tsv", "jsonl", "multirc", "json"]
    """How predictions are written."""
    file: str
    """Its name."""
    labels: tuple[str | int, ...] = ()
    """What the server calls the classes; their own names if not given."""
    ratings: tuple[float, float] | None = None
    """The range that ratings are clipped to."""


class TaskSpec(Frozen):
    """A downstream task: where its examples come from, what is predicted and how that is scored."""

    title: str = ""
    """What it is about, for lists."""
    group: str = "own"
    """The benchmark it belongs to."""
    kind: Kind
    """What is predicted: a class of a text or of a pair, a rating, an option, a span of the text, a class a word."""
    fields: Fields | None = None
    """The columns; embedded tasks need none."""
    form: Form | None = None
    """A benchmark's own layout that is brought into columns first."""
    classes: Annotated[tuple[str, ...], BeforeValidator(_class_names)] = ()
    """Names of the classes in the order of their numbers; of a choice what its labels call the options."""
    metrics: tuple[Metric, ...] = Field(min_length=1)
    """All are reported; the first chooses. Larger is better."""
    max_length: int = Field(128, ge=8)
    """Tokens of a row, special ones counted."""
    stride: int = Field(64, ge=1)
    """Of a span: tokens that neighbouring windows share."""
    answerable: bool = False
    """Of a span: there are questions without an answer."""
    extra_layer: bool = False
    """The head has an extra linear layer."""
    embedded: str | None = None
    """The labelled set of nas_ray's own assets that it reads."""
    hub: Hub | None = None
    """The data set of a hub that it reads."""
    files: Mapping[Part, Names] = Field(default_factory=dict)
    """File of each part, with or without its ending; relative to `--data`, or to the YAML file that says so."""
    folder: str = ""
    """The benchmark's own folder, where `--data` names one that holds several."""
    columns: tuple[str, ...] = ()
    """Names of the columns of tsv files that have no header."""
    skip_broken: bool = False
    """Rows that lack a column are left out, as the benchmark's own readers do; else they are refused."""
    sizes: Mapping[Part, int] = Field(default_factory=dict)
    """Examples of each part, where known."""
    predictions: Predictions | None = None
    """The file for the benchmark's server."""
    trained_on: str | None = None
    """The task whose model predicts here, where there is nothing to train on."""

    @model_validator(mode="after")
    def _fits(self) -> TaskSpec:
        if wrong := [metric for metric in self.metrics if metric not in _METRICS[self.kind]]:
            known = ", ".join(sorted(_METRICS[self.kind]))
            raise ValueError(f"kind {self.kind} has no metric '{wrong[0]}'; accepted: {known}")
        if self.kind in ("single", "pair", "token") and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError(f"kind {self.kind} needs classes: at least two names, each once")
        if (two := _TWO_CLASSES.intersection(self.metrics)) and len(self.classes) != 2:
            raise ValueError(f"the metric {min(two)} needs two classes, the second of which is looked for")
        if "question_match" in self.metrics and self.form != "multirc" and (self.fields is None or not self.fields.id):
            raise ValueError(
                "the metric question_match needs fields.id, a column with paragraph-question-answer: what stands "
                "before the last - tells the question"
            )
        if self.kind == "choice" and self.form != "record" and "accuracy" not in self.metrics:
            raise ValueError("the options have no names to compare answers with; accepted: metrics: [accuracy]")
        if self.embedded is None:
            self._check_source()
        return self

    def _check_source(self) -> None:
        if self.hub is None and not self.files:
            raise ValueError("nothing says where examples come from; accepted: files, hub")
        if self.fields is None:
            raise ValueError("the key fields is missing; accepted: fields: {texts: [column], label: column}")
        if len(self.fields.texts) not in _TEXTS[self.kind]:
            accepted = " or ".join(map(str, _TEXTS[self.kind]))
            raise ValueError(f"fields.texts names {len(self.fields.texts)} columns; kind {self.kind} reads {accepted}")
        if (self.kind == "choice") != bool(self.fields.options):
            raise ValueError("fields.options: kind choice needs them, and no other has them")
