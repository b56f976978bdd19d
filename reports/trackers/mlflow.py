"""MLflow: a run of an experiment, with parameters, metrics and files."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import MissingError
from reports.trackers import Tracked, Tracker, TrackerInfo

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG = "contrastive_bench.run"
_MOST = 1000  # metrics that a server takes at once
_UNKNOWN = re.compile(r"[^\w\-. :/]")
"""What a name of MLflow's may not hold: `@`, before a further scorer, becomes `:`, all else `_`."""


def named(key: str) -> str:
    """A key as MLflow takes it."""
    return _UNKNOWN.sub("_", key.replace("@", ":"))


class MLflow(Tracker):
    """Sends runs to an MLflow server, or to its database in a file."""

    info = TrackerInfo(
        "mlflow",
        "the tracking URI (http://…, sqlite:///mlflow.db); without it, what MLFLOW_TRACKING_URI or MLflow itself says",
        extras=("mlflow",),
    )

    def send(self, run: Tracked) -> str:  # noqa: D102
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would tell its makers of each call
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            client = mlflow.MlflowClient(self.at)
            found = client.get_experiment_by_name(self.project)
            experiment = found.experiment_id if found else client.create_experiment(self.project, self._files())
            before = client.search_runs([experiment], f"tags.`{_TAG}` = '{run.id}'")
            sent = client.create_run(experiment, run_name=run.id, tags={_TAG: run.id}).info.run_id
            try:
                _fill(client, sent, run)
            except BaseException:
                with suppress(MlflowException, OSError):
                    client.delete_run(sent)
                raise
            for old in before:
                client.delete_run(old.info.run_id)
        except (MlflowException, OSError) as error:
            raise MissingError(f"MLflow does not take {run.id}: {' '.join(str(error).split()):.300}") from error
        return f"run {sent} of the experiment '{self.project}'"

    def _files(self) -> str | None:
        """Where a new experiment keeps its files: beside a database in a file; else where MLflow says."""
        path = (self.at or "").removeprefix("sqlite:///")
        return None if path == (self.at or "") else (Path(path).absolute().parent / "mlartifacts").as_uri()


def _fill(client: "MlflowClient", sent: str, run: Tracked) -> None:
    """Log all of a run, and end it."""
    from mlflow.entities import Metric, Param

    client.log_batch(sent, params=[Param(named(key), str(value)) for key, value in run.settings.items()])
    metrics = [Metric(named(key), value, 0, 0) for key, value in run.figures.items()]
    for key, series in run.training.items():
        metrics += [Metric(named(key), value, 0, step) for step, value in enumerate(series, 1)]
    for start in range(0, len(metrics), _MOST):
        client.log_batch(sent, metrics=metrics[start : start + _MOST])
    for name, table in run.tables.items():
        client.log_text(sent, table, f"{name}.md")
    for path in run.files.values():
        client.log_artifact(sent, str(path), "record")
    if run.samples is not None:
        client.log_dict(sent, {"samples": [dict(one) for one in run.samples]}, "samples.json")
    client.set_terminated(sent)
