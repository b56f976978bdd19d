"""Weights & Biases: a run of a project, with config, metrics and tables."""

import html
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import MissingError, UsageError
from reports.trackers import Tracked, Tracker, TrackerInfo

if TYPE_CHECKING:
    import wandb

OFFLINE = "offline:"


class WandB(Tracker):
    """Sends runs to a server of Weights & Biases, or keeps them in a folder to be sent by `wandb sync`."""

    info = TrackerInfo(
        "wandb",
        f"the server's address, or {OFFLINE}FOLDER to send nothing yet; without it, what you are logged in to",
        extras=("wandb",),
    )

    def send(self, run: Tracked) -> str:  # noqa: D102
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it would tell its makers of errors
        import wandb

        at, offline = (self.at or ""), (self.at or "").startswith(OFFLINE)
        settings = _quiet()
        if at and not offline:
            try:
                settings.base_url = at
            except ValueError:
                raise UsageError(
                    f"--at {at:.60} is no address of Weights & Biases",
                    mend="write it as http://HOST; that of wandb.ai is https://api.wandb.ai",
                ) from None
        try:
            sent = wandb.init(
                project=self.project,
                id=run.id,
                name=run.id,
                config=dict(run.settings),
                dir=at.removeprefix(OFFLINE) if offline else None,
                mode="offline" if offline else "online",
                settings=settings,
            )
            try:
                _fill(sent, run)
            except BaseException:
                sent.finish(exit_code=1)
                raise
            sent.finish()
        except (wandb.Error, OSError) as error:
            raise MissingError(
                f"Weights & Biases does not take {run.id}: {' '.join(str(error).split()):.300}"
            ) from error
        return sent.dir if offline else str(sent.url)


def _quiet() -> "wandb.Settings":
    """Settings with which the client tells as little of this machine, its packages and this folder as it can."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        host="",
        disable_code=True,
        disable_git=True,
        label_disable=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


def _fill(sent: "wandb.Run", run: Tracked) -> None:
    """Log all of a run."""
    import wandb

    length = max((len(series) for series in run.training.values()), default=0)
    for step in range(1, length + 1):
        there = {key: series for key, series in run.training.items() if step <= len(series)}
        sent.log({key: series[step - 1] for key, series in there.items()}, step=step)
    sent.summary.update(dict(run.figures))
    sent.log({name: wandb.Html(f"<pre>{html.escape(table)}</pre>") for name, table in run.tables.items()})
    for name, path in run.files.items():
        kept = Path(sent.dir) / "record" / name  # a folder that is sent later has all of it in itself
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, kept)
        sent.save(str(kept), base_path=sent.dir, policy="now")
    if run.samples is not None:
        columns = list(dict.fromkeys(key for one in run.samples for key in one))
        rows = [[one.get(key) for key in columns] for one in run.samples]
        sent.log({"samples": wandb.Table(columns=columns, data=rows)})
