"""Weights & Biases: a run of a project, with config, metrics and tables."""

import html

from bench.errors import MissingError
from reports.trackers import Tracked, Tracker, TrackerInfo

OFFLINE = "offline:"


class WandB(Tracker):
    """Sends runs to a server of Weights & Biases, or keeps them in a folder to be sent by `wandb sync`."""

    info = TrackerInfo(
        "wandb",
        f"the server's address, or {OFFLINE}FOLDER to send nothing yet; without it, what you are logged in to",
        extras=("wandb",),
    )

    def send(self, run: Tracked) -> str:  # noqa: D102
        import wandb

        at, offline = (self.at or ""), (self.at or "").startswith(OFFLINE)
        # Nothing of this machine, its packages or this folder is sent.
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        if at and not offline:
            settings.base_url = at
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
            length = max((len(series) for series in run.training.values()), default=0)
            for step in range(1, length + 1):
                there = {key: series for key, series in run.training.items() if step <= len(series)}
                sent.log({key: series[step - 1] for key, series in there.items()}, step=step)
            sent.summary.update(dict(run.figures))
            sent.log({name: wandb.Html(f"<pre>{html.escape(table)}</pre>") for name, table in run.tables.items()})
            if run.samples is not None:
                columns = list(dict.fromkeys(key for one in run.samples for key in one))
                rows = [[one.get(key) for key in columns] for one in run.samples]
                sent.log({"samples": wandb.Table(columns=columns, data=rows)})
            sent.finish()
        except (wandb.Error, OSError) as error:
            raise MissingError(
                f"Weights & Biases does not take {run.id}: {' '.join(str(error).split()):.300}"
            ) from error
        return sent.dir if offline else str(sent.url)
