"""Commands that make teachers: adapt-teacher."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nas_ray.cli._options import JSON_OPTION, terminal


@click.command("adapt-teacher")
@click.argument("teacher")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where it goes; into the cache if not given."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the training, such as steps=2000.")
@JSON_OPTION
def adapt_teacher(teacher: str, out: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Train a masked-LM head for TEACHER (an asset, a folder or a hub's name), which has none.

    Interrupted, the same command goes on where it was; what is finished is answered at once.
    """
    from nas_ray import api

    console = None if as_json else terminal()
    found = api.adapt_teacher(teacher, overrides=overrides, out=out, console=console)
    if console is None:
        click.echo(json.dumps(found, indent=1))
        return
    from nas_ray.report import adapted_table

    console.show(adapted_table(found["figures"]))
    console.say(f"teacher  {found['folder']}")
