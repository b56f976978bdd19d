"""What is found of a figure, or of two: an interval, and a difference with its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A paired difference `a - b` (or `a / b - 1`) with its interval.

    Attributes:
        value: The difference on the clusters that both sides have.
        low: Lower end of the interval, or None where there are fewer than two clusters.
        high: Upper end, or None.
        n_clusters: Clusters that were compared.
        n_left_out: Clusters that only some of the evidence has; they are in no figure here.
    """

    value: float
    low: float | None
    high: float | None
    n_clusters: int
    n_left_out: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is known and holds no zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)
