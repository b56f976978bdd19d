"""Carry out a recipe: find first what it needs, and load it where something is left to write."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.data.prompts import load_prompts
from bench.data.sentences import Sentence
from bench.data.splits import part
from bench.progress import SILENT, Progress
from bench.scorers import load_scorer
from bench.sets.written.build import Build
from bench.sets.written.recipe import Recipe
from bench.spec import GeneratorSpec
from bench.store.lock import alone

if TYPE_CHECKING:
    from bench.policy import Policy
    from bench.sets.written.measure import Meter
    from bench.writers.base import Writer
    from bench.writers.endpoint import EndpointWriter
    from bench.writers.local import LocalWriter

_OPTION = "--set scorer.options.{name}={value}"
"""How the user says an option of a recipe's scorer."""


class RecipeRunner:
    """The models and data of a recipe, each found or loaded once.

    Attributes:
        recipe: How the sets are made.
        assets: Where models and data come from.
        progress: Where to report.
        offline: Whether the network is out of bounds.
    """

    def __init__(
        self, recipe: Recipe, assets: AssetCatalogue, progress: Progress = SILENT, *, offline: bool = False
    ) -> None:
        """Take the recipe and find what it names.

        Raises:
            BenchError: something is not available.
        """
        self.recipe, self.assets, self.progress, self.offline = recipe, assets, progress, offline
        # First: what is wrong in it is known before a model is fetched.
        self.scorer = load_scorer(recipe.scorer, assets.cache, offline=offline, progress=progress, option=_OPTION)
        spec = recipe.generator
        self.generator = assets.generator(spec)
        self.encoder = assets.encoder(recipe.encoder) if recipe.encoder else None
        named = recipe.perplexity_model
        self.reader = assets.model(named) if named else self.generator
        self.evaluation = [
            prompt.text for name in recipe.evaluation for prompt in part(load_prompts(assets.data(name).path), "eval")
        ]

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies the models, for the provenance; no key is among it."""
        spec = self.recipe.generator
        generator: dict[str, Any] = {"model": spec.model, "endpoint": spec.endpoint}
        if self.generator:
            generator |= {"revision": self.generator.revision, "sha256": self.generator.sha256}
        return {
            "generator": generator,
            "templates": self.recipe.templates.model_dump(),
            "scorer": {"name": self.scorer.identity.name, "hash": self.scorer.identity.hash},
            "encoder": _named(self.encoder),
            "perplexity_model": _named(self.reader),
        }

    def carry_out(self, sentences: Sequence[Sentence], folder: Path, *, fresh: bool = False) -> dict[str, Any]:
        """Make the sets of some sentences in a folder, resuming what was begun there, and return the report.

        Raises:
            UsageError: something else was begun in the folder.
            MissingError: the generator is not available or answers nothing, or no set is left.
        """
        build = Build(folder, self.recipe, sentences, self.facts, self.evaluation, self.progress)
        with alone(folder.absolute(), self.progress):
            build.begin(fresh=fresh)
            if build.todo():
                build.sample(self._writer(), self._meter(), ahead=self.generator is None)
            return build.finish()

    @cached_property
    def _opened(self) -> "LocalWriter | EndpointWriter":
        """The generator, in memory or behind its endpoint."""
        from bench.writers.opening import open_writer

        spec, templates = self.recipe.generator, self.recipe.templates
        return open_writer(spec, self.assets, self.progress, chat=templates.chat, until=templates.until)

    def _writer(self) -> "Writer":
        return self._opened

    def _policy(self) -> "Policy | None":
        """Whose log-perplexity is measured: the named model's, else the generator's own; None behind an endpoint."""
        from bench.writers.local import LocalWriter, load_local

        if self.recipe.perplexity_model:
            return load_local(GeneratorSpec(model=self.recipe.perplexity_model), self.assets, self.progress)
        return self._opened.policy if isinstance(self._opened, LocalWriter) else None

    def _meter(self) -> "Meter":
        from bench.engine.encoder import SentenceEncoder
        from bench.sets.written.measure import Meter

        return Meter(
            self.scorer,
            SentenceEncoder(self.encoder) if self.encoder else None,
            self._policy(),
            conditioned=self.recipe.conditioned,
        )


def _named(resolved: Resolved | None) -> dict[str, Any] | None:
    return None if resolved is None else {"id": resolved.id, "sha256": resolved.sha256}
