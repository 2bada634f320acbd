"""What hands students on: export."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nas_ray.errors import RunError, SpecError, unknown
from nas_ray.stages import Console, Run, Silent, retraining_part, tracked_as
from nas_ray.stages import tracking_uri as uri_of

if TYPE_CHECKING:
    from nas_ray.export import Exported, Format, Quantize, Wanted


def export(
    folder: str | Path,
    *,
    format: Format,
    to: str | Path | None = None,
    quantize: Quantize | None = None,
    sentence: bool = True,
    register: str | None = None,
    tracking_uri: str | None = None,
    console: Console | None = None,
) -> Exported:
    """Write the model in ``folder`` for transformers (``hf``) or onnxruntime (``onnx``), check and time it.

    Args:
        folder: that of a student, of a fine-tuned model, or of a whole fine-tuning, whose best model on *select* it is.
        to: the new folder, ``folder`` with the format behind it if not given; only an earlier export is replaced.
        quantize: ``int8`` for a second ONNX file. sentence: a vector for each text too.
        register: a name in MLflow's model registry at ``tracking_uri``, by default that of the student's run.

    Raises:
        ModelError: the student is missing or damaged. SpecError: an argument is wrong, or a package is missing.
        ExportError: the export cannot be written or differs from its student. TrackingError: MLflow cannot be used;
            once the export is written, it stands.
    """
    from nas_ray.export import Wanted, content_digest, default_target, export_student
    from nas_ray.stages.tasks._models import is_finetuned
    from nas_ray.student import read_card

    for what, found, known in (("format", format, ("hf", "onnx")), ("quantize", quantize, (None, "int8"))):
        if found not in known:
            raise SpecError(unknown(what, str(found), [name for name in known if name]))
    shown, place = console or Silent(), Path(folder)
    if is_finetuned(place):
        if register is not None:
            raise SpecError("--register takes students; a fine-tuned model is exported without it.")
        return _export_finetuned(place, to, Wanted(format, quantize), shown)
    target = Path(to) if to is not None else default_target(place, format)
    if register is None:
        return export_student(place, target, Wanted(format, quantize, sentence), shown.say)

    from nas_ray.tracking import find_source_run, register_export

    card = read_card(place)
    uri = tracking_uri or _uri_of_run(place, card.run)
    runs = (tracked_as(card.run, retraining_part(card.spec_hash)), card.run)
    source = find_source_run(uri, runs, card.logged_as)  # before minutes are spent
    exported = export_student(place, target, Wanted(format, quantize, sentence), shown.say)
    tags = {
        "nas_ray.run": card.run,
        "nas_ray.candidate_id": card.candidate_id,
        "nas_ray.arch_id": card.arch_id,
        "nas_ray.format": "-".join(filter(None, (format, quantize))),
    }
    version = register_export(source, register, exported.folder, content_digest(exported.folder), tags)
    shown.say(f"MLflow: version {version} of the registered model {register}")
    return exported


def _export_finetuned(folder: Path, to: str | Path | None, wanted: Wanted, console: Console) -> Exported:
    from nas_ray.export import TaskSource, default_target, export_task_model
    from nas_ray.stages.tasks._models import find_task_model

    model = find_task_model(str(folder))
    target = Path(to) if to is not None else default_target(model.folder, wanted.format)
    return export_task_model(TaskSource(model.folder, model.head, model.record), target, wanted, console.say)


def _uri_of_run(folder: Path, name: str) -> str:
    """Where the run that ``folder`` lies in is tracked, or MLflow's own variable.

    Raises:
        SpecError: neither says.
    """
    for parent in folder.absolute().resolve().parents:
        if parent.name == name:
            try:
                run = Run.open(parent)
            except RunError:
                continue
            return uri_of(run.spec.tracking, run.storage)
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    raise SpecError(f"--register: {folder} lies in no run folder {name}; name MLflow's with --tracking-uri.")
