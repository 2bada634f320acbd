"""A training step of attention on this device: by its parts, as students compute it in bf16, against the fused kernel.

    python benchmarks/attention.py [--threads 1] [--repeats 15]

Forward and backward pass, bf16 autocast, a quarter of the last positions padded; rounds over both in turn, medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_ray.modeling import Attention, Numerics, operations_nas_ray

SHAPES = (
    (16, 128, 384, 12),
    (64, 25, 384, 12),
    (16, 128, 192, 6),
    (8, 128, 768, 12),
)  # sequences, tokens, width, heads


def fused(query: Tensor, key: Tensor, value: Tensor, there: Tensor | None) -> Tensor:
    """What transformers' ``sdpa`` does."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=there)


def step(attention: Attention, x: Tensor, mask: Tensor) -> Callable[[], None]:
    """Forward and backward."""

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            found = attention(x, mask)
        found.float().square().mean().backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    found = parser.parse_args()
    torch.set_num_threads(found.threads)
    print("| sequences x tokens | width | heads | parts, ms | fused, ms | ratio |\n|---|---|---|---|---|---|")
    for sequences, tokens, width, heads in SHAPES:
        attention = Attention(width, heads, width // heads, Numerics())
        x = torch.randn(sequences, tokens, width)
        mask = (torch.arange(tokens) < tokens * 3 // 4).expand(sequences, -1).clone()
        mask[0] = True
        run, seconds = step(attention, x, mask), np.zeros((found.repeats + 2, 2))
        for row in seconds:
            for place, own in enumerate((operations_nas_ray._attend, fused)):
                with patch.object(operations_nas_ray, "_attend", own):
                    began = time.perf_counter()
                    run()
                    row[place] = time.perf_counter() - began
        parts, whole = np.median(seconds[2:], axis=0) * 1e3
        ratio = np.median(seconds[2:, 1] / seconds[2:, 0])
        print(f"| {sequences} x {tokens} | {width} | {heads} | {parts:.1f} | {whole:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
