"""Specs: found, checked at the door with errors that teach, hashed, and read back the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from nas_ray.errors import SpecError
from nas_ray.space import PathSpace, UniformSpace, describe_ladder
from nas_ray.spec import (
    PathSpaceSpec,
    TrialSpec,
    find,
    load_space,
    load_space_spec,
    load_trial,
    parse,
    shipped,
    spec_hash,
    to_yaml,
)

ROOT = Path(__file__).parents[2]
MINIMAL: dict[str, Any] = {"name": "mine", "space": "minilm_small"}
SPACE: dict[str, Any] = {
    "name": "mine",
    "kind": "paths",
    "blocks": 2,
    "layers": 2,
    "widths": [64, 32],
    "head_size": 16,
    "operations": [{"kind": "attention"}, {"kind": "feed_forward", "ratio": 2}],
    "embedding": {"sizes": [64, 32]},
}
UNIFORM = {"name": "u", "kind": "uniform", "depths": [2], "heads": [2, 3], "hiddens": [8], "intermediates": [16]}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def to_file(data: object, name: str = "x.yaml") -> str:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
        return str(file)

    return to_file


def changed(data: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """A copy of ``data`` with the dotted ``key`` set."""
    copy: dict[str, Any] = yaml.safe_load(yaml.safe_dump(data))
    place = copy
    *parents, last = key.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return copy


# -- what is shipped --------------------------------------------------------------------------------------------------


def test_everything_shipped_is_found() -> None:
    for folder in ("trials", "search_spaces"):
        assert sorted(shipped(folder)) == sorted(file.stem for file in (ROOT / folder).glob("*.yaml"))
    assert {"bort", "minilm_ops", "minilm_small", "nas_bert"} <= shipped("search_spaces").keys()
    assert "quickstart" in shipped("trials")


@pytest.mark.parametrize("name", shipped("trials"))
def test_shipped_trial(name: str) -> None:
    spec = load_trial(name)
    assert spec.name == name
    assert spec.description
    assert isinstance(load_space(spec.space, shipped("trials")[name].parent), PathSpace | UniformSpace)
    assert spec_hash(parse(TrialSpec, yaml.safe_load(to_yaml(spec)), "again")) == spec_hash(spec)


def test_nas_bert_has_the_papers_settings() -> None:
    spec = load_trial("nas_bert")
    assert (spec.space, spec.teacher, spec.text.inputs) == ("nas_bert", "bert-base-uncased", "masked")
    assert (spec.text.sequence_length, spec.supernet.start, spec.supernet.paths_per_update) == (512, "scratch", 1)
    assert round(spec.supernet.warmup * spec.supernet.steps) == pytest.approx(10_000, rel=1e-3)
    shrink = spec.supernet.shrink
    assert shrink is not None
    assert (shrink.bins, shrink.warm_epochs, shrink.sample, shrink.batches, shrink.keep) == (10, 3, 2000, 5, 10)
    assert (shrink.mode, shrink.latency, shrink.remove, shrink.stop) == ("paths", "band", 0.5, True)
    assert int(spec.search.num_candidates * spec.search.proposals) == 100


@pytest.mark.parametrize(
    ("name", "differ"),
    [
        ("nas_bert_inherit", {"supernet.start"}),
        ("nas_bert_no_shrinking", {f"supernet.shrink.{key}" for key in ("mode", "sample", "stop")}),
        ("nas_bert_shrink_operations", {f"supernet.shrink.{key}" for key in ("mode", "sample", "remove", "stop")}),
    ],
)
def test_an_ablation_changes_what_it_says(name: str, differ: set[str]) -> None:
    paper, ablation = (
        {".".join(map(str, path)): value for path, value in leaves(load_trial(n).model_dump(mode="json"))}
        for n in ("nas_bert", name)
    )
    assert {key for key in paper if paper[key] != ablation[key]} == differ | {"name", "description"}


def test_shrinking_by_operations_has_defaults_of_its_own() -> None:
    def shrink(**keys: Any) -> Any:
        return load_trial("quickstart", [f"supernet.shrink={yaml.safe_dump(keys, default_flow_style=True)}"])

    assert [shrink(mode="operations").supernet.shrink.sample, shrink(mode="paths").supernet.shrink.sample] == [
        1000,
        2000,
    ]
    assert shrink(mode="operations", remove=0.1).supernet.shrink.remove == 0.1
    assert shrink(remove=7).supernet.shrink.remove == 7


@pytest.mark.parametrize("name", shipped("search_spaces"))
def test_shipped_space(name: str) -> None:
    spec = load_space_spec(name)
    assert spec.name == name
    assert spec.description
    assert spec.build().name == name
    again = parse(type(spec), yaml.safe_load(to_yaml(spec)), "again")
    assert again == spec
    assert again.build() == spec.build()
    assert spec_hash(again) == spec_hash(spec)


# -- finding files ----------------------------------------------------------------------------------------------------


def test_finds_names_and_files(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(MINIMAL, "a folder's name/of mine.yml")
    assert load_trial(file).name == "mine"
    assert find("quickstart", "trials", "trial spec") == shipped("trials")["quickstart"]
    monkeypatch.chdir(Path(file).parent)
    assert load_trial("of mine.yml").name == "mine"


@pytest.mark.parametrize(
    "name", ["missing.yaml", "folder/missing", "~nobody-of-this-name/x.yaml", "x" * 5000 + ".yaml", "/"]
)
def test_missing_file(name: str) -> None:
    with pytest.raises(SpecError, match=r"no such file; accepted: a trial spec file, or one of .*quickstart") as caught:
        load_trial(name)
    assert caught.value.file == name


def test_unknown_name() -> None:
    with pytest.raises(SpecError, match=r"unknown trial spec 'quickstrat'; known: .*Did you mean 'quickstart'\?"):
        load_trial("quickstrat")
    with pytest.raises(SpecError, match=r"unknown search space 'nasbert'.*Did you mean 'nas_bert'\?"):
        load_space("nasbert")


def test_a_space_beside_the_trial(write: Any, tmp_path: Path) -> None:
    write(SPACE, "own.yaml")
    assert load_space("own.yaml", tmp_path).name == "mine"
    assert load_space("minilm_small", tmp_path).name == "minilm_small"
    with pytest.raises(SpecError, match="no such file"):
        load_space("own.yaml")


@pytest.mark.parametrize(
    "content",
    [b"", b"# only a comment\n", b"- a\n- list\n", b"just text", b"\x00\x01\x02\xff", b"\xff\xfe\x00n", b"a: [1",
     b"\ta: 1", b"a: 2020-99-99", b"[" * 500, b"!!python/object/apply:os.system ['true']"],
)  # fmt: skip
@pytest.mark.parametrize("load", [load_trial, load_space])
def test_what_is_no_mapping(tmp_path: Path, content: bytes, load: Any) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(SpecError, match=r"cannot be read as YAML|holds no keys") as caught:
        load(str(file))
    assert caught.value.file.endswith("x.yaml")
    assert "\n" not in str(caught.value)


def test_unreadable_file(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(MINIMAL)

    def refuse(self: Path, *_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(SpecError, match="cannot be read"):
        load_trial(file)


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfname: mine\nspace: bort\n")
    assert load_trial(str(tmp_path / "x.yaml")).name == "mine"


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED = [
    ("sapce", "bort", "sapce", r"unknown key 'sapce'; known: .*Did you mean 'space'\?"),
    ("search.num_candidate", 3, "search.num_candidate", r"Did you mean 'num_candidates'\?"),
    ("search.scheduler.etta", 3, "search.scheduler.etta", r"known: bins, cost, eta, .*Did you mean 'eta'\?"),
    ("supernet.shrink.bin", 3, "supernet.shrink.bin", r"Did you mean 'bins'\?"),
    ("supernet.shrink.mode", "operation", "supernet.shrink.mode", r"Did you mean 'operations'\?"),
    ("supernet.shrink.latency", "bands", "supernet.shrink.latency", r"known: at_most, band, ignore"),
    ("supernet.shrink.remove", 1.5, "supernet.shrink", "a share below 1, or a whole number"),
    ("supernet.shrink.remove", 0, "supernet.shrink.remove", "greater than 0"),
    ("supernet.shrink", {"epochs": 3}, "supernet.shrink", "warm_epochs is 3, epochs is 3; accepted: fewer"),
    ("supernet.shrink.batches", 5, "", "supernet.shrink.batches is 5, text.select_batches is 4"),
    ("supernet.updates", 3, "", "supernet.updates is 3, text.batch_sequences is 8; accepted: updates that divide it"),
    ("text.batch_sequences", 2, "", "supernet.updates is 4, text.batch_sequences is 2"),
    ("tabulate.precision", "fp16", "tabulate.precision", r"unknown value 'fp16'; known: bf16, fp32"),
    ("text.sources", [{"source": "a"}, {"source": "b", "shar": 1}], "text.sources.1.shar", r"Did you mean 'share'\?"),
    ("text.sources", [{}], "text.sources.0.source", "missing"),
    ("search.constraints.param", 5e6, "search.constraints.param", r"unknown key 'param'.*Did you mean 'params'\?"),
    ("search.objectives", ["loss", "latency"], "search.objectives.1", r"unknown value 'latency'.*'latency_ms'\?"),
    ("text.inputs", "maskd", "text.inputs", r"unknown value 'maskd'; known: auto, masked, plain\. Did you"),
    ("cluster.executor", 3, "cluster.executor", "unknown value '3'; known: local, ray"),
    ("seed", "zero", "seed", "valid integer.*found: 'zero'"),
    ("seed", -1, "seed", "greater than or equal to 0"),
    ("seed", 1.5, "seed", "found: 1.5"),
    ("name", "../up", "name", "found: '../up'"),
    ("name", None, "name", "valid string"),
    ("text", 3, "text", "found: 3"),
    ("text", [], "text", "valid dictionary"),
    ("supernet.learning_rate", 0, "supernet.learning_rate", "greater than 0"),
    ("supernet.learning_rate", float("nan"), "supernet.learning_rate", "finite|greater than 0"),
    ("supernet.clip", float("inf"), "supernet.clip", "finite"),
    ("search.constraints.params", 0, "search.constraints.params", "greater than 0"),
    ("search.constraints.params", "5M", "search.constraints.params", "valid number.*found: '5M'"),
    ("search.proposals", 0.6, "search.proposals", "less than or equal to 0.5"),
    ("search.objectives", ["params"], "search", "accepted: loss and at least one cost"),
    ("search.objectives", ["loss"], "search", "accepted: loss and at least one cost"),
    ("search.objectives", ["loss", "params", "params"], "search", "each once"),
    ("search.rungs", [2, 1], "search", "rising"),
    ("search.rungs", [], "search", "rising"),
    ("search.rungs", [0, 1], "search", "rising"),
    ("search.block_rungs", [2, 1], "search", "rising"),
    ("search.block_rungs", [5], "", "text.select_batches is 4"),
    ("search.distill", {"steps": []}, "search.distill.steps", "at least 1"),
    ("search.distill", {"steps": [5, 5]}, "search.distill", "rising numbers of training steps"),
    ("search.distill", {"steps": [5], "learning_rate": "fast"}, "search.distill.learning_rate", "a number above 0, or"),
    ("search.distill", {"steps": [5], "learning_rate": 0}, "search.distill.learning_rate", "a number above 0, or"),
    ("search.distill", {"steps": [5], "learning_rate": {"low": 1}}, "search.distill.learning_rate", "high: is missing"),
    ("search.distill", {"steps": [5], "weight_decay": -1}, "search.distill.weight_decay", "a number from 0, or"),
    ("search.distill", {"steps": [True]}, "search.distill.steps", "a list of rising numbers"),
    ("search.distill", {"steps": 15}, "search.distill.steps", "a list of rising numbers"),
    ("extraction", {"hyperparameter_sets": [{}]}, "extraction.hyperparameter_sets.0", "an empty set"),
    ("extraction", {"hyperparameter_sets": [{"sequences": 2}, {"sequences": 2}]}, "extraction", "twice"),
    ("extraction.epsilon", 0, "extraction.epsilon", "greater than or equal to 1"),
    ("search.distill", {"steps": [5], "learning_rate": {"low": 2, "high": 1}}, "search.distill.learning_rate", "below"),
    ("search.distill", {"steps": [5], "learning_rate": {"lo": 2}}, "search.distill.learning_rate", "low, high and log"),
    ("search.distill", {"steps": [5], "sequences": [4, 4]}, "search.distill.sequences", "different"),
    ("search.rungs", [1, 5], "", "text.select_batches is 4"),
    ("text.splits.train", 0.9, "text.splits", r"add up to 1\.1; accepted: 1"),
    ("text.splits.test", 0, "text.splits.test", "greater than 0"),
    ("text.calibrate_batches", 1, "text", "at least 2"),
    ("tabulate.ridges", [], "tabulate.ridges", "at least 1 item"),
    ("tabulate.ridges", [-1.0], "tabulate.ridges.0", "greater than or equal to 0"),
    (3, "x", "3", "string"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "place", "message"), REFUSED)
def test_refuses(write: Any, key: Any, value: object, place: str, message: str) -> None:
    data = {**MINIMAL, key: value} if isinstance(key, int) else changed(MINIMAL, key, value)
    file = write(data)
    with pytest.raises(SpecError, match=message) as caught:
        load_trial(file)
    assert caught.value.key == place
    assert caught.value.file.endswith("x.yaml")
    assert str(caught.value).startswith(f"{caught.value.file}: {place}{': ' if place else ''}")
    assert "\n" not in str(caught.value)


def test_names_what_is_missing(write: Any) -> None:
    with pytest.raises(SpecError, match=r"x\.yaml: space: this key is missing"):
        load_trial(write({"name": "mine"}))


REFUSED_SPACES = [
    (SPACE, "kind", "path", "kind", r"unknown kind 'path'; known: paths, uniform\. Did you mean 'paths'\?"),
    (SPACE, "kind", ["paths"], "kind", "unknown kind"),
    (SPACE, "kind", None, "kind", "unknown kind 'None'"),
    (SPACE, "widhts", [1], "widhts", r"Did you mean 'widths'\?"),
    (SPACE, "widths", [], "widths", "at least 1 item"),
    (SPACE, "widths", [0], "widths.0", "greater than or equal to 1"),
    (SPACE, "widths", [32, 32], "", "widths lists 32 more than once"),
    (SPACE, "widths", [24], "", "width 24 .*whole number"),
    (SPACE, "operations", [{"kind": "attention"}, {"kind": "attention", "ratio": 2}], "", "M2 more than once"),
    (SPACE, "operations", [{"kind": "atention"}], "operations.0.kind", r"Did you mean 'attention'\?"),
    (SPACE, "operations", [{"kind": "separable_conv", "kernel": 4}], "operations.0", "an odd number"),
    (SPACE, "operations", [{"kind": "attention", "head_fraction": "1/0"}], "operations.0", "a fraction such as"),
    (SPACE, "operations", [{"kind": "attention", "head_fraction": "-1"}], "operations.0", "a fraction such as"),
    (SPACE, "embedding.sizes", [32, 32], "embedding", "sizes lists 32 more than once"),
    (SPACE, "embedding.by_encoder_params", {16: 5}, "embedding", "names the size 16"),
    (SPACE, "embedding.by_encoder_params", {32: 5, 64: 4}, "embedding", "larger bounds for larger sizes"),
    (UNIFORM, "heads", [3], "", "divisible"),
    (UNIFORM, "depths", [2, 2], "", "depths lists 2 more than once"),
    (UNIFORM, "hiddens", [0], "hiddens.0", "greater than or equal to 1"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "key", "value", "place", "message"), REFUSED_SPACES)
def test_refuses_spaces(write: Any, data: dict[str, Any], key: str, value: object, place: str, message: str) -> None:
    file = write(changed(data, key, value))
    with pytest.raises(SpecError, match=message) as caught:
        load_space(file)
    assert caught.value.key == place
    assert caught.value.file.endswith("x.yaml")


def test_a_space_needs_a_kind(write: Any) -> None:
    with pytest.raises(SpecError, match="kind: this key is missing; accepted: paths, uniform"):
        load_space(write({key: value for key, value in SPACE.items() if key != "kind"}))


def test_order_of_sizes_does_not_matter(write: Any) -> None:
    space = load_space(write(SPACE))
    assert isinstance(space, PathSpace)
    assert (space.widths, space.embedding_sizes) == ((32, 64), (32, 64))


# -- --set ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("seed=7", lambda s: s.seed == 7),
        ("search.searcher.name=nsga2", lambda s: s.search.searcher.name == "nsga2"),
        ("search.searcher.options.size=20", lambda s: s.search.searcher.options == {"size": 20}),
        ("search.constraints.params=5e6", lambda s: s.search.constraints == {"params": 5_000_000.0}),
        ("search.rungs=[1, 3]", lambda s: s.search.rungs == (1, 3)),
        ("supernet.learning_rate=1e-4", lambda s: s.supernet.learning_rate == 1e-4),
        ("supernet.shrink.bins=4", lambda s: s.supernet.shrink.bins == 4),
        ("supernet.shrink=null", lambda s: s.supernet.shrink is None),
        ("tracking.enabled=false", lambda s: s.tracking.enabled is False),
        ("description=a=b", lambda s: s.description == "a=b"),
        ("text.sources.1.share=3", lambda s: [x.share for x in s.text.sources] == [0.5, 3.0]),
        ("text.sources=snippets", lambda s: [x.source for x in s.text.sources] == ["snippets"]),
        (
            "text.sources=[snippets, {source: gutenberg, share: 3}]",
            lambda s: [x.share for x in s.text.sources] == [1, 3],
        ),
        ("text.sources=[{source: snippets}]", lambda s: [x.source for x in s.text.sources] == ["snippets"]),
    ],
)
def test_set(override: str, found: Any) -> None:
    assert found(load_trial("quickstart", [override]))


def test_later_overrides_win() -> None:
    assert load_trial("quickstart", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "accepted: --set a.b=value"),
        ("=3", "accepted: --set a.b=value"),
        ("seed=[1", "--set: seed: the value .* is not YAML"),
        ("seed=2020-99-99", "--set: seed: the value .* is not YAML"),
        ("sead=3", r"quickstart.yaml: sead: unknown key 'sead'.*Did you mean 'seed'\?"),
        ("search.num_candidats=3", r"Did you mean 'num_candidates'\?"),
        ("search..rungs=3", "unknown key ''"),
        ("scheduler.name=asha", r"unknown key 'scheduler'.*Did you mean 'search\.scheduler'\?"),
        ("text.sources.2.share=3", "text.sources: no item '2' in a list of 2"),
        ("text.sources.0.0.share=3", "text.sources.0.0: unknown key '0'"),
        ("text.sources.0.source.x=3", "text.sources.0.source: .*valid string"),
        ("text.sources.first=3", "no item 'first'"),
    ],
)
def test_refuses_overrides(override: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_trial("quickstart", [override])


# -- frozen, hashed, read back ----------------------------------------------------------------------------------------


def test_frozen() -> None:
    spec = load_trial("quickstart")
    with pytest.raises(ValidationError):
        spec.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        spec.search.scheduler.eta = 3.0  # type: ignore[misc]


def test_rank_by_several_objectives_needs_no_cost_bins() -> None:
    found = {
        (name, bins): load_trial("quickstart", [f"search.scheduler.name={name}", *bins]).search.scheduler.num_bins
        for name in ("mo_asha", "asha")
        for bins in ((), ("search.scheduler.bins=3",))
    }
    assert list(found.values()) == [1, 3, 4, 3]
    assert load_trial("quickstart").search.scheduler.name == "mo_asha"


def test_types() -> None:
    """YAML's own spellings of numbers and lists arrive as what the fields say."""
    spec = parse(
        TrialSpec, {**MINIMAL, "supernet": {"learning_rate": "1e-3", "clip": 1}, "search": {"rungs": [1]}}, "x"
    )
    assert (spec.supernet.learning_rate, spec.supernet.clip, spec.search.rungs) == (1e-3, 1.0, (1,))
    assert isinstance(spec.supernet.clip, float)


