"""Small spaces and a teacher's sizes, shared by the tests of this folder."""

from __future__ import annotations

from fractions import Fraction

from nas_ray.space import OperationChoice, PathSpace, TeacherShape

MINILM = TeacherShape(
    hidden=384,
    num_layers=6,
    heads=12,
    intermediate=1536,
    vocab_size=30_522,
    num_positions=512,
    embedding_params=(30_522 + 512 + 2 + 2) * 384,
    encoder_params=10_646_784,
)

ATTENTION, HALF = OperationChoice("attention"), OperationChoice("attention", head_fraction=Fraction(1, 2))
FEED_FORWARD, THIN = OperationChoice("feed_forward"), OperationChoice("feed_forward", ratio=1)
CONV, CONV_1 = OperationChoice("separable_conv", kernel=5), OperationChoice("separable_conv", kernel=7, units=1)

FREE = PathSpace("free", 2, 3, (32, 64), 16, (ATTENTION, FEED_FORWARD, THIN, CONV, CONV_1), (32, 64))
STRICT = PathSpace("strict", 3, 4, (32, 64), 16, (ATTENTION, HALF, FEED_FORWARD, THIN), (64,), alternate=True)
SHRUNK = FREE.restrict([frozenset(p.path_id for p in FREE.paths[block::7]) for block in range(2)])
SHRUNK_STRICT = STRICT.restrict([frozenset(p.path_id for p in STRICT.paths[block::9]) for block in range(3)])
ONE_PATH = FREE.restrict([frozenset({"32:M2"}), frozenset({"64:F4-F1", "64:M4"})])
SPACES = {"free": FREE, "strict": STRICT, "shrunk": SHRUNK, "shrunk_strict": SHRUNK_STRICT, "one_path": ONE_PATH}
