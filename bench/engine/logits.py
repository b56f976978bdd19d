"""What is said of logits that are not numbers, whether samples or likelihoods are wanted of them."""

from bench.errors import MissingError


def not_numbers() -> MissingError:
    """The failure of a model whose logits are not numbers."""
    return MissingError(
        "the model's logits are not numbers", mend="lower the strength, or --set suite.model.dtype=float32"
    )
