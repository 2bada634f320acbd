"""What a search tries: the trial spec, frozen and checked once at the door.

Every field has a default that suits a small search on one machine; a spec file names what differs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nas_ray._secrets import has_secret, redacted


class Frozen(BaseModel):
    """Base of all spec sections: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class TextSource(Frozen):
    """One source of text and its share of the tokens."""

    source: str
    """An asset of the catalogue, a text file, a folder of text files, or `dataset:NAME` for a `datasets` data set."""
    share: float = Field(1.0, gt=0)
    """Share of the tokens, relative to the other sources."""
    field: str = "text"
    """Text column of a `datasets` data set."""


class Splits(Frozen):
    """Shares of the documents; a document lies in one split only."""

    train: float = Field(0.80, gt=0)
    """Trains the supernets."""
    calibrate: float = Field(0.08, gt=0)
    """Fits readouts and bases."""
    select: float = Field(0.06, gt=0)
    """Fills tables, decides rungs, chooses."""
    test: float = Field(0.06, gt=0)
    """Reported losses; never used to choose."""

    @model_validator(mode="after")
    def _sum(self) -> Splits:
        total = self.train + self.calibrate + self.select + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the four shares add up to {total:g}; accepted: 1")
        return self


class Text(Frozen):
    """The text that the search distils on."""

    sources: tuple[TextSource, ...] = Field(default=(TextSource(source="gutenberg"),), min_length=1)
    """Where the text comes from."""
    sequence_length: int = Field(128, ge=8)
    """Tokens of a packed sequence."""
    inputs: Literal["auto", "masked", "plain"] = "auto"
    """`masked` as for masked-LM training, `plain` as the text stands; `auto`: masked if the teacher has an MLM head."""
    mask_probability: float = Field(0.15, gt=0, lt=1)
    """Share of tokens that `masked` inputs hide (80 % mask token, 10 % random, 10 % kept)."""
    splits: Splits = Splits()
    """How documents are divided."""
    batch_sequences: int = Field(8, ge=1)
    """Sequences of a batch."""
    calibrate_batches: int = Field(10, ge=1)
    """Batches that readouts are fitted on; one in eight chooses the ridge."""
    select_batches: int = Field(4, ge=1)
    """Batches that tables and rungs are measured on."""
    test_batches: int = Field(16, ge=1)
    """Batches that reported losses are measured on."""

    @model_validator(mode="after")
    def _calibrate(self) -> Text:
        if self.calibrate_batches < 2:
            raise ValueError("calibrate_batches is 1; accepted: at least 2, one of them chooses the ridge")
        return self


class Latency(Frozen):
    """The key of the latency table."""

    device: Literal["cpu", "cuda"] = "cpu"
    """What the student is to run on."""
    runtime: Literal["eager", "graph"] = "eager"
    """How the student is run; `graph`: replayed as a CUDA graph, as a server of fixed shapes would."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Number format."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; all cores if not given."""
    sequence_length: int = Field(128, ge=1)
    """Tokens a sequence."""
    batch_size: int = Field(1, ge=1)
    """Sequences a batch."""
    repeats: int = Field(20, ge=3)
    """Timings of each part, spread over rounds; the table holds their median."""
    check_models: int = Field(24, ge=4)
    """Whole models that the table is checked against: half fit the correction, half measure the error."""
    table: str | None = None
    """A latency table measured elsewhere by `nas-ray profile`, instead of measuring here."""

    @model_validator(mode="after")
    def _graph(self) -> Latency:
        if self.runtime == "graph" and self.device != "cuda":
            raise ValueError("runtime is graph, device is cpu; accepted: graph with device cuda, or runtime eager")
        return self


