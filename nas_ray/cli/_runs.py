"""Commands that drive a run: search, resume, report, rank, sync."""

from __future__ import annotations

from pathlib import Path

import click

from nas_ray.cli._options import ADDRESS_OPTION, SET_OPTION, show_run, terminal


@click.command()
@click.argument("trial")
@SET_OPTION
@ADDRESS_OPTION
@click.option(
    "--storage", default="runs", show_default=True, metavar="DIR", help="Folder of runs; shared on a cluster."
)
@click.option("--warm-start", type=click.Path(path_type=Path), metavar="RUN", help="Judge the front of RUN too.")
@click.option("--enqueue", type=click.Path(path_type=Path), metavar="FILE", help="Judge its arch_ids, one a line, too.")
@click.option("--plan", "only_plan", is_flag=True, help="Print stages, time and memory; start nothing.")
def search(
    trial: str,
    overrides: tuple[str, ...],
    address: str | None,
    storage: str,
    warm_start: Path | None,
    enqueue: Path | None,
    only_plan: bool,
) -> None:
    """Search with the trial spec TRIAL (a shipped name or a file)."""
    from nas_ray import api

    console = terminal()
    if only_plan:
        lines = api.plan(trial, overrides=overrides, storage=storage, warm_start=warm_start, enqueue=enqueue).lines
        console.say("\n".join(lines))
        return
    run = api.search(
        trial,
        overrides=overrides,
        storage=storage,
        warm_start=warm_start,
        enqueue=enqueue,
        address=address,
        console=console,
    )
    show_run(run.folder, console)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@SET_OPTION
@click.option("--from", "start", metavar="STAGE", help="Run STAGE and all after it again; what came before is kept.")
@ADDRESS_OPTION
def resume(run: Path, overrides: tuple[str, ...], start: str | None, address: str | None) -> None:
    """Go on with the interrupted run RUN, or with a changed spec from STAGE."""
    from nas_ray import api

    console = terminal()
    done = api.resume(run, overrides=overrides, start=start, address=address, console=console)
    show_run(done.folder, console)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Write the report of the finished run RUN again, and print it."""
    from nas_ray import api

    console = terminal()
    show_run(api.report(run, console=console).folder, console)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--paths", default=8, show_default=True, type=click.IntRange(3), help="Paths of each block to train.")
@ADDRESS_OPTION
def rank(run: Path, paths: int, address: str | None) -> None:
    """Train a few paths of the finished run RUN by themselves: how truly do its tables rank?"""
    from nas_ray import api

    console = terminal()
    show_run(api.rank(run, paths=paths, address=address, console=console).folder, console)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def sync(run: Path) -> None:
    """Send MLflow whatever of the run RUN it lacks, as after a server was away."""
    from nas_ray import api

    console = terminal()
    console.say(f"MLflow has all of {api.sync(run, console).folder}")
