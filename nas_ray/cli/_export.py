"""The command that hands a student on: export."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from nas_ray.cli._options import JSON_OPTION, terminal


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["hf", "onnx"]), required=True, help="hf: transformers; onnx: ONNX."
)
@click.option("--to", "target", type=click.Path(path_type=Path), metavar="DIR", help="MODEL-FORMAT if not given.")
@click.option("--quantize", type=click.Choice(["int8"]), help="With --format onnx: a file of 8 bits too.")
@click.option("--sentence/--no-sentence", default=True, show_default=True, help="As a sentence encoder too.")
@click.option("--register", metavar="NAME", help="Register it under NAME in MLflow's model registry.")
@click.option("--tracking-uri", metavar="URI", help="With --register: MLflow's; the run folder's if not given.")
@JSON_OPTION
def export(
    model: Path,
    form: Any,
    target: Path | None,
    quantize: Any,
    sentence: bool,
    register: str | None,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Write the student or fine-tuned model in MODEL as files that others load; checked, and timed on this device."""
    from nas_ray import api

    if tracking_uri and not register:
        raise click.UsageError("--tracking-uri goes with --register.")
    console = None if as_json else terminal()
    found = api.export(
        model,
        format=form,
        to=target,
        quantize=quantize,
        sentence=sentence,
        register=register,
        tracking_uri=tracking_uri,
        console=console,
    )
    if console is None:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1, default=str))
        return
    from nas_ray.report import export_table

    console.show(export_table(found.timings, found.estimate_ms))
    console.say(f"measured {found.key.text}")
    console.say(f"params {found.params:,}, encoder_params {found.encoder_params:,}, {found.size_bytes / 1e6:.1f} MB")
    for warning in found.warnings:
        console.say(f"warning: {warning}")
    console.say(f"written to {found.folder}")
