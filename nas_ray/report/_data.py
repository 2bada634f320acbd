"""What a report is made from: frozen plain data, filled by the stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from nas_ray.tables import LatencyCheck


@dataclass(frozen=True)
class CandidateRow:
    """One candidate or reference; what was not measured is None."""

    candidate_id: str
    arch_id: str
    kind: Literal["candidate", "reference"]
    label: str
    """`uniform 192` or `teacher`; empty for a candidate."""
    origin: str
    status: str
    """`completed`, `stopped` or `failed`."""
    rung: int | None
    params: int | None
    encoder_params: int | None
    flops: float | None
    latency_ms: float | None
    table_loss: float | None
    select_loss: float | None
    test_loss: float | None
    pareto: bool
    floor: float | None = None
    """Share of the teacher's output that no readout of the last block's width can reach (its rank-h floor)."""
    reason: str = ""
    """Why it failed."""
    fidelity: str = ""
    """The last rung reached, in words; losses of one kind of rung are compared."""
    hyperparameters: str = ""
    """Those of its own, as JSON; empty if none are searched."""
    w: float | None = None
    """The W-coefficient, of plain encoders."""


@dataclass(frozen=True)
class UniformComparison:
    """A uniform encoder against the chosen one of at most its size; losses on the test split."""

    width: int
    uniform_id: str
    chosen_id: str
    uniform_params: int
    """Encoder parameters."""
    chosen_params: int
    uniform_test: float
    chosen_test: float
    difference: float
    """Chosen minus uniform: negative where the chosen one is better."""
    low: float
    """Of the 95 % interval over documents."""
    high: float
    num_documents: int


@dataclass(frozen=True)
class ShrinkStep:
    """One block after one step of progressive shrinking."""

    epoch: int
    remaining: int
    best_loss: float
    mean_loss: float


@dataclass(frozen=True)
class BlockTraining:
    """How the supernet of one block learned, beside what needs no learning."""

    linear_loss: float | None = None
    """Normalised loss of one linear map from the block's input to its output."""
    floors: Mapping[int, float] = field(default_factory=dict)
    """The loss below which no path of a width can come."""
    curve: tuple[tuple[int, float], ...] = ()
    """Steps and refitted losses."""
    shrinking: tuple[ShrinkStep, ...] = ()


@dataclass(frozen=True)
class TableCheck:
    """Kendall's tau between the loss that the tables add up and the loss on the select split."""

    kendall_tau: float
    num_candidates: int
    params_kendall_tau: float
    """The same of encoder parameters alone, more being better: what the table must beat to be worth anything."""

    @property
    def sentence(self) -> str:
        """Both, for people."""
        return (
            f"Kendall's tau {self.kendall_tau:.2f} with the measured loss over {self.num_candidates} "
            f"candidates; parameter count alone {self.params_kendall_tau:.2f}"
        )


@dataclass(frozen=True)
class RankingRow:
    """How one score ranks paths against their stand-alone training: Kendall's tau with its 95 % interval."""

    score: str
    tau: float
    low: float
    high: float
    pairs: int
    close_tau: float
    """Over pairs of like size only."""
    close_low: float
    close_high: float
    close_pairs: int
    blocks: tuple[float, ...]


@dataclass(frozen=True)
class RankingCheck:
    """Table losses against stand-alone training: the taus, and the points (table loss, stand-alone loss) by block."""

    rows: tuple[RankingRow, ...]
    points: tuple[tuple[tuple[float, float], ...], ...]
    tokens: int
    """That each path was trained on."""


@dataclass(frozen=True)
class Tuple:
    """A plain encoder of the intrinsic order."""

    arch_id: str
    params: int
    speed: float
    trained: bool


@dataclass(frozen=True)
class Extraction:
    """An optimal sub-architecture extraction: the order, what it was measured by, and the winner."""

    winner_id: str
    maximum: Tuple
    order: tuple[Tuple, ...]
    """Ascending."""
    speed: str
    """What stands for speed, with its unit."""
    error: str
    """What was measured, in words."""
    statement: str
    """What the papers promise of the answer, and how that is read."""
    choices: tuple[str, ...]
    """What the papers leave open, and what was taken."""
    is_measured: bool = False
    """Whether speed is in milliseconds, not in operations."""


@dataclass(frozen=True)
class RunReport:
    """Everything about one run that is worth showing."""

    name: str
    run_dir: str
    teacher: str
    teacher_encoder_params: int
    vocab_size: int
    objectives: tuple[str, ...]
    guarantee: str
    rows: tuple[CandidateRow, ...]
    comparisons: tuple[UniformComparison, ...] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    blocks: tuple[BlockTraining, ...] = ()
    latency_check: LatencyCheck | None = None
    table_check: TableCheck | None = None
    ranking: RankingCheck | None = None
    extraction: Extraction | None = None
    resume_command: str = ""
    ui_command: str = ""
    front_command: str = ""
    spec_yaml: str = ""

    @property
    def front(self) -> tuple[CandidateRow, ...]:
        """The candidates on the front, small ones first."""
        return by_size(row for row in self.rows if row.pareto and row.kind == "candidate")

    @property
    def is_plain(self) -> bool:
        """Whether its candidates are plain encoders, which have a W and no floor."""
        return any(row.w is not None for row in self.rows)

    @property
    def by_w(self) -> tuple[CandidateRow, ...]:
        """Plain encoders whose training ended, the largest W first; of equals the smaller."""
        trained = (row for row in self.rows if row.w is not None)
        return tuple(sorted(trained, key=lambda row: (-(row.w or 0.0), row.params or 0)))

    @property
    def references(self) -> tuple[CandidateRow, ...]:
        """Uniform encoders and the teacher, small ones first."""
        return by_size(row for row in self.rows if row.kind == "reference")

    @property
    def trained_line(self) -> str:
        """How long the encoders on the front were distilled; empty if they were only stitched."""
        found = {row.fidelity for row in self.front if row.fidelity.startswith("distilled")}
        return f"losses of the front are those of students {', '.join(sorted(found))}" if found else ""

    @property
    def linear_line(self) -> str:
        """What one linear layer for each block reaches; empty where that was not measured."""
        losses = [f"{block.linear_loss:.2f}" for block in self.blocks if block.linear_loss is not None]
        return f"one linear layer for each block: {', '.join(losses)} (block losses, refitted)" if losses else ""

    @property
    def shown(self) -> tuple[CandidateRow, ...]:
        """The front with the references between, small ones first."""
        return by_size((*self.front, *self.references))


def by_size(rows: Iterable[CandidateRow]) -> tuple[CandidateRow, ...]:
    """Ascending encoder parameters; unknown sizes last."""
    return tuple(sorted(rows, key=_size))


def _size(row: CandidateRow) -> tuple[float, float, str]:
    unknown = float("inf")
    size = unknown if row.encoder_params is None else row.encoder_params
    return size, unknown if row.test_loss is None else row.test_loss, row.candidate_id
