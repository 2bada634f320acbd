"""The public functions behind the commands; a notebook can call them too.

    from nas_ray import api
    run = api.search("quickstart", overrides=["search.num_candidates=24"])
    api.front(run.folder, bounds={"encoder_params": 5e6})

(``nas_ray.search`` is the folder of searchers, so the functions stand here.)
"""

from nas_ray._describe import check, spaces, task_facts, tasks
from nas_ray.api._export import export
from nas_ray.api._results import front, load_report, status, tracking_place, tracking_view
from nas_ray.api._runs import evaluate, rank, report, resume, search, sync
from nas_ray.api._students import retrain
from nas_ray.api._supplies import profile
from nas_ray.api._tasks import agora, compare, finetune, predict
from nas_ray.api._teachers import adapt_teacher
from nas_ray.stages import plan, resume_command

__all__ = [
    "adapt_teacher",
    "agora",
    "check",
    "compare",
    "evaluate",
    "export",
    "finetune",
    "front",
    "load_report",
    "plan",
    "predict",
    "profile",
    "rank",
    "report",
    "resume",
    "resume_command",
    "retrain",
    "search",
    "spaces",
    "status",
    "sync",
    "task_facts",
    "tasks",
    "tracking_place",
    "tracking_view",
]
