# bench_margin.py
from bench.method import MethodInfo, Range
from methods.learning.method import AdapterConfig, TrainedMethod


class Margin(TrainedMethod):
    """Part good and bad texts by a margin, and no further."""

    Config = AdapterConfig
    info = MethodInfo(
        "margin",
        "fine-tuning",
        "part good and bad texts by a margin",
        "hinge loss",
        needs_sets=True,
        strength="scale",
        search={"lr": Range(1e-4, 1e-3, log=True)},
    )

    def loss(self, likelihoods):
        good, bad = likelihoods.phi[likelihoods.positive], likelihoods.phi[~likelihoods.positive]
        return (1 + good.mean() - bad.mean()).clamp(min=0)
