"""Commands about tasks: finetune."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nas_ray.cli._options import ADDRESS_OPTION, JSON_OPTION, terminal

_STORAGE_OPTION = click.option(
    "--storage", default="runs", show_default=True, metavar="DIR", help="Folder of results; shared on a cluster."
)
_SET_OPTION = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the training, such as learning_rate=2e-4."
)
_SEEDS_OPTION = click.option("--seeds", type=click.IntRange(1), metavar="N", help="Trainings, each with its own seed.")


@click.command()
@click.argument("model")
@click.option("--task", required=True, metavar="NAME", help="One of `nas-ray tasks`, or a YAML file.")
@click.option("--data", type=click.Path(path_type=Path), metavar="PATH", help="Local files of the task.")
@click.option("--teacher", type=click.Path(path_type=Path), metavar="DIR", help="Learn from a fine-tuned model too.")
@click.option("--start", type=click.Path(path_type=Path), metavar="DIR", help="Begin with another task's result.")
@click.option("--search", is_flag=True, help="Search learning rate, batch, warm-up and weight decay first.")
@_SEEDS_OPTION
@_STORAGE_OPTION
@_SET_OPTION
@ADDRESS_OPTION
@JSON_OPTION
def finetune(
    model: str,
    task: str,
    data: Path | None,
    teacher: Path | None,
    start: Path | None,
    search: bool,
    seeds: int | None,
    storage: str,
    overrides: tuple[str, ...],
    address: str | None,
    as_json: bool,
) -> None:
    """Train MODEL (a student's folder, an export, an asset or a hub's name) on a task, with several seeds.

    Interrupted, the same command goes on where it was; what is finished is answered at once.
    """
    from nas_ray import api

    console = None if as_json else terminal()
    settings = [*(["search={}"] if search else []), *([f"seeds={seeds}"] if seeds else []), *overrides]
    found = api.finetune(
        model,
        task,
        data=data,
        teacher=teacher,
        start=start,
        overrides=settings,
        storage=storage,
        address=address,
        console=console,
    )
    if console is None:
        click.echo(json.dumps(found, indent=1))
        return
    from nas_ray.report import finetuned_lines, finetuned_table

    console.show(finetuned_table(found))
    for line in finetuned_lines(found):
        console.say(line)
