"""How a record ends: with its figures, or with the reason why it has none."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.store.files import write_json
from bench.store.record import Manifest, Metric, Phase, Result

_LONGEST = 1000  # characters of an error


def finish(
    folder: Path, manifest: Manifest, metrics: list[Metric], phases: Sequence[Phase], artifact: Mapping[str, Any]
) -> None:
    """Write the figures of a run to its folder; with them the record is whole."""
    result = Result(
        run_id=manifest.run_id,
        key=manifest.key,
        metrics=metrics,
        phases=list(phases),
        artifact=dict(artifact),
        publishable=not any(metric.n_failed or metric.value is None for metric in metrics),
    )
    write_json(folder / "manifest.json", manifest.model_copy(update={"status": "done"}).model_dump())
    write_json(folder / "result.json", result.model_dump())


def fail(folder: Path, manifest: Manifest, error: BaseException) -> None:
    """Write to a run's folder why it has no figures."""
    failed = manifest.model_copy(update={"status": "failed", "error": str(error)[:_LONGEST]})
    write_json(folder / "manifest.json", failed.model_dump())
