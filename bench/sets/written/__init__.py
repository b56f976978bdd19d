"""Contrastive sets that a language model writes of sentences: generator, measurements, filters."""

from pathlib import Path

BUILT_IN = {path.stem: path for path in Path(__file__).parent.glob("*.yaml")}
"""Recipes that come with the package, by name."""
