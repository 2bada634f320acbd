"""Search spaces and architectures; plain Python and numpy."""

from nas_ray.space._architecture import (
    AnyArchitecture,
    Architecture,
    GivenModel,
    Path,
    UniformArchitecture,
    candidate_id,
    parse_any,
    parse_architecture,
    parse_path,
    parse_uniform,
)
from nas_ray.space._ladder import Rung, RungKind, describe_ladder
from nas_ray.space._operations import Operation, parse_operation
from nas_ray.space._parts import (
    Boundary,
    Start,
    TeacherShape,
    all_parts,
    embedding_boundary,
    map_part,
    part_params,
    parts,
    path_boundary,
    references,
    teacher_path,
)
from nas_ray.space._paths import EmbeddingRule, OperationChoice, PathSpace
from nas_ray.space._uniform import UniformSpace

__all__ = [
    "AnyArchitecture",
    "Architecture",
    "Boundary",
    "EmbeddingRule",
    "GivenModel",
    "Operation",
    "OperationChoice",
    "Path",
    "PathSpace",
    "Rung",
    "RungKind",
    "Start",
    "TeacherShape",
    "UniformArchitecture",
    "UniformSpace",
    "all_parts",
    "candidate_id",
    "describe_ladder",
    "embedding_boundary",
    "map_part",
    "parse_any",
    "parse_architecture",
    "parse_operation",
    "parse_path",
    "parse_uniform",
    "part_params",
    "parts",
    "path_boundary",
    "references",
    "teacher_path",
]