class Shrink(Frozen):
    """Progressive shrinking (NAS-BERT, section 3.2.2); `nas_ray/distill/_shrink.py` says what the paper leaves open."""

    mode: Literal["paths", "operations", "none"] = "paths"
    """`paths` removes the worst paths of each bin, `operations` the worst operations; `none` only evaluates."""
    bins: int = Field(10, ge=1)
    """Bins of paths by parameters and latency."""
    latency: Literal["at_most", "band", "ignore"] = "at_most"
    """Paths dropped at once: those slower than their bin; also those faster (`band`, as in the paper); or none."""
    epochs: int = Field(8, ge=1)
    """Epochs into which the training steps are divided."""
    warm_epochs: int = Field(3, ge=0)
    """Epochs before anything is removed."""
    sample: int = Field(2000, ge=1)
    """Paths evaluated a bin and epoch; with `operations` a block and epoch, 1000 if not given."""
    batches: int | None = Field(None, ge=1)
    """Selection batches that they are evaluated on; those of `tabulate` if not given."""
    keep: int = Field(10, ge=1)
    """Paths of a bin at which its shrinking stops; `operations` stop before fewer than bins x keep are left."""
    remove: float = Field(0.5, gt=0)
    """What goes, the worst first: below 1 a share, else a number, of the evaluated paths of a bin; with `operations`
    of the block's paths, 0.3 if not given."""
    stop: bool = False
    """Whether a block's training ends when nothing more will be removed."""

    @model_validator(mode="before")
    @classmethod
    def _by_mode(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("mode") == "operations":
            return {"sample": 1000, "remove": 0.3, **data}
        return data

    @model_validator(mode="after")
    def _check(self) -> Shrink:
        if self.remove > 1 and self.remove % 1:
            raise ValueError(f"remove is {self.remove:g}; accepted: a share below 1, or a whole number of paths")
        if self.warm_epochs >= self.epochs:
            raise ValueError(f"warm_epochs is {self.warm_epochs}, epochs is {self.epochs}; accepted: fewer than epochs")
        return self


class Supernet(Frozen):
    """Block-wise distillation by single-path sampling."""

    start: Literal["inherit", "scratch"] = "inherit"
    """`inherit`: weights from the teacher, maps at every seam; `scratch`: the papers' form and training."""
    basis: Literal["auto", "pca", "coordinates"] = "auto"
    """Hidden directions a narrow path inherits; `auto` chooses a block and width by held-out loss."""
    steps: int = Field(100, ge=0)
    """Training steps of each block, a batch each."""
    updates: int = Field(4, ge=1)
    """Optimizer updates of a step, each on an equal part of the batch and its own paths."""
    paths_per_update: int = Field(4, ge=1)
    """Paths of an update."""
    sampling: Literal["paths", "widths", "depths", "prefixes", "sandwich"] = "prefixes"
    """`paths`: uniform over paths, as in the paper; `widths`: widths in turn, then uniform; `depths`: widths in turn,
    uniform over depths, then over paths; `prefixes`: whole paths, every prefix learning with them; `sandwich`: like
    `depths`, and the largest and the smallest path of each width in turn."""
    learning_rate: float = Field(5e-4, gt=0)
    """Peak of the linear schedule at the teacher's hidden size."""
    rate_exponent: float = Field(1.5, ge=0)
    """The rate at a width is higher by (hidden / width) to this power; 0: the same at all widths."""
    warmup: float = Field(0.08, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where blocks train and score; with `cuda` each worker reserves a GPU, or an equal share if there are fewer."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 autocast where the processor multiplies bf16, else fp32."""
    replicas: int = Field(1, ge=1)
    """Workers that train a block together, each on batches of its own; more than 1 need `cluster.executor: ray`."""
    steps_per_epoch: int | None = Field(None, ge=1)
    """Distinct batches before they repeat; all batches of the text if not given."""
    checkpoint_every: int = Field(25, ge=1)
    """Steps between checkpoints."""
    cache_bytes: int = Field(1_000_000_000, ge=0)
    """Disk each block may use for the teacher's hidden states of the first epoch."""
    sample_paths: int = Field(12, ge=1)
    """Stratified sample of paths whose refitted loss is followed during training."""
    evaluations: int = Field(2, ge=1)
    """How often that sample is evaluated after the start."""
    shrink: Shrink | None = None
    """Progressive shrinking, or none."""


class Tabulate(Frozen):
    """The quality table."""

    ridges: tuple[Annotated[float, Field(ge=0)], ...] = Field((1e-4, 1e-3, 1e-2, 1e-1, 1.0), min_length=1)
    """Ridge strengths to choose from, relative to the mean square of the features."""
    tile_tokens: int = Field(1024, ge=64)
    """Tokens that one operation processes at once."""
    select_batches: int | None = Field(None, ge=1)
    """Selection batches that paths are scored on; all if not given."""
    max_paths: int | None = Field(None, ge=1)
    """Score at most this many paths a block, a stratified sample; all if not given."""
    size_exponent: float = Field(0.2, ge=0)
    """Paths are ranked by their loss times size to minus this power: training alone favours the large; 0: by loss."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the operations while paths are scored; readouts are refitted in fp32 and fp64 either way."""
    memory_bytes: int = Field(8_000_000_000, ge=0)
    """Memory of each block worker for prefixes that are extended at once on a GPU; a CPU extends one at a time."""


class Searcher(Frozen):
    """How candidates are proposed."""

    name: str = "surrogate"
    """random, evolution, nsga2, tpe, or surrogate: a model of all results so far."""
    options: dict[str, int] = Field(default_factory=dict)
    """Options of that searcher."""


class Scheduler(Frozen):
    """Asynchronous successive halving."""

    name: Literal["mo_asha", "asha", "none"] = "mo_asha"
    """`mo_asha` judges by all objectives, `asha` by the loss alone, `none` stops nobody."""
    eta: float = Field(2.0, gt=1)
    """One in `eta` goes on at each rung."""
    bins: int | None = Field(None, ge=1)
    """Cost bins; a candidate is judged against others of like size. If not given, 1 for `mo_asha` and 4 for `asha`."""
    min_per_bin: int = Field(3, ge=1)
    """Candidates a bin must have seen at a rung before one of them is stopped."""
    cost: Literal["encoder_params", "params", "latency_ms", "flops"] = "encoder_params"
    """What the bins are cut by."""

    @property
    def num_bins(self) -> int:
        """The bins given, or what suits the scheduler: rank by several objectives needs none."""
        return self.bins or (1 if self.name == "mo_asha" else 4)


class Search(Frozen):
    """The search by Tune trials."""

    num_candidates: int = Field(48, ge=1)
    """Candidates, solver proposals included; references are extra."""
    proposals: float = Field(0.5, ge=0, le=0.5)
    """Share of the candidates that are proposals from the tables' exact front."""
    objectives: tuple[Literal["loss", "encoder_params", "params", "latency_ms", "flops"], ...] = (
        "loss",
        "encoder_params",
    )
    """What is minimised; `loss` must be among them."""
    constraints: dict[Literal["encoder_params", "params", "latency_ms", "flops"], Annotated[float, Field(gt=0)]] = (
        Field(default_factory=dict)
    )
    """Largest accepted values; candidates above are never started."""
    searcher: Searcher = Searcher()
    """How candidates are proposed after the front's."""
    scheduler: Scheduler = Scheduler()
    """Who is stopped early."""
    rungs: tuple[int, ...] = (1, 2, 4)
    """Cumulative selection batches at which candidates are judged."""
    max_concurrent: int | None = Field(None, ge=1)
    """Tune trials at a time; one a core if not given."""

    @model_validator(mode="after")
    def _check(self) -> Search:
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives are {list(self.objectives)}; accepted: each once")
        if "loss" not in self.objectives or len(self.objectives) < 2:
            raise ValueError(f"objectives are {list(self.objectives)}; accepted: loss and at least one cost")
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)) or self.rungs[0] < 1:
            raise ValueError(f"rungs are {list(self.rungs)}; accepted: rising numbers of batches, from 1")
        return self


