"""Operations against a slow reference, their independence of padding, and their sizes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nas_ray.blocks import BlockSupernet, build_operation
from nas_ray.modeling import Attention, FeedForward, Numerics, init_weights
from nas_ray.space import OperationChoice, PathSpace, Start, parse_operation

NUMERICS = Numerics("none", 1e-12)
TOKENS = ("M2", "M3", "F1", "F4", "S3", "S5", "S5x1", "S7x1")


def made(token: str, width: int = 24, numerics: Numerics = NUMERICS) -> nn.Module:
    """The operation with large random weights, so that every term counts."""
    module = build_operation(width, parse_operation(token, 8), numerics)
    generator = torch.Generator().manual_seed(len(token) + width)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


def inputs(batch: int = 2, tokens: int = 9, width: int = 24, seed: int = 0) -> Tensor:
    return torch.randn(batch, tokens, width, generator=torch.Generator().manual_seed(seed))


def layer_norm(x: list[float], norm: nn.LayerNorm) -> list[float]:
    mean = sum(x) / len(x)
    variance = sum((v - mean) ** 2 for v in x) / len(x)
    gain, bias = norm.weight.tolist(), norm.bias.tolist()
    return [(v - mean) / math.sqrt(variance + norm.eps) * g + b for v, g, b in zip(x, gain, bias, strict=True)]


def gelu(x: float, kind: str) -> float:
    if kind == "tanh":
        return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def affine(module: nn.Linear, x: list[float]) -> list[float]:
    rows, bias = module.weight.tolist(), module.bias.tolist()
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(rows, bias, strict=True)]


def slow_attention(module: Attention, x: list[list[float]], text: list[bool]) -> list[list[float]]:
    inner, size = module.heads * module.head_size, module.head_size
    qkv = [affine(module.qkv, row) for row in x]
    found = []
    for i, row in enumerate(x):
        mixed = []
        for head in range(module.heads):
            at = head * size
            query = qkv[i][at : at + size]
            keys = [other[inner + at : inner + at + size] for other in qkv]
            scores = [sum(q * k for q, k in zip(query, key, strict=True)) / math.sqrt(size) for key in keys]
            weights = [math.exp(s - max(scores)) if seen else 0.0 for s, seen in zip(scores, text, strict=True)]
            values = [other[2 * inner + at : 2 * inner + at + size] for other in qkv]
            mixed += [sum(w * v[d] for w, v in zip(weights, values, strict=True)) / sum(weights) for d in range(size)]
        update = affine(module.output, mixed)
        found.append(layer_norm([u + v for u, v in zip(update, row, strict=True)], module.norm))
    return found


def slow_feed_forward(module: FeedForward, row: list[float], kind: str) -> list[float]:
    update = affine(module.down, [gelu(v, kind) for v in affine(module.up, row)])
    return layer_norm([u + v for u, v in zip(update, row, strict=True)], module.norm)


def slow_convolution(module: nn.Module, x: list[list[float]], text: list[bool]) -> list[list[float]]:
    for unit in module.units:  # type: ignore[union-attr]
        kernel = unit.depthwise.kernel_size[0]
        weight, bias = unit.depthwise.weight[:, 0].tolist(), unit.depthwise.bias.tolist()
        found = []
        for i, row in enumerate(x):
            mixed = list(bias)
            for tap in range(kernel):
                j = i + tap - kernel // 2
                if 0 <= j < len(x) and text[j]:
                    mixed = [m + w[tap] * v for m, w, v in zip(mixed, weight, x[j], strict=True)]
            update = [gelu(v, "none") for v in affine(unit.pointwise, mixed)]
            found.append(layer_norm([u + v for u, v in zip(update, row, strict=True)], unit.norm))
        x = found
    return x


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("token", ["M2", "M3", "F1", "S3", "S5x1"])
def test_post_layer_norm_formula(token: str, masked: bool) -> None:
    module, x = made(token), inputs(batch=1, tokens=5)
    text = [True, True, True, not masked, not masked]
    mask = torch.tensor([text]) if masked else None
    rows = x[0].tolist()
    if token.startswith("M"):
        expected = slow_attention(module, rows, text)
    elif token.startswith("F"):
        expected = [slow_feed_forward(module, row, "none") for row in rows]
    else:
        expected = slow_convolution(module, rows, text)
    torch.testing.assert_close(module(x, mask)[0], torch.tensor(expected), atol=2e-5, rtol=1e-4)


def test_gelu_and_epsilon_are_the_teachers() -> None:
    module, x = made("F1", numerics=Numerics("tanh", 0.5)), inputs(batch=1, tokens=1)
    expected = slow_feed_forward(module, x[0, 0].tolist(), "tanh")
    torch.testing.assert_close(module(x)[0, 0], torch.tensor(expected), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("token", TOKENS)
def test_padding_does_not_reach_the_text(token: str) -> None:
    module, x = made(token), inputs()
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 6:] = False
    mask[1, 3] = False  # a hole, not only an end
    other = torch.where(mask[..., None], x, 1e3 * inputs(seed=1))
    plain, changed = module(x, mask), module(other, mask)
    assert plain.shape == x.shape
    torch.testing.assert_close(plain[mask], changed[mask], atol=1e-6, rtol=0)


@pytest.mark.parametrize("token", TOKENS)
def test_padding_at_the_end_equals_a_shorter_sequence(token: str) -> None:
    module, x = made(token), inputs(batch=1)
    mask = torch.ones(1, 9, dtype=torch.bool)
    mask[0, 6:] = False
    torch.testing.assert_close(module(x, mask)[:, :6], module(x[:, :6]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("token", ["S3", "S5", "S7x1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_convolution_is_the_same_with_and_without_a_gradient(token: str, dtype: torch.dtype) -> None:
    module, x = made(token), inputs()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        expected = module(x)
        with torch.no_grad():
            found = module(x)
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-5 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("width", [16, 24])
@pytest.mark.parametrize("token", TOKENS)
def test_number_of_parameters(token: str, width: int) -> None:
    operation = parse_operation(token, 8)
    module = build_operation(width, operation, NUMERICS)
    assert sum(p.numel() for p in module.parameters()) == operation.num_params(width)


@pytest.mark.parametrize(
    ("token", "width", "params"), [("M2", 128, 66_304), ("F4", 128, 131_968), ("S3", 192, 76_416), ("S7", 512, 535_552)]
)
def test_parameters_of_the_papers_table(token: str, width: int, params: int) -> None:
    module = build_operation(width, parse_operation(token, 64), NUMERICS)
    assert sum(p.numel() for p in module.parameters()) == params


def test_one_unit_is_the_first_of_two() -> None:
    two, x = made("S5"), inputs()
    one = build_operation(24, parse_operation("S5x1", 8), NUMERICS)
    one.load_state_dict({n: t for n, t in two.state_dict().items() if n.startswith("units.0")})
    assert torch.equal(two.units[1](one(x)), two(x))  # type: ignore[index, operator]


def test_initialisation_is_the_papers_and_seeded() -> None:
    modules = [build_operation(64, parse_operation(token, 16), NUMERICS) for token in ("F4", "F4", "S5")]
    for module, seed in zip(modules, (1, 1, 2), strict=True):
        init_weights(module, generator=torch.Generator().manual_seed(seed))
    first, second, conv = (module.requires_grad_(False) for module in modules)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert float(first.up.weight.std()) == pytest.approx(0.02, rel=0.05)  # type: ignore[union-attr, operator, arg-type]
    assert not first.up.bias.any()  # type: ignore[union-attr, operator]
    spread = float(conv.units[0].depthwise.weight.std())  # type: ignore[index, union-attr, operator, arg-type]
    assert spread == pytest.approx((4 / (5 * 64)) ** 0.5, rel=0.15)


SPACE = PathSpace(
    "s", 1, 3, (16, 24), 8,
    (OperationChoice("attention"), OperationChoice("feed_forward", ratio=2), OperationChoice("separable_conv")),
    (24,),
)  # fmt: skip


def test_supernet_path_equals_the_plain_module() -> None:
    supernet, x = BlockSupernet(SPACE, 24, NUMERICS, seed=0), inputs()
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 5:] = False
    for path in SPACE.paths[:: len(SPACE.paths) // 7]:
        enter, leave = supernet.maps(path)
        plain = [nn.Linear(24, path.width), *(build_operation(path.width, o, NUMERICS) for o in path.operations)]
        plain.append(nn.Linear(path.width, 24))
        for module, shared in zip(plain, [enter, *supernet.path_operations(path), leave], strict=True):
            module.load_state_dict(shared.state_dict())
        supernet.zero_grad()
        output = supernet(x, path, mask)
        output.square().mean().backward()
        y = plain[0](x)
        for module in plain[1:-1]:
            y = module(y, mask)
        y = plain[-1](y)
        y.square().mean().backward()
        assert torch.equal(output, y)
        own = [p for module in plain for p in module.parameters()]
        for a, b in zip(supernet.path_parameters(path), own, strict=True):
            assert a.grad is not None
            assert b.grad is not None
            assert torch.equal(a.grad, b.grad)
        touched = {id(p) for p in supernet.path_parameters(path)}
        assert all(p.grad is None for p in supernet.parameters() if id(p) not in touched)


@pytest.mark.parametrize("start", ["inherit", "scratch"])
def test_supernet_holds_every_operation_once(start: Start) -> None:
    """One map in a width; one map out a width from scratch, one behind each of 3 layers of operations inherited."""
    supernet = BlockSupernet(SPACE, 24, NUMERICS, 0, start)
    expected = 0
    for width, operations in SPACE.operations.items():
        maps_out = 1 if start == "scratch" else 3 * len(operations)
        expected += 3 * sum(operation.num_params(width) for operation in operations)
        expected += (24 * width + width) + maps_out * (24 * width + 24)
    assert sum(p.numel() for p in supernet.parameters()) == expected
    again = BlockSupernet(SPACE, 24, NUMERICS, 0, start)
    assert all(torch.equal(a, b) for a, b in zip(supernet.parameters(), again.parameters(), strict=True))


def test_operation_tokens_are_unique_places() -> None:
    supernet = BlockSupernet(SPACE, 24, NUMERICS, seed=0)
    places = {
        id(supernet.operation(w, i, o.token)) for w in SPACE.widths for i in range(3) for o in SPACE.operations[w]
    }
    assert len(places) == 2 * 3 * 3
