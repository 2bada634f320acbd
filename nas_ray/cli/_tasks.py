"""Commands that train models on tasks: finetune, compare, predict, agora."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nas_ray.cli._options import ADDRESS_OPTION, JSON_OPTION, terminal

_STORAGE_OPTION = click.option(
    "--storage", default="runs", show_default=True, metavar="DIR", help="Folder of results; shared on a cluster."
)
_SETTINGS_OPTION = click.option(
    "--settings", type=click.Path(path_type=Path), metavar="FILE", help="A YAML file with settings, ranges included."
)
_SET_OPTION = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the training, such as learning_rate=2e-4."
)
_SEARCH_OPTION = click.option(
    "--search", is_flag=True, help="Search learning rate, batch, warm-up and weight decay first."
)
_TASK_OPTION = click.option("--task", required=True, metavar="NAME", help="One of `nas-ray tasks`, or a YAML file.")
_DATA_OPTION = click.option("--data", type=click.Path(path_type=Path), metavar="PATH", help="Local files of the task.")
_SEEDS_OPTION = click.option("--seeds", type=click.IntRange(1), metavar="N", help="Trainings, each with its own seed.")


@click.command()
@click.argument("model")
@_TASK_OPTION
@_DATA_OPTION
@click.option("--teacher", type=click.Path(path_type=Path), metavar="DIR", help="Learn from a fine-tuned model too.")
@click.option("--start", type=click.Path(path_type=Path), metavar="DIR", help="Begin with another task's result.")
@_SEARCH_OPTION
@_SEEDS_OPTION
@_STORAGE_OPTION
@_SETTINGS_OPTION
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
    settings: Path | None,
    overrides: tuple[str, ...],
    address: str | None,
    as_json: bool,
) -> None:
    """Train MODEL (a student's folder, an export, an asset or a hub's name) on a task, with several seeds.

    Interrupted, the same command goes on where it was; what is finished is answered at once.
    """
    from nas_ray import api

    console = None if as_json else terminal()
    found = api.finetune(
        model,
        task,
        data=data,
        teacher=teacher,
        start=start,
        settings=settings,
        overrides=_overrides(search, seeds, overrides),
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


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--tasks", required=True, metavar="NAMES", help="Names of `nas-ray tasks` or YAML files, with commas.")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Local files of all that need some.")
@click.option("--teacher", metavar="MODEL", help="Fine-tuned on each task first; the others learn from it too.")
@_SEARCH_OPTION
@_SEEDS_OPTION
@_STORAGE_OPTION
@_SETTINGS_OPTION
@_SET_OPTION
@ADDRESS_OPTION
@JSON_OPTION
def compare(
    models: tuple[str, ...],
    tasks: str,
    data: Path | None,
    teacher: str | None,
    search: bool,
    seeds: int | None,
    storage: str,
    settings: Path | None,
    overrides: tuple[str, ...],
    address: str | None,
    as_json: bool,
) -> None:
    """Train every MODEL on every task in one way, and print scores, sizes and speed side by side.

    Interrupted, the same command goes on where it was; fine-tunings that are finished are not done again.
    """
    from nas_ray import api

    console = None if as_json else terminal()
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    found = api.compare(
        models,
        names,
        data=data,
        teacher=teacher,
        settings=settings,
        overrides=_overrides(search, seeds, overrides),
        storage=storage,
        address=address,
        console=console,
    )
    if console is None:
        click.echo(json.dumps(found, indent=1))
        return
    from nas_ray.report import compared_table

    console.show(compared_table(found))
    console.say(f"files    {found['folder']} (comparison.json, comparison.md, comparison.png)")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@_TASK_OPTION
@_DATA_OPTION
@click.option(
    "--to",
    "out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where predictions go: a folder, or a zip file that collects them.",
)
@JSON_OPTION
def predict(model: Path, task: str, data: Path | None, out: Path | None, as_json: bool) -> None:
    """Ask the fine-tuned MODEL (its folder) of a task with the same classes, such as a benchmark's diagnostics."""
    from nas_ray import api

    console = None if as_json else terminal()
    found = api.predict(model, task, data=data, out=out, console=console)
    if console is None:
        click.echo(json.dumps(found, indent=1))
        return
    for name, value in found["scores"].items():
        console.say(f"{name:8} {100 * value:.1f}")
    for file in found["files"]:
        console.say(f"{found['part']:8} {file}")


@click.command()
@click.argument("model")
@_TASK_OPTION
@_DATA_OPTION
@click.option(
    "--teacher", required=True, type=click.Path(path_type=Path), metavar="DIR", help="A fine-tuned model that labels."
)
@_STORAGE_OPTION
@_SETTINGS_OPTION
@_SET_OPTION
@ADDRESS_OPTION
@JSON_OPTION
def agora(
    model: str,
    task: str,
    data: Path | None,
    teacher: Path,
    storage: str,
    settings: Path | None,
    overrides: tuple[str, ...],
    address: str | None,
    as_json: bool,
) -> None:
    """Train MODEL by Bort's loop: many hyperparameter sets, fewer each round, on ever more examples made of mistakes.

    Interrupted, the same command goes on where it was.
    """
    from nas_ray import api

    console = None if as_json else terminal()
    found = api.agora(
        model,
        task,
        teacher=teacher,
        data=data,
        settings=settings,
        overrides=overrides,
        storage=storage,
        address=address,
        console=console,
    )
    if console is None:
        click.echo(json.dumps(found, indent=1))
        return
    from nas_ray.report import agora_table

    console.show(agora_table(found))
    console.say(f"model    {found['folder']}/models/{found['best']['model']}")


def _overrides(search: bool, seeds: int | None, overrides: tuple[str, ...]) -> list[str]:
    return [*(["search={}"] if search else []), *([f"seeds={seeds}"] if seeds else []), *overrides]