def leaves(data: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value of nested mappings and lists with its place."""
    items: Any = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    if not items and not isinstance(data, dict | list):
        yield path, data
    for key, value in items:
        yield from leaves(value, (*path, key))


FULL = parse(
    TrialSpec,
    changed(changed(MINIMAL, "supernet.shrink.bins", 3), "search.constraints.params", 5e6)
    | {"latency": {"threads": 2, "table": "t.parquet"}, "tracking": {"uri": "u", "experiment": "e"}},
    "full",
)  # fmt: skip


def other(value: object) -> object:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 1.5
        case str():
            return f"{value}x"
    return 12345


SPACE_SPEC = parse(PathSpaceSpec, SPACE, "space")


@pytest.mark.parametrize("spec", [FULL, SPACE_SPEC], ids=["trial", "space"])
def test_hash_changes_with_every_field(spec: BaseModel) -> None:
    """Whatever is written in the resolved spec names the run, whether another value would be accepted or not."""
    data = spec.model_dump(mode="json")
    seen = {spec_hash(spec)}
    places = list(leaves(data))
    for path, value in places:
        whole = spec.model_dump(mode="json")
        place = whole
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = other(value)
        seen.add(spec_hash(_Raw(whole)))
    assert spec_hash(_Raw(data)) == spec_hash(spec)
    assert len(seen) == len(places) + 1
    assert len(places) >= 10


class _Raw(BaseModel):
    """A resolved spec as the hash sees it, unchecked."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__()
        object.__setattr__(self, "_data", data)

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return self._data  # type: ignore[no-any-return]


def test_every_field_is_in_the_hash() -> None:
    def fields(model: type[BaseModel], data: dict[str, Any]) -> None:
        assert set(model.model_fields) == set(data)

    def walk(spec: BaseModel) -> None:
        fields(type(spec), spec.model_dump(mode="json"))
        for name in type(spec).model_fields:
            if isinstance(value := getattr(spec, name), BaseModel):
                walk(value)

    walk(FULL)


def test_hash_depends_on_all_specs_in_order() -> None:
    assert spec_hash(FULL, SPACE_SPEC) != spec_hash(FULL)
    assert spec_hash(FULL, SPACE_SPEC) != spec_hash(SPACE_SPEC, FULL)
    assert len(spec_hash(FULL)) == 8


def test_defaults_written_out_change_nothing() -> None:
    short = parse(TrialSpec, MINIMAL, "x")
    assert spec_hash(parse(TrialSpec, short.model_dump(mode="json"), "x")) == spec_hash(short)
    assert spec_hash(parse(TrialSpec, {**MINIMAL, "seed": 0, "latency": {"device": "cpu"}}, "x")) == spec_hash(short)


SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "description": st.text(max_size=20),
        "seed": st.integers(0, 10**9),
        "supernet": st.fixed_dictionaries(
            {},
            optional={
                "learning_rate": st.floats(1e-9, 1.0),
                "start": st.sampled_from(["inherit", "scratch"]),
                "shrink": st.none() | st.fixed_dictionaries({}, optional={"remove": st.floats(0.01, 0.99)}),
            },
        ),
        "search": st.fixed_dictionaries(
            {},
            optional={
                "constraints": st.dictionaries(st.sampled_from(["params", "flops"]), st.floats(1e-3, 1e15)),
                "searcher": st.builds(
                    lambda options: {"options": options},
                    st.dictionaries(st.text(max_size=5), st.integers(-(2**40), 2**40)),
                ),
            },
        ),
    },
)


