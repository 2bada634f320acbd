"""What progressive shrinking would come to, before it is run."""

from __future__ import annotations

from dataclasses import dataclass

from nas_ray.space import PathSpace
from nas_ray.spec import TrialSpec


@dataclass(frozen=True)
class Shrinking:
    """What progressive shrinking would come to in each block, if latency dropped nothing."""

    evaluated: tuple[int, ...]  # paths, by epoch that evaluates
    remaining: int
    epochs: int  # of training


def shrinking(spec: TrialSpec, space: PathSpace) -> Shrinking | None:
    """The course of ``supernet.shrink``; None without it."""
    from nas_ray.distill import ShrinkPlan, path_bins

    if spec.supernet.shrink is None:
        return None
    plan = ShrinkPlan(**spec.supernet.shrink.model_dump())
    counts = [len(paths) for paths in path_bins(space.paths, {}, plan.bins, "ignore").values()]
    floor, evaluated, epoch = plan.bins * plan.keep, [], plan.warm_epochs
    while epoch < plan.epochs:
        epoch += 1
        if plan.mode == "operations":
            left = sum(counts)
            evaluated.append(min(left, plan.sample))
            counts = [max(min(left, floor), left - plan.quota(left))]
            done = counts[0] <= floor
        else:
            judged = [count for count in counts if plan.mode == "none" or count > plan.keep]
            evaluated.append(sum(min(count, plan.sample) for count in judged) or sum(counts))
            if plan.mode == "none":
                continue
            counts = [count - min(max(0, count - plan.keep), plan.quota(min(count, plan.sample))) for count in counts]
            done = all(count <= plan.keep for count in counts)
        if done and plan.stop:
            break
    return Shrinking(tuple(evaluated), sum(counts), epoch)
