"""The writer that a specification names: loaded here, or behind an endpoint."""

from typing import TYPE_CHECKING, Literal

from bench.progress import SILENT, Progress
from bench.spec import GeneratorSpec
from bench.writers.endpoint import EndpointWriter
from bench.writers.local import LocalWriter, load_local

if TYPE_CHECKING:
    from bench.assets.catalogue import AssetCatalogue


def open_writer(
    spec: GeneratorSpec,
    assets: "AssetCatalogue",
    progress: Progress = SILENT,
    *,
    chat: Literal["auto", "always", "never"] = "auto",
    until: str | None = None,
) -> LocalWriter | EndpointWriter:
    """Open a writer.

    Args:
        spec: The model, and how it is reached.
        assets: Finds a model that is loaded here.
        progress: Where to report that it is loaded.
        chat: Whether a model that is loaded here is asked by a user's message; an endpoint always is.
        until: An answer ends where this begins.

    Returns:
        A `LocalWriter`, which has the model in memory as its `policy`, or an `EndpointWriter`.

    Raises:
        BenchError: the model is not available, or cannot be asked so.
    """
    if spec.endpoint:
        return EndpointWriter(spec, until)
    return LocalWriter(load_local(spec, assets, progress), chat, until)
