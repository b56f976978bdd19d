"""Several policies over the same tokens, their logits made into one."""

from collections.abc import Callable, Iterator, Sequence

import torch

from bench.engine.profile import profile_of
from bench.engine.sampling import most_likely, widths
from bench.policy import Cache, Policy
from methods.decoding.cache import JointCache, parts_of

Combine = Callable[[torch.Tensor, Iterator[torch.Tensor], bool], torch.Tensor]
"""From the first policy's logits, the others' in turn and whether tokens will be sampled to the mixed logits.

Logits are float32, [rows, kept, vocabulary], and may be changed in place. The others' are made when they are asked for,
so that not all of them are in memory at once; all of them must be.
"""


class MixturePolicy(Policy):
    """Several policies that read the same tokens; the first is the base model."""

    def __init__(self, policies: Sequence[Policy], combine: Combine, *, truncates: bool = False) -> None:
        """Take the policies and the rule.

        Args:
            policies: At least one; tokenizer and device are the first one's.
            combine: The rule.
            truncates: Whether the rule gives -inf to some tokens when it is told that tokens will be sampled.
        """
        self.policies, self.combine, self.truncates = list(policies), combine, truncates
        self.tokenizer, self.device = policies[0].tokenizer, policies[0].device
        self.max_length = min(policy.max_length for policy in policies)
        self.window = min(policy.window for policy in policies)
        self.readings = sum(policy.readings for policy in policies)

    @property
    def end_tokens(self) -> frozenset[int]:  # noqa: D102
        return self.policies[0].end_tokens

    @torch.inference_mode()
    def forward(  # noqa: D102
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        cache: Cache | None = None,
        logits_to_keep: int = 0,
        *,
        sampling: bool = False,
    ) -> tuple[torch.Tensor, Cache]:
        before: Sequence[Cache | None] = parts_of(cache) or [None] * len(self.policies)
        after: list[Cache] = []

        def each() -> Iterator[torch.Tensor]:
            for policy, part in zip(self.policies, before, strict=True):
                logits, read = policy.forward(input_ids, attention_mask, part, logits_to_keep, sampling=sampling)
                after.append(read)
                yield logits.float()

        logits = each()
        mixed = self.combine(next(logits), logits, sampling)
        return mixed, JointCache(after)

    def not_exportable(self) -> str | None:  # noqa: D102
        return "it mixes the logits of several readings while decoding"


def weighted(policies: Sequence[tuple[float, Policy]], filter_p: float = 1.0) -> MixturePolicy:
    """A weighted sum of logits; what the first policy finds unlikely is not sampled.

    Args:
        policies: Weight and policy, the base model first.
        filter_p: When sampling, tokens outside of the base model's own nucleus of this mass get -inf, as DExperts
            filters before it mixes; 1 for none.
    """
    own, *weights = (weight for weight, _ in policies)

    def combine(base: torch.Tensor, others: Iterator[torch.Tensor], sampling: bool) -> torch.Tensor:
        kept = nucleus(base, filter_p) if sampling and filter_p < 1 else None
        if own != 1:
            base = base.mul_(own)
        for weight, logits in zip(weights, others, strict=True):
            base.add_(logits, alpha=weight)
        return base if kept is None else base.masked_fill_(~kept, -torch.inf)

    return MixturePolicy([policy for _, policy in policies], combine, truncates=filter_p < 1)


def guided(plain: Policy, prompted: Policy, strength: float) -> Policy:
    """Logits z + strength (z_prompted - z): the plain policy at 0, the prompted one at 1, both of them read elsewhere.

    Classifier-free guidance (Sanchez et al., 2024, arXiv 2306.17806, Equation 7).
    """
    if strength in (0, 1):
        return prompted if strength else plain
    return weighted([(1 - strength, plain), (strength, prompted)])


def nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Which tokens are in the nucleus: the smallest set of most likely ones whose mass reaches `top_p` (below 1).

    Args and result are as in `smallest_set`.
    """
    return smallest_set(logits, logits, top_p)


def smallest_set(order: torch.Tensor, logits: torch.Tensor, mass: float) -> torch.Tensor:
    """The first tokens of an order, as many as it takes for their probability to reach a mass.

    Only the first of the order are sorted out, ever more of them where they do not hold the mass yet: exact, mostly
    without sorting the vocabulary. Where the device is not to be asked in between, it is sorted.

    Args:
        order: The higher, the earlier, [rows, kept, vocabulary].
        logits: What the probability is computed from, the shape of `order`.
        mass: The mass, below 1.

    Returns:
        Bool, the shape of `order`.
    """
    flat, first = logits.flatten(0, -2), order.flatten(0, -2)
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    normaliser = flat.logsumexp(-1, keepdim=True)
    if profile_of(order.device).one_pass:
        tokens = first.sort(dim=-1, descending=True).indices
        probability = (flat.gather(-1, tokens) - normaliser).double().exp()
        return chosen.scatter(-1, tokens, probability.cumsum(-1) - probability < mass).view(logits.shape)
    rows = torch.arange(len(flat), device=flat.device)
    for width in widths(flat.shape[-1]):
        tokens = most_likely(first[rows], width)[1]
        probability = (flat[rows].gather(-1, tokens) - normaliser[rows]).double().exp()
        reached = probability.cumsum(-1)
        chosen[rows] = chosen[rows].scatter(-1, tokens, reached - probability < mass)
        rows = rows[reached[:, -1] < mass]
        if not len(rows):
            break
    return chosen.view(logits.shape)
