"""How likely a model finds texts after what stands before them."""

from collections.abc import Callable, Sequence

from bench.engine.likelihood import loglikelihood
from bench.engine.tokens import encode_after
from bench.policy import Policy


def log_perplexities(
    policy: Policy, pairs: Sequence[tuple[str, str]], done: Callable[[int], object] = lambda _: None
) -> list[float | None]:
    """Mean negative log-likelihood, in nats, of each text's tokens after its anchor; None without a token.

    Args:
        policy: The model.
        pairs: An anchor, as the model is to read it, and a text.
        done: Called with the number of texts read since the last call.
    """
    asked = [encode_after(policy.tokenizer, anchor, text) for anchor, text in pairs]
    return [-one.logprob / one.tokens if one.tokens else None for one in loglikelihood(policy, asked, done=done)]
