"""TensorBoard: a folder of event files for each run."""

from pathlib import Path

from bench.errors import UsageError
from reports.trackers import Tracked, Tracker, TrackerInfo

_FOLDER = "tensorboard"


class TensorBoard(Tracker):
    """Writes the event files that `tensorboard --logdir` shows."""

    info = TrackerInfo(
        "tensorboard",
        f"the folder of event files, by default '{_FOLDER}'",
        samples=False,
        extras=("tensorboard",),
    )

    def send(self, run: Tracked) -> str:  # noqa: D102
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = Path(self.at or _FOLDER) / self.project / run.id
        try:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
            with SummaryWriter(str(folder)) as writer:
                for key, value in run.figures.items():
                    writer.add_scalar(key, value, 0)
                for key, series in run.training.items():
                    for step, one in enumerate(series, 1):
                        writer.add_scalar(key, one, step)
                for name, table in {**run.tables, "settings": _settings(run)}.items():
                    writer.add_text(name, table)
        except OSError as error:
            raise UsageError(f"{folder} cannot be written ({error.strerror or type(error).__name__})") from None
        return str(folder)


def _settings(run: Tracked) -> str:
    from reports.table.forms.markdown import escape

    lines = [f"| {escape(key)} | {escape(str(value))} |" for key, value in run.settings.items()]
    return "\n".join(["| setting | value |", "|:--|:--|", *lines]) + "\n"
