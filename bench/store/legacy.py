"""What records that kept names and not facts mean by them. No other code looks at a name."""

from typing import Any

_ROLES = {
    "rtp": "attribute",
    "fluency": "fluency",
    "heldout": "fluency",
    "coverage": "fluency",
    "diversity": "diversity",
    "identity": "safety",
    "over_refusal": "safety",
    "cost": "cost",
}
"""By task; the tasks of outputs have metrics of several roles, and all others were lm-eval's."""
_OUTPUT_ROLES = {
    "toxicity_rate": "attribute",
    "fluency": "fluency",
    "distinct_1": "diversity",
    "distinct_2": "diversity",
    "distinct_3": "diversity",
}
_PRIMARY = {
    ("rtp", "toxic_fraction"),
    ("continuation", "toxicity_rate"),
    ("paraphrase", "toxicity_rate"),
    ("heldout", "perplexity"),
    ("coverage", "perplexity"),
    ("diversity", "distinct_2"),
    ("continuation", "distinct_2"),
    ("paraphrase", "distinct_2"),
    ("identity", "safety_score"),
    ("over_refusal", "refusal_rate"),
}


def with_facts(metric: dict[str, Any]) -> dict[str, Any]:
    """A metric of version 1 with its role, its kind of difference, and whether it is primary."""
    task, name = str(metric.get("task")), str(metric.get("name"))
    own = _OUTPUT_ROLES.get(name, "utility") if task in ("continuation", "paraphrase") else _ROLES.get(task, "utility")
    accuracy = own == "utility" and (name == "acc" or name.startswith("exact_match")) and task not in _ROLES
    return {
        **metric,
        "role": own,
        "difference": "ratio" if "perplexity" in name else "absolute",
        "primary": (task, name) in _PRIMARY or accuracy,
    }


_SEEDLESS = ("none", "prompt", "preadd", "self_debias", "checkpoint", "adapter")
"""Methods that prepared the same artifact with every seed, when records did not say so."""


def add_seeded(method: dict[str, Any]) -> None:
    """Add to the method of a manifest that does not say it whether it depends on the seed."""
    method.setdefault("seeded", method.get("name") not in _SEEDLESS)


_PREPARING = ("sets", "train", "prepare", "reference")


def with_stage(phase: dict[str, Any]) -> dict[str, Any]:
    """A phase of version 1 with its stage."""
    return {**phase, "stage": "prepare" if phase.get("name") in _PREPARING else "measure"}
