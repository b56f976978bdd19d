"""The options of every method that compares the states of good and bad texts."""

from typing import Literal

from pydantic import Field

from bench.method import APPLY
from bench.spec import Spec


class TextsConfig(Spec):
    """Which texts are read, and where their states are taken."""

    positives: int = Field(4, ge=1, le=100_000, description="positives drawn for an anchor (fewer where it has fewer)")
    negatives: int = Field(4, ge=1, le=100_000, description="negatives drawn for an anchor")
    anchors: int = Field(
        80, ge=1, le=1_000_000, description="anchors drawn, with new texts each time that the sets are gone through"
    )
    position: Literal["mean", "last"] = Field(
        "mean", description="where a text's state is taken: the mean over its tokens, or its last token"
    )


class VectorConfig(TextsConfig):
    """The vector that is added after a layer."""

    layer: int | None = Field(
        None,
        ge=0,
        description="layer after which the vector is added, from 0; null: the middle",
        json_schema_extra=APPLY,
    )
    normalise: bool = Field(
        False,
        description="give the vector the mean length of a token's state after that layer, so that multipliers compare "
        "between layers and models",
        json_schema_extra=APPLY,
    )
    multiplier: float = Field(3.0, description="strength: factor on the vector, 0 is the base", json_schema_extra=APPLY)
