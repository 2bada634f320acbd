"""The run table of the MLflow UI: columns for comparison, the front as scatter charts.

MLflow 3 keeps a reader's own columns in the browser. Views that are shared by link are tags of the experiment,
``mlflow.sharedViewState.<key>``, plain JSON as MLflow's own share button writes it; a link names the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from nas_ray.errors import TrackingError
from nas_ray.tracking._quiet import client_class
from nas_ray.tracking._store import one_line, plain

_METRICS = ("select_loss", "test_loss", "encoder_params", "latency_ms")  # few: more would not be seen side by side
_PARAMS = ("widths", "depths", "num_attention", "num_feed_forward", "num_separable_conv", "embedding_size")
_TAGS = ("pareto", "nas_ray.kind", "nas_ray.origin", "nas_ray.status")
_SECTION = "nas_ray-front"


def run_view(
    run_id: str,
    costs: Sequence[str] = ("encoder_params", "latency_ms"),
    searched: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> dict[str, Any]:
    """The view of one search: its candidates by loss, or by the first of ``metrics`` of its own, the largest first; the
    hyperparameters ``searched`` beside their architectures, and a chart of the loss over each of ``costs``."""
    columns = [("metrics", (*metrics, *_METRICS)), ("params", (*searched, *_PARAMS)), ("tags", _TAGS)]
    return {
        "searchFilter": f"tags.`nas_ray.run` = '{plain(run_id)}' and tags.`nas_ray.kind` != 'summary'",
        "orderByKey": f"metrics.`{metrics[0] if metrics else 'select_loss'}`",
        "orderByAsc": not metrics,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"{kind}.`{name}`" for kind, names in columns for name in names],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "compareRunSections": [{"uuid": _SECTION, "name": "Front", **_SHOWN, "columns": 2, "cardHeight": 460}],
        "compareRunCharts": [_scatter(cost) for cost in costs],
    }


_SHOWN = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}


def _scatter(cost: str) -> dict[str, Any]:
    return {
        "type": "SCATTER",
        "uuid": f"{_SECTION}-{cost}",
        "metricSectionId": _SECTION,
        "deleted": False,
        "isGenerated": False,
        "xaxis": {"key": cost, "type": "METRIC"},
        "yaxis": {"key": "select_loss", "type": "METRIC"},
        "runsCountToCompare": 500,
    }


def share_view(
    uri: str,
    experiment: str,
    run_id: str,
    costs: Sequence[str],
    searched: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> str:
    """Keep the view of ``run_id`` in MLflow; the path that opens it, to be put behind the UI's address.

    Raises:
        TrackingError: the store cannot be used, or has nothing of this run.
    """
    text = json.dumps(run_view(run_id, costs, searched, metrics), separators=(",", ":"))
    key = f"nas_ray-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    tag = f"mlflow.sharedViewState.{key}"
    try:
        client = client_class()(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None and found.tags.get(tag) != text:
            client.set_experiment_tag(found.experiment_id, tag, text)
    except Exception as error:  # whatever MLflow or its database raise
        raise TrackingError(f"MLflow cannot be used: {one_line(error)}") from error
    if found is None:
        raise TrackingError(f"MLflow has no experiment '{experiment}' yet; `nas-ray sync` sends what it lacks.")
    return view_path(str(found.experiment_id), key)


def view_path(experiment_id: str, key: str, *, chart: bool = False) -> str:
    """The path of a shared view: the table, or the charts beside a list of runs."""
    query = {"viewStateShareKey": key, **({"compareRunsMode": "CHART"} if chart else {})}
    return f"/#/experiments/{experiment_id}/runs?{urlencode(query)}"


def compare_path(experiment_id: str, mlflow_ids: Sequence[str]) -> str:
    """The path of MLflow's comparison of a few runs."""
    runs, experiments = json.dumps(list(mlflow_ids)), json.dumps([experiment_id])
    return f"/#/compare-runs?runs={quote(runs)}&experiments={quote(experiments)}"
