"""Search over architectures: objectives, Pareto fronts, searchers, the exact solver, early stopping.

Needs numpy; ``tpe`` loads Optuna when it is made. Nothing here loads torch or Ray.
"""

from nas_ray.search._asha import Asha, Scheduler, log_edges
from nas_ray.search._dimensions import Categorical, Dimension, Encoding, Float, Integer, When
from nas_ray.search._fptas import Trained, every, how_many, intrinsic_order, statement, w_coefficient
from nas_ray.search._front import Choice, Front, FrontPoint, Seam, exact_front
from nas_ray.search._journal import Journal, MemoryJournal, read_journal
from nas_ray.search._listed import Listed
from nas_ray.search._members import enumerate_members, normalise
from nas_ray.search._objectives import Constraint, Objective, minimised, violation
from nas_ray.search._orders import rooted_common
from nas_ray.search._pareto import crowding, hypervolume, non_dominated, ranks
from nas_ray.search._price import Price, Priced, make_price
from nas_ray.search._problem import TableProblem, table_problem
from nas_ray.search._proposer import Proposal, Proposer
from nas_ray.search._reach import require_feasible, smallest_reachable, spread
from nas_ray.search._searcher import Searcher, Space
from nas_ray.search._searchers import make_searcher
from nas_ray.search._session import (
    Candidate,
    Listener,
    NullListener,
    Outcome,
    SearchSession,
    Task,
    read_outcomes,
    task_id,
)
from nas_ray.search._sets import SetSearcher, SetSpace
from nas_ray.search._simulate import Arrival, simulate
from nas_ray.search._spaces import DimensionSpace, Joint, JointSpace, Point
from nas_ray.search._top import exact_top

__all__ = [
    "Arrival",
    "Asha",
    "Candidate",
    "Categorical",
    "Choice",
    "Constraint",
    "Dimension",
    "DimensionSpace",
    "Encoding",
    "Float",
    "Front",
    "FrontPoint",
    "Integer",
    "Joint",
    "JointSpace",
    "Journal",
    "Listed",
    "Listener",
    "MemoryJournal",
    "NullListener",
    "Objective",
    "Outcome",
    "Point",
    "Price",
    "Priced",
    "Proposal",
    "Proposer",
    "Scheduler",
    "Seam",
    "SearchSession",
    "Searcher",
    "SetSearcher",
    "SetSpace",
    "Space",
    "TableProblem",
    "Task",
    "Trained",
    "When",
    "crowding",
    "enumerate_members",
    "every",
    "exact_front",
    "exact_top",
    "how_many",
    "hypervolume",
    "intrinsic_order",
    "log_edges",
    "make_price",
    "make_searcher",
    "minimised",
    "non_dominated",
    "normalise",
    "ranks",
    "read_journal",
    "read_outcomes",
    "require_feasible",
    "rooted_common",
    "simulate",
    "smallest_reachable",
    "spread",
    "statement",
    "table_problem",
    "task_id",
    "violation",
    "w_coefficient",
]
