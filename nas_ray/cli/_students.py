"""Commands that make students: retrain."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nas_ray.cli._options import ADDRESS_OPTION, JSON_OPTION, Number, terminal


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--max-params", multiple=True, type=Number(), help="The best candidate with at most so many weights.")
@click.option("--max-encoder-params", multiple=True, type=Number(), help="Likewise, without embeddings.")
@click.option("--max-latency-ms", multiple=True, type=Number(), help="Likewise, by milliseconds, measured.")
@click.option("--candidate", "candidates", multiple=True, metavar="ID", help="This one: its candidate_id or arch_id.")
@click.option("--search", is_flag=True, help="Search learning rate, batch, warm-up and loss balance of each student.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the training, such as steps=2000.")
@ADDRESS_OPTION
@JSON_OPTION
def retrain(
    run: Path,
    candidates: tuple[str, ...],
    search: bool,
    overrides: tuple[str, ...],
    address: str | None,
    as_json: bool,
    **limits: tuple[float, ...],
) -> None:
    """Distil candidates of the finished run RUN into models; name as many as are wanted.

    Interrupted, the same command goes on where it was.
    """
    from nas_ray import api

    bounds = [{name.removeprefix("max_"): value} for name, values in limits.items() for value in values]
    if not bounds and not candidates:
        raise click.UsageError("name what to retrain: --max-encoder-params 5M, --candidate ID, or several of them.")
    console = None if as_json else terminal()
    settings = (*(["search={}"] if search else []), *overrides)
    found = api.retrain(run, bounds=bounds, candidates=candidates, overrides=settings, address=address, console=console)
    if console is None:
        click.echo(json.dumps(found, indent=1))
        return
    from nas_ray.report import students_table

    console.show(students_table(found))
    for student in found:
        console.say(f"model    {student['folder']}")
