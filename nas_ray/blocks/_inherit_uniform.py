"""Plain students from the teacher: one basis for the whole residual stream, heads and neurons by importance.

A student of fewer layers takes the attention of the first and the feed-forward layer of the last teacher layer that
each of its own stands for. Everything that writes to the stream, and every LayerNorm, is fitted layer by layer on the
student's own states towards the teacher's, seen through the basis; at the teacher's sizes all is copied.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_ray.blocks._inherit import Inheritance, Layer, Sublayer, fit_linear, fit_norm, project, variance
from nas_ray.blocks._ridge import prior_of
from nas_ray.blocks._uniform import UniformStudent


class UniformInheritance:
    """The teacher over calibration tokens, ready to initialise students of any size.

    ``words`` ``(vocab, hidden)`` and ``added`` ``(positions, hidden)`` are what its embedding sums up, ``ids`` and
    ``mask`` ``(sequences, tokens)`` the calibration tokens that ``inheritance`` has seen all layers on.
    """

    def __init__(self, inheritance: Inheritance, words: Tensor, added: Tensor, ids: Tensor) -> None:
        self.teacher, self.words, self.added, self.ids = inheritance, words, added, ids

    @torch.no_grad()
    def initialise(self, student: UniformStudent) -> None:
        """Fill all weights of ``student``; what is larger than the teacher's keeps its own."""
        encoder = cast(Any, student.encoder)
        basis = self.teacher.basis(encoder.config.hidden_size, "pca")
        if basis.shape[1] > basis.shape[0]:
            return
        stream = self._embedding(encoder.embeddings, basis)
        depth, layers = len(encoder.encoder.layer), len(self.teacher.layers)
        for position, module in enumerate(encoder.encoder.layer):
            first = position * layers // depth
            last = max(first, (position + 1) * layers // depth - 1)
            own = _layer(module)
            stream = self._attention(own, encoder.config.num_attention_heads, stream, first, basis)
            stream = self._feed_forward(own, stream, last, basis)

    def _embedding(self, embeddings: Any, basis: Tensor) -> Tensor:
        centre = self.words.mean(0)
        embeddings.word_embeddings.weight.copy_((self.words - centre) @ basis)
        count = min(len(self.added), embeddings.position_embeddings.num_embeddings)
        embeddings.position_embeddings.weight[:count] = (self.added[:count] + centre) @ basis
        embeddings.token_type_embeddings.weight.zero_()
        tokens = self.ids.shape[1]
        summed = embeddings.word_embeddings(self.ids) + embeddings.position_embeddings.weight[:tokens]
        text = self.teacher.text
        fit_norm(embeddings.LayerNorm, text(summed), text(self.teacher.states[0]) @ basis)
        return cast(Tensor, embeddings.LayerNorm(summed))

    def _attention(self, own: Layer, heads: int, stream: Tensor, index: int, basis: Tensor) -> Tensor:
        teacher, seen, size = self.teacher.layers[index], self.teacher.attention[index], self.teacher.head_size
        inner = own.query.out_features
        chosen = self.teacher.best_heads(seen, teacher, min(-(-inner // size), teacher.query.out_features // size))
        rows = torch.cat([torch.arange(h * size, (h + 1) * size) for h in chosen.tolist()])[:inner]
        mean = self.teacher.text(seen.before).mean(0)
        for part, source in ((own.query, teacher.query), (own.key, teacher.key), (own.value, teacher.value)):
            weight, bias = project(source, rows, basis, mean)
            part.weight[: len(rows)] = weight
            part.bias[: len(rows)] = bias
        scale = (size * heads / inner) ** 0.5  # a larger head sees the mean of the logits of those that it joins
        own.query.weight.mul_(scale)
        own.query.bias.mul_(scale)
        features = self._mixed(own, heads, stream)
        prior = basis.new_zeros(basis.shape[1], inner)
        prior[:, : len(rows)] = basis.T @ teacher.attention_output.weight[:, rows]
        stacked = prior_of(prior, basis.T @ teacher.attention_output.bias)
        return self._write(own.attention_output, own.attention_norm, features, stream, seen, basis, stacked)

    def _feed_forward(self, own: Layer, stream: Tensor, index: int, basis: Tensor) -> Tensor:
        teacher, seen = self.teacher.layers[index], self.teacher.feed_forward[index]
        inner = min(own.up.out_features, teacher.up.out_features)
        importance = variance(self.teacher.text(seen.features)) * teacher.down.weight.square().sum(0)
        rows = importance.topk(inner).indices.sort().values
        weight, bias = project(teacher.up, rows, basis, self.teacher.text(seen.before).mean(0))
        own.up.weight[:inner] = weight
        own.up.bias[:inner] = bias
        features = F.gelu(own.up(stream), approximate=self.teacher.numerics.gelu)
        prior = basis.new_zeros(basis.shape[1], own.up.out_features)
        prior[:, :inner] = basis.T @ teacher.down.weight[:, rows]
        bias = basis.T @ teacher.down.bias
        return self._write(own.down, own.output_norm, features, stream, seen, basis, prior_of(prior, bias))

    def _mixed(self, own: Layer, heads: int, stream: Tensor) -> Tensor:
        batch, tokens, _ = stream.shape
        query, key, value = (
            part(stream).view(batch, tokens, heads, -1).transpose(1, 2) for part in (own.query, own.key, own.value)
        )
        mask = self.teacher.mask
        bias = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return mixed.transpose(1, 2).reshape(batch, tokens, -1)

    def _write(
        self,
        output: nn.Linear,
        norm: nn.LayerNorm,
        features: Tensor,
        stream: Tensor,
        seen: Sublayer,
        basis: Tensor,
        prior: Tensor,
    ) -> Tensor:
        """The projection that takes the stream to the teacher's sum before its LayerNorm, then the LayerNorm."""
        text = self.teacher.text
        wanted = (seen.before + seen.update) @ basis
        fit_linear(output, text(features), text(wanted - stream), prior)
        summed = output(features) + stream
        fit_norm(norm, text(summed), text(seen.after) @ basis)
        return cast(Tensor, norm(summed))


def _layer(module: Any) -> Layer:
    """The weights of one of transformers' BERT layers."""
    own, out = module.attention.self, module.attention.output
    return Layer(
        own.query, own.key, own.value, out.dense, out.LayerNorm,
        module.intermediate.dense, module.output.dense, module.output.LayerNorm,
    )  # fmt: skip
