"""One process that trains and measures students, one after the other, by the project's own retraining."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality._bundle import Bundle
from benchmarks.quality._setting import Setting
from benchmarks.quality._students import Starts
from nas_ray.distill import (
    Assignment,
    DistillPlan,
    Encoder,
    Losses,
    OutputsConfig,
    RetrainJudge,
    RetrainJudgeConfig,
    TeacherOutputs,
    TrainingText,
    evaluation_arrays,
)
from nas_ray.measure import Comparison, Reference, embeddings, fit_probe, rank_agreement
from nas_ray.space import Rung, candidate_id
from nas_ray.student import save_model
from nas_ray.teacher import TeacherSource, load_model

Array = NDArray[Any]
Parts = dict[str, list[float]]  # by measure: its value in each bucket

PROBES = ("movie", "question")
_GROUP = 32  # sequences that the teacher reads at a time
_EVALUATED = {"calibrate": 256, "select": 256, "test": _GROUP}  # snippets that the judge itself looks at


@dataclass(frozen=True, order=True)
class Job:
    """One training: what it starts from, a model of the bundle, a seed. The teacher itself is only measured."""

    table: str
    model: str
    seed: int


TEACHER = Job("", "teacher", 0)


class Studio:
    """Holds the teacher, its outputs and what students start from."""

    def __init__(self, bundle: Bundle, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        self.bundle, self.setting = bundle, setting
        self.starts = Starts(bundle)
        self.teacher = Encoder(load_model(TeacherSource(bundle.teacher))).to(setting.device)
        config = OutputsConfig(bundle.teacher, "hidden_state", setting.cache_bytes, setting.device)
        self.outputs = TeacherOutputs(config)
        self.text = self._text("train")

    def open(self) -> Studio:
        """Itself, with all that the first training would wait for."""
        began = time.perf_counter()
        _ = self.starts.stitcher, self._reference, self._arrays
        groups = -(-len(self.text.ids) // _GROUP)
        if self.setting.tokens >= self.bundle.arrays["train.ids"].size:  # every text will be read
            self.outputs.groups({k: self.text.part(k * _GROUP, (k + 1) * _GROUP) for k in range(groups)})
        print(f"a process is ready after {time.perf_counter() - began:.0f} s", flush=True)
        return self

    def row(self, job: Job) -> dict[str, Any]:
        """The finished row of a job."""
        began = time.perf_counter()
        if job == TEACHER:
            found, trained = self.teacher, dict[str, Any]()
        else:
            found, trained = self._trained(job)
        after = time.perf_counter()
        parts = self._measured(found)
        return {
            "table": job.table, "model": job.model, "seed": job.seed, "arch": self._arch(job), **trained,
            "train_s": round(after - began, 1), "measure_s": round(time.perf_counter() - after, 1),
            "device": torch.cuda.get_device_name() if self.setting.device == "cuda" else "cpu",
            "torch": torch.__version__, "parts": parts,
        }  # fmt: skip

    @cached_property
    def steps(self) -> int:
        """To about the setting's tokens; more texts of the same length are no more steps."""
        mean = float(self.bundle.arrays["train.lengths"].mean())
        return max(1, round(self.setting.tokens / mean / self.setting.sequences))

    def _arch(self, job: Job) -> str:
        return job.model if job == TEACHER else self.bundle.arms.models[job.model].arch

    def _trained(self, job: Job) -> tuple[Encoder, dict[str, Any]]:
        """The student at its end, and what is known of its training."""
        with tempfile.TemporaryDirectory() as folder:
            model = self.starts.make(job.table, self.bundle.arms.models[job.model], job.seed)
            save_model(model, Path(folder) / candidate_id({"architecture": self._arch(job)}))
            judge = self._judge(job, Path(folder))
            student = judge.begin(Assignment(job.model, self._arch(job)))
            select = student.loss(0)
            trained = Encoder(student.model).eval()
        known = {
            "select_loss": round(select, 5),
            "steps": self.steps,
            "tokens": self.text.num_tokens(job.seed, self.steps, self.setting.sequences),
            "params": sum(weight.numel() for weight in model.parameters()),
            "learning_rate": self.setting.rates[job.table],
        }
        return trained, known

    def _judge(self, job: Job, folder: Path) -> RetrainJudge:
        setting = self.setting
        plan = DistillPlan(
            steps=(self.steps,),
            learning_rate=setting.rates[job.table],
            sequences=setting.sequences,
            weight_decay=0.01,
            warmup=0.06,
            clip=1.0,
            precision="auto",
            seed=job.seed,
            origin=job.table,
            folder=folder / "checkpoints",
            device=setting.device,
        )
        config = RetrainJudgeConfig(
            name=str(job),
            ladder=(Rung("distilled", self.steps),),
            plan=plan,
            losses=Losses(hidden=1.0, embedding=1.0),
            temperature=1.0,
            accumulation=1,
            starts=folder,
            ridges=tuple(self.bundle.arms.about["ridges"]),
            test_documents=np.zeros((0, 0)),
            outputs=self.outputs,
            cache_bytes=setting.cache_bytes,
            group=_GROUP,
        )
        return config.build([self._arrays], self.text)

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        texts = {split: self._text(split, count) for split, count in _EVALUATED.items()}
        return evaluation_arrays(self.outputs, texts, _GROUP)

    def _text(self, split: str, count: int | None = None) -> TrainingText:
        """The first ``count`` texts, or all, those of like length together: the teacher reads them in this order."""
        sentences = self.bundle.sentences(split)
        order = np.arange(count) if count else np.argsort(sentences.lengths, kind="stable")
        ids, mask = sentences.take(order).rows()
        return TrainingText(ids.astype(np.int32), mask)

    # -- measures, all on test texts ---------------------------------------------------------------------------------

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self.teacher, self.bundle.sentences("test"), self.setting.device)

    def _measured(self, student: Encoder) -> Parts:
        arrays = self.bundle.arrays
        found = self._reference.compare(student)
        bucket = arrays["test.bucket"]
        parts = {
            "loss": in_buckets(found.errors, bucket, found.tokens),
            "cosine": in_buckets(found.cosines, bucket),
            "rank": self._rank(found),
        }
        for name in PROBES:
            sets = {part: self._features(student, f"{name}.{part}") for part in ("train", "test")}
            labels = {part: arrays[f"{name}.{part}.labels"] for part in sets}
            probe = fit_probe(sets["train"], labels["train"], int(labels["train"].max()) + 1)
            hits = probe.predict(sets["test"]) == labels["test"]
            parts[name] = in_buckets(hits, arrays[f"{name}.test.bucket"])
        return {name: [float(f"{value:.4g}") for value in values] for name, values in parts.items()}

    def _features(self, student: Encoder, name: str) -> Array:
        return embeddings(student, self.bundle.sentences(name), self.setting.device)

    def _rank(self, found: Comparison) -> Array:
        """Pseudo-values of the rank correlation, each bucket of texts left out once: their mean is the correlation,
        their spread its uncertainty (the jackknife)."""
        chosen = self.bundle.arrays["rank.chosen"]
        bucket = self.bundle.arrays["test.bucket"][chosen]
        mine, theirs = found.embeddings[chosen], self._reference.embeddings[chosen]
        whole, count = rank_agreement(mine, theirs), int(self.bundle.arrays["test.bucket"].max()) + 1
        left = [rank_agreement(mine[bucket != k], theirs[bucket != k]) for k in range(count)]
        return count * whole - (count - 1) * np.array(left)


def in_buckets(values: Array, bucket: Array, weights: Array | None = None) -> Array:
    """Weighted mean of ``values`` in each bucket."""
    weights = np.ones(len(values)) if weights is None else weights
    return np.bincount(bucket, values * weights) / np.bincount(bucket, weights)
