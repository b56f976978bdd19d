"""How an OpenAI-compatible API is told to sample."""

from bench.errors import UsageError
from bench.spec import Decoding


def as_asked(decoding: Decoding) -> Decoding:
    """A decoding as the API knows it: the likeliest token alone (`top_k` 1) is its temperature 0.

    Raises:
        UsageError: the API knows no such decoding.
    """
    if decoding.top_k == 1:
        return decoding.model_copy(update={"temperature": 0.0})  # not validated: it stands for no sampling
    if decoding.top_k:
        raise UsageError(
            f"an endpoint cannot be told to sample by top_k ({decoding.top_k})",
            mend="set top_k to 0, or to 1 for the likeliest tokens alone (--set suite.decoding.top_k=0)",
        )
    return decoding
