"""Tables, figures and a page for people; plain data in, no torch, no ray, no mlflow."""

from nas_ray.report._agora import agora_markdown, agora_table
from nas_ray.report._catalogue import task_table, tasks_table
from nas_ray.report._compared import compared_markdown, compared_table, write_compared_figure
from nas_ray.report._console import comparison_table, front_table, rows_table, solved_table, spaces_table, stage_line
from nas_ray.report._data import (
    BlockTraining,
    CandidateRow,
    Extraction,
    RankingCheck,
    RankingRow,
    RunReport,
    ShrinkStep,
    TableCheck,
    Tuple,
    UniformComparison,
)
from nas_ray.report._export import export_table
from nas_ray.report._extraction import extraction_table
from nas_ray.report._figure import write_figure
from nas_ray.report._html import write_html
from nas_ray.report._students import students_table
from nas_ray.report._tasks import finetuned_lines, finetuned_table
from nas_ray.report._teachers import adapted_table
from nas_ray.report._text import duration

__all__ = [
    "BlockTraining",
    "CandidateRow",
    "Extraction",
    "RankingCheck",
    "RankingRow",
    "RunReport",
    "ShrinkStep",
    "TableCheck",
    "Tuple",
    "UniformComparison",
    "adapted_table",
    "agora_markdown",
    "agora_table",
    "compared_markdown",
    "compared_table",
    "comparison_table",
    "duration",
    "export_table",
    "extraction_table",
    "finetuned_lines",
    "finetuned_table",
    "front_table",
    "rows_table",
    "solved_table",
    "spaces_table",
    "stage_line",
    "students_table",
    "task_table",
    "tasks_table",
    "write_compared_figure",
    "write_figure",
    "write_html",
]
