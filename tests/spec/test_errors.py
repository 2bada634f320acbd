"""The tree of errors, its exit codes and its hints."""

from __future__ import annotations

import pickle
import re

import pytest

from nas_ray import errors
from nas_ray.errors import NasRayError, SpecError, StageError, unknown

TREE = dict(re.findall(r"── (\w+) +(\d)", errors.__doc__ or ""))


def test_the_drawn_tree_is_the_real_one() -> None:
    public = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type)
        and issubclass(kind, NasRayError)
        and not name.startswith("_")
        and kind is not NasRayError
    }
    assert {name: str(kind.exit_code) for name, kind in public.items()} == TREE
    assert NasRayError.exit_code == 1


@pytest.mark.parametrize(
    ("file", "key", "text"), [("x", "a.b", "x: a.b: m"), ("", "a", "a: m"), ("x", "", "x: m"), ("", "", "m")]
)
def test_spec_error_says_where(file: str, key: str, text: str) -> None:
    assert str(SpecError("m", file=file, key=key)) == text


def test_stage_error_names_its_stage() -> None:
    error = StageError("tabulate", "failed")
    assert (str(error), error.stage) == ("stage tabulate: failed", "tabulate")


@pytest.mark.parametrize("error", [SpecError("m", file="x", key="a"), StageError("s", "m"), errors.TextError("m")])
def test_errors_travel_between_processes(error: NasRayError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_unknown() -> None:
    assert unknown("word", "btea", ["beta", "alpha"]) == "unknown word 'btea'; known: alpha, beta. Did you mean 'beta'?"
    assert unknown("word", "zzz", ["beta", "alpha"]) == "unknown word 'zzz'; known: alpha, beta."
