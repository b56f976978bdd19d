"""How much a system may have lost: "at most 1.4 points (95 %)".

That no difference was found says nothing of how large one may be. The upper end of a one-sided 95 % interval of the
paired loss does: a larger loss is refused at 5 % (non-inferiority: Piaggio et al., 2012, JAMA; CONSORT). It is the end
of the two-sided 90 % interval, by the same resampling of prompts and seeds as every other.
"""

from bench.stats.systems import Systems


def loss_at_most(
    systems: Systems, system: int, reference: int, *, higher_is_better: bool, relative: bool = False
) -> float | None:
    """Upper end of the one-sided 95 % interval of what a system loses to another; below 0 where it surely gains.

    Args:
        systems: The evidence of one metric.
        system: The place of the one that may have lost.
        reference: The place of the other.
        higher_is_better: The metric's direction.
        relative: Whether the loss is a share of the reference's figure.

    Returns:
        The bound, or None where there are fewer than two clusters.

    Raises:
        MissingError: no cluster was observed in every entry of both sides.
    """
    found = systems.one_sided().difference(system, reference, relative=relative)
    if found.low is None or found.high is None:
        return None
    return -found.low if higher_is_better else found.high