@settings(max_examples=30)
@given(SECTIONS)
def test_resolved_spec_round_trip(sections: dict[str, Any]) -> None:
    spec = parse(TrialSpec, MINIMAL | sections, "x")
    again = parse(TrialSpec, yaml.safe_load(to_yaml(spec)), "x")
    assert again == spec
    assert spec_hash(again) == spec_hash(spec)


def test_the_ladder_and_what_is_searched_beside_the_architecture() -> None:
    given = "{steps: [5, 20], learning_rate: {low: 1.0e-4, high: 1.0e-2}, sequences: [8, 2, 4], weight_decay: 0.1}"
    search = load_trial("quickstart", ["search.block_rungs=[1]", f"search.distill={given}"]).search
    assert describe_ladder(search.ladder) == "blocks 1 batches, stitched 1, 2, 4 batches, distilled 5, 20 steps"
    assert [str(rung) for rung in search.ladder[:2]] == ["blocks 1 batch", "stitched 1 batch"]
    assert search.distill is not None
    assert search.distill.middle == {"learning_rate": 0.001, "sequences": 4}
    assert search.distill.most_sequences == 8
    assert load_trial("quickstart").search.distill is None


def test_a_spec_starts_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: quickstart\nname: mine\nsupernet: {steps: 7}\nsearch: {rungs: [4]}\n")
    (tmp_path / "its.yaml").write_text("base: mine.yaml\nname: its\nsupernet: {basis: auto}\n")
    mine, its = (load_trial(str(tmp_path / f"{name}.yaml")) for name in ("mine", "its"))
    quickstart = load_trial("quickstart")
    changed = {"steps": 7}
    assert mine.supernet == quickstart.supernet.model_copy(update=changed)
    assert mine.text == quickstart.text
    assert mine.search.rungs == (4,)
    assert its.supernet == quickstart.supernet.model_copy(update={**changed, "basis": "auto"})
    assert its.name == "its"
    (tmp_path / "round.yaml").write_text("base: trip.yaml\n")
    (tmp_path / "trip.yaml").write_text("base: round.yaml\n")
    for name, message in (
        ("round", "starts from this file itself"),
        ("lost", "lost.yaml: base: unknown trial spec 'quickstrat'"),
    ):
        (tmp_path / "lost.yaml").write_text("base: quickstrat\n")
        with pytest.raises(SpecError, match=message):
            load_trial(str(tmp_path / f"{name}.yaml"))


@pytest.mark.parametrize("millions", [60, 30, 10, 5])
def test_the_papers_budgets_differ_from_its_settings_in_the_limit_alone(millions: int) -> None:
    spec, whole = load_trial(f"nas_bert_{millions}m"), load_trial("nas_bert")
    assert spec.search.constraints == {"params": millions * 1e6}
    search = whole.search.model_copy(update={"constraints": spec.search.constraints})
    assert spec == whole.model_copy(update={"name": spec.name, "description": spec.description, "search": search})
