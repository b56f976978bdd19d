"""A recipe carried out: what it needs is found first, and loaded where something is left to write."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.assets.catalogue import AssetCatalogue, Resolved
from bench.data.prompts import load_prompts, part
from bench.data.sentences import Sentence
from bench.progress import SILENT, Progress
from bench.scorers import load_scorer
from bench.sets.written.build import Build
from bench.sets.written.recipe import Recipe
from bench.spec import GeneratorSpec
from bench.store.lock import alone

if TYPE_CHECKING:
    from bench.policy import Policy
    from bench.sets.written.measure import Meter
    from bench.writers import Writer


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
            BenchError: something cannot be had.
        """
        self.recipe, self.assets, self.progress, self.offline = recipe, assets, progress, offline
        spec = recipe.generator
        self.generator = assets.generator(spec)
        self.encoder = assets.encoder(recipe.encoder) if recipe.encoder else None
        named = recipe.perplexity_model
        self.reader = assets.model(named) if named else self.generator
        self.scorer = load_scorer(recipe.scorer, assets.cache, offline=offline, progress=progress)
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
        """Make the sets of some sentences in a folder, or go on with them, and return the report.

        Raises:
            UsageError: something else was begun in the folder.
            MissingError: the generator cannot be had or answers nothing, or no set is left.
        """
        build = Build(folder, self.recipe, sentences, self.facts, self.evaluation, self.progress)
        with alone(folder.absolute(), self.progress):
            build.begin(fresh=fresh)
            if build.todo():
                build.sample(self._writer(), self._meter(), ahead=self.generator is None)
            return build.finish()

    @cached_property
    def _base(self) -> "Policy | None":
        """The generator in memory."""
        return self._load(self.recipe.generator) if self.generator else None

    def _load(self, spec: GeneratorSpec) -> "Policy":
        from bench.writers import load_local

        return load_local(spec, self.assets, self.progress)

    def _writer(self) -> "Writer":
        from bench.writers import EndpointWriter, LocalWriter

        templates = self.recipe.templates
        if self._base is None:
            return EndpointWriter(self.recipe.generator, templates.until)
        return LocalWriter(self._base, templates.chat, templates.until)

    def _meter(self) -> "Meter":
        from bench.engine.encoder import SentenceEncoder
        from bench.sets.written.measure import Meter

        named = self.recipe.perplexity_model
        return Meter(
            self.scorer,
            SentenceEncoder(self.encoder) if self.encoder else None,
            self._load(GeneratorSpec(model=named)) if named else self._base,
            after=self.recipe.anchor == "sentence",
        )


def _named(found: Resolved | None) -> dict[str, Any] | None:
    return None if found is None else {"id": found.id, "sha256": found.sha256}
