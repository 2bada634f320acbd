"""The command group, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

import click

from nas_ray import __version__
from nas_ray.cli import _export, _results, _runs, _students, _supplies, _tasks, _teachers
from nas_ray.errors import NasRayError, StageError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nas-ray")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Compress BERT-like encoders by architecture search on Ray Tune."""


for _command in (
    _runs.search,
    _runs.resume,
    _runs.report,
    _runs.rank,
    _runs.sync,
    _results.front,
    _results.status,
    _results.ui,
    _teachers.adapt_teacher,
    _students.retrain,
    _tasks.finetune,
    _tasks.compare,
    _tasks.predict,
    _tasks.agora,
    _export.export,
    _supplies.profile,
    _supplies.spaces,
    _supplies.trials,
    _supplies.tasks,
    _supplies.check,
    _supplies.assets,
):
    cli.add_command(_command)


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

    if interrupted.is_set():  # asked again while workers are being ended: what counts is on disk, Ray ends the rest
        os.write(2, f"interrupted{_how_to_go_on()}\n".encode())
        os._exit(INTERRUPTED)
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
