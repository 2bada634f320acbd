"""What an extraction would do, how long and in how much memory."""

from __future__ import annotations

from nas_ray._machine import num_cores
from nas_ray.search import how_many
from nas_ray.space import TeacherShape, UniformArchitecture, UniformSpace, describe_ladder
from nas_ray.spec import TrialSpec
from nas_ray.stages._estimates import PROCESS_BYTES, StageEstimates
from nas_ray.stages._rates import least_seconds
from nas_ray.stages.uniform._order import closed_form_order
from nas_ray.tables import Surrogates, all_uniform_parts, maximum_point

_BACKWARD = 3.0  # a training step over a forward pass
_STATE_BYTES = 16  # a weight, its gradient and two moments in fp32


def work(spec: TrialSpec, space: UniformSpace) -> list[str]:
    """What is done, as far as the spec says: needs no teacher."""
    distill, extraction = spec.search.distill, spec.extraction
    assert distill is not None, "checked before"
    ladder = tuple(rung for rung in spec.search.ladder if rung.kind == "distilled")
    return [
        f"space       {space.name}: {space.num_architectures} architectures, {how_many(extraction.epsilon)} of those "
        f"below the teacher trained, hyperparameter sets: {spec.sets_each}",
        f"training    {describe_ladder(ladder)} of up to {_most_sequences(spec)} x {spec.text.sequence_length} tokens, "
        f"start {extraction.start}; error {extraction.error}, speed {extraction.latency}",
    ]


def estimate(spec: TrialSpec, space: UniformSpace, shape: TeacherShape) -> StageEstimates:
    """In closed form, at the speed of a layer on this machine."""
    length, text = spec.text.sequence_length, spec.text
    surrogates, top = Surrogates(shape.vocab_size, shape.num_positions, length), maximum_point(shape)
    order = closed_form_order(spec, space, shape)
    chosen = order.chosen
    distill = spec.search.distill
    assert distill is not None, "checked before"
    trained = distill.steps[-1] * _most_sequences(spec)
    judged = len(distill.steps) * (text.calibrate_batches + text.select_batches) * text.batch_sequences
    each = [surrogates.operations(a) * (_BACKWARD * trained + judged) for a in chosen]
    updates = [surrogates.params(a) * 10.0 * distill.steps[-1] for a in chosen]  # AdamW goes over every weight
    rate, cores = _rate(chosen[len(chosen) // 2], length), num_cores()
    teacher = surrogates.operations(top) * (trained + judged)
    trainings = len(chosen) * spec.sets_each
    seconds = {
        "profile": 9.0 + 0.02 * spec.latency.repeats * len(all_uniform_parts(space, top)) / 4,
        "search": 10.0 + (spec.sets_each * (sum(each) + sum(updates)) + teacher) / (rate * cores),
        "test": 5.0,
        "report": 3.0,
    }
    largest = max(surrogates.params(a) for a in chosen)
    outputs = min(spec.extraction.cache_bytes, trained * length * shape.hidden * 4)
    memory = surrogates.params(top) * 4 + outputs + cores * (largest * _STATE_BYTES + PROCESS_BYTES) + PROCESS_BYTES
    about = f"the maximum point of {len(order.architectures)} smaller architectures"
    details = (f"candidates  {trainings} trainings of {len(chosen)} architectures",)
    return StageEstimates(about, details, seconds, float(memory))


def _most_sequences(spec: TrialSpec) -> int:
    assert spec.search.distill is not None, "checked before"
    listed = [found.sequences or 0 for found in spec.extraction.hyperparameter_sets]
    return max(spec.search.distill.most_sequences, *listed, 1)


def _rate(architecture: UniformArchitecture, length: int) -> float:
    """FLOP/s of one thread on one layer of ``architecture``."""
    import torch

    from nas_ray.blocks import build_layer, uniform_config
    from nas_ray.modeling import Numerics

    layer = build_layer(uniform_config(architecture, 8, length, Numerics()))
    hidden, sequences = torch.randn(8, length, architecture.hidden), 8
    one = Surrogates(8, length, length).operations(UniformArchitecture(1, *_sizes(architecture)))
    return one * sequences / least_seconds(lambda: layer(hidden))


def _sizes(a: UniformArchitecture) -> tuple[int, int, int]:
    return a.heads, a.hidden, a.intermediate