class Ranking(Frozen):
    """Stand-alone trainings of a few paths of each block: they say how truly the tables rank."""

    paths: int = Field(0, ge=0)
    """Paths of each block, a stratified sample; 0 leaves it out."""
    tokens: int = Field(300_000, ge=1)
    """Tokens that each path is trained on."""
    sequences: int = Field(4, ge=1)
    """Sequences of a training step; small batches serve a small budget best."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of the linear schedule at the teacher's hidden size; in proportion higher for narrower paths."""


class Tracking(Frozen):
    """MLflow."""

    enabled: bool = True
    """Whether candidates are logged."""
    uri: str | None = None
    """Tracking URI; `sqlite:///<storage>/mlflow.db` if not given."""
    experiment: str | None = None
    """Experiment; the trial's name if not given."""

    @model_validator(mode="after")
    def _check(self) -> Tracking:
        if self.uri and has_secret(self.uri):
            raise ValueError(
                f"uri is {redacted(self.uri)} and holds a secret, which would be written to disk; accepted: a URI "
                "without one, and MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN in "
                "the environment; or the whole URI as MLFLOW_TRACKING_URI there"
            )
        return self


class Cluster(Frozen):
    """How the run uses Ray."""

    executor: Literal["ray", "local"] = "ray"
    """`local` runs everything in one process, without Ray, for debugging."""
    max_in_flight: int = Field(4, ge=1)
    """Batches of hidden states under way between block actors."""


class TrialSpec(Frozen):
    """A whole trial spec."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Name of the run."""
    description: str = ""
    """One sentence for `nas-ray trials`."""
    space: str
    """A search space: a shipped name or a file."""
    teacher: str = "minilm"
    """An asset of the catalogue, a local folder, or a model-hub name."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    text: Text = Text()
    latency: Latency = Latency()
    supernet: Supernet = Supernet()
    tabulate: Tabulate = Tabulate()
    search: Search = Search()
    ranking: Ranking = Ranking()
    tracking: Tracking = Tracking()
    cluster: Cluster = Cluster()

    @model_validator(mode="after")
    def _check(self) -> TrialSpec:
        updates, sequences = self.supernet.updates, self.text.batch_sequences
        if sequences % updates:
            raise ValueError(
                f"supernet.updates is {updates}, text.batch_sequences is {sequences}; accepted: updates that divide it"
            )
        shrink, most = self.supernet.shrink, self.text.select_batches
        if shrink is not None and (shrink.batches or 0) > most:
            raise ValueError(
                f"supernet.shrink.batches is {shrink.batches}, text.select_batches is {most}; accepted: at most that"
            )
        if self.supernet.replicas > 1 and self.cluster.executor == "local":
            raise ValueError(
                f"supernet.replicas is {self.supernet.replicas} with cluster.executor local; accepted: replicas on "
                "executor ray, or 1"
            )
        if self.search.rungs[-1] > self.text.select_batches:
            raise ValueError(
                f"search.rungs end at {self.search.rungs[-1]} batches, text.select_batches is "
                f"{self.text.select_batches}; accepted: rungs up to text.select_batches"
            )
        return self
