"""Where an edited model puts sentences: the mean of its last layer's states, and a map of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from bench.policy import Policy

_BATCH = 16
POOLING = "mean of the last states of a text's own tokens"
"""What an embedding is; it stands in the keys of maps."""


def embed(policy: "Policy", texts: Sequence[str]) -> "np.ndarray":
    """Sentence embeddings of an edited model, float32 [texts, size]: the mean of the last states of a text's tokens.

    The state of a begin token that the tokenizer puts before a text is left out: it is the same for every text, and
    often larger than all others. A text without tokens of its own has nothing else.

    Raises:
        UsageError: the policy is not one model, whose states these could be.
    """
    import numpy as np
    import torch

    from bench.engine.batching import pad
    from bench.engine.tokens import encode, first_token, opening
    from bench.policy import one_model

    model = one_model(policy)
    if model is None:
        raise UsageError("the method is more than one model, whose states a map shows", mend="map another method")
    rows = [encode(policy.tokenizer, text) or [first_token(policy.tokenizer)] for text in texts]
    put = opening(policy.tokenizer)
    found = []
    for start in range(0, len(rows), _BATCH):
        ids, mask = pad(rows[start : start + _BATCH], first_token(policy.tokenizer), "right", policy.device)
        with torch.inference_mode():
            output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
        own = mask.clone()
        own[:, :put] *= mask.sum(1, keepdim=True) <= put
        weights = own[..., None].float()
        found.append(((output.hidden_states[-1].float() * weights).sum(1) / weights.sum(1)).cpu().numpy())
    return np.concatenate(found)


def flat_map(vectors: "np.ndarray", kinds: Sequence[bool], seed: int = 0) -> tuple["np.ndarray", float]:
    """A t-SNE map of vectors, [texts, 2], and the silhouette of the two kinds among the vectors, from -1 to 1.

    The silhouette is of the vectors themselves (cosine distance): distances on the map say little.
    """
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    scale = max(min(30.0, (len(vectors) - 1) / 3), 1.0)
    points = TSNE(2, perplexity=scale, metric="cosine", init="random", random_state=seed).fit_transform(vectors)
    return points, float(silhouette_score(vectors, list(kinds), metric="cosine"))
