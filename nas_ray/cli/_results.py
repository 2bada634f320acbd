"""Commands that look at runs: front, status, ui."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click

from nas_ray._secrets import redacted
from nas_ray.cli._options import ADDRESS_OPTION, JSON_OPTION, Number, terminal


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--max-params", type=Number(), help="All weights of the backbone.")
@click.option("--max-encoder-params", type=Number(), help="Weights without embeddings.")
@click.option("--max-latency-ms", type=Number(), help="Milliseconds a batch of the latency table's key.")
@click.option("--max-flops", type=Number(), help="Floating-point operations of one sequence.")
@click.option("--top", type=click.IntRange(min=1), help="Only so many, the lowest losses.")
@click.option("--tables", is_flag=True, help="Of all architectures by the tables, judged or not: exact.")
@click.option("--evaluate", is_flag=True, help="With --tables: stitch and judge them, as trials of the run's search.")
@ADDRESS_OPTION
@JSON_OPTION
def front(
    run: Path, top: int | None, tables: bool, evaluate: bool, address: str | None, as_json: bool, **limits: float | None
) -> None:
    """The Pareto front of the finished run RUN, within bounds."""
    from nas_ray import api

    bounds = {name.removeprefix("max_"): value for name, value in limits.items() if value is not None}
    if evaluate and not tables:
        raise click.UsageError("--evaluate goes with --tables: what the front holds was judged already.")
    if evaluate:
        console = None if as_json else terminal()
        found = api.evaluate(run, bounds=bounds, top=top, address=address, console=console)
    else:
        found = api.front(run, bounds=bounds, top=top, tables=tables)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    from nas_ray.report import rows_table, solved_table

    if tables:
        if evaluate:
            click.echo(_verdict(found["verdict"]))
        terminal().show(solved_table(found["candidates"], found["teacher_encoder_params"], found["guarantee"]))
        return
    terminal().show(rows_table(found["candidates"], found["teacher_encoder_params"], found["guarantee"], found["of"]))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@JSON_OPTION
def status(run: Path, as_json: bool) -> None:
    """How far the run RUN is."""
    from nas_ray import api

    found = api.status(run)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"{found['run']}: {'running' if found['running'] else 'no driver at work'}")
    for stage, seconds in found["stages"].items():
        click.echo(f"  {stage:9} {'-' if seconds is None else f'done in {seconds:.0f} s'}")
    if found["num_steps"]:
        click.echo(f"  training steps kept: {found['steps']} of {found['num_steps']}")
    wanted = "not yet known how many" if found["num_candidates"] is None else f"{found['num_candidates']} candidates"
    click.echo(f"  {found['candidates_done']} candidates and references judged, {wanted} wanted")
    if not found["running"] and None in found["stages"].values():
        click.echo(f"go on with: nas-ray resume {shlex.quote(str(run))}")


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--storage", default="runs", show_default=True, metavar="DIR", help="Folder of runs, if no RUN is given.")
@click.option("--port", default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(run: Path | None, storage: str, port: int) -> None:
    """Open the MLflow UI over the candidates of RUN, or of all runs."""
    from nas_ray.api import tracking_place, tracking_view
    from nas_ray.tracking import ui_address, ui_command, ui_environment

    uri, artifacts = tracking_place(run, Path(storage))
    path = "" if run is None else tracking_view(run)
    command = ui_command(uri, artifacts, port, path)
    click.echo(f"MLflow UI over {redacted(uri)}: open {ui_address(uri, port)}{path} (Ctrl-C ends it)")
    raise SystemExit(subprocess.call(command, env={**os.environ, **ui_environment(uri)}))


def _verdict(found: dict[str, Any]) -> str:
    tau = "" if found["kendall_tau"] is None else f"; Kendall's tau of score and true loss {found['kendall_tau']:.2f}"
    return f"{found['judged']} of {found['asked']} judged to the end, the best: {found['best']}{tau}"
