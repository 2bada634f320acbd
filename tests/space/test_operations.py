"""Operations: their sizes against the paper's table and against the modules that are built from them."""

from __future__ import annotations

import pytest

from nas_ray.errors import SpaceError
from nas_ray.space import Operation, OperationChoice, parse_operation
from nas_ray.spec import load_space

# Weights of the paper's 25 operations by width; biases and LayerNorm included, two units a convolution.
TABLE = {
    128: {"M2": 66_304, "F4": 131_968, "S3": 34_560, "S5": 35_072, "S7": 35_584},
    192: {"M3": 148_608, "F4": 296_256, "S3": 76_416, "S5": 77_184, "S7": 77_952},
    256: {"M4": 263_680, "F4": 526_080, "S3": 134_656, "S5": 135_680, "S7": 136_704},
    384: {"M6": 592_128, "F4": 1_182_336, "S3": 300_288, "S5": 301_824, "S7": 303_360},
    512: {"M8": 1_051_648, "F4": 2_100_736, "S3": 531_456, "S5": 533_504, "S7": 535_552},
}
CELLS = [(width, token, params) for width, row in TABLE.items() for token, params in row.items()]


def test_the_paper_has_these_operations() -> None:
    space = load_space("nas_bert")
    assert {w: [o.token for o in ops] for w, ops in space.operations.items()} == {w: list(r) for w, r in TABLE.items()}


@pytest.mark.parametrize(("width", "token", "params"), CELLS)
def test_closed_form(width: int, token: str, params: int) -> None:
    assert parse_operation(token, 64).num_params(width) == params


@pytest.mark.parametrize(("width", "token", "params"), [*CELLS, (96, "M1", None), (96, "F1", None), (96, "S5x1", None)])
def test_modules_have_as_many_weights(width: int, token: str, params: int | None) -> None:
    from nas_ray.blocks import build_operation
    from nas_ray.modeling import Numerics

    operation = parse_operation(token, 64)
    module = build_operation(width, operation, Numerics())
    assert sum(p.numel() for p in module.parameters()) == operation.num_params(width)
    assert params in (None, operation.num_params(width))


@pytest.mark.parametrize("token", ["M1", "M12", "F1", "F4", "S3", "S7", "S5x1", "S1x3"])
def test_token_round_trip(token: str) -> None:
    assert parse_operation(token, 32).token == token


def test_two_units_are_not_written() -> None:
    assert parse_operation("S5x2", 32) == parse_operation("S5", 32)


@pytest.mark.parametrize(
    "token", ["", "M", "X4", "M0", "F0", "F04", "S4", "S5x", "S5x0", "M4 ", "M4\n", "m4", "M²", "M٤"]
)
def test_refuses_what_is_no_operation(token: str) -> None:
    with pytest.raises(SpaceError, match="accepted"):
        parse_operation(token, 64)


@pytest.mark.parametrize(("width", "fraction"), [(96, "1"), (64, "1/3"), (32, "1")])
def test_refuses_broken_heads(width: int, fraction: str) -> None:
    from fractions import Fraction

    with pytest.raises(SpaceError, match=rf"width {width}.*whole number"):
        OperationChoice("attention", head_fraction=Fraction(fraction)).at(width, 64)


def test_heads_follow_the_width() -> None:
    assert OperationChoice("attention").at(192, 64) == Operation("attention", heads=3, head_size=64)
