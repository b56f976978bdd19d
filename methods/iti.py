"""Inference-time intervention (Li et al., NeurIPS 2023, arXiv 2306.03341, Equation 2).

    x' = Q (z + alpha * sigma * theta)        for the heads whose probes tell good texts from bad best

with z what an attention head puts out before the output projection Q, theta the unit vector along (mean z of positives
- mean z of negatives), and sigma the standard deviation of the texts' z along theta. A head's probe is a logistic
regression on four fifths of the anchors; the other fifth says how well it tells their texts.
"""

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bench.errors import MissingError, UsageError
from bench.method import APPLY, Artifact, Departure, Method, MethodInfo, Range, RunContext
from methods.representation.options import TextsConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets
    from methods.learning.batches import Item

HEADS = "iti.safetensors"
"""`directions` [layers, heads, size], of length 1, `deviations` and `accuracies` [layers, heads]."""
_SHARE = 20  # one head in so many


class ITIConfig(TextsConfig):
    """Options of `iti`."""

    position: Literal["mean", "last"] = Field(
        "last", description="where a text's state is taken: the mean over its tokens, or its last token"
    )
    heads: int | None = Field(
        None,
        ge=1,
        description="heads that are shifted, those with the best probes; null: one in twenty (authors: 48 of 1,024)",
        json_schema_extra=APPLY,
    )
    alpha: float = Field(
        3.0,
        description="strength: how far each is shifted, in standard deviations; 0 is the base",
        json_schema_extra=APPLY,
    )


class ITI(Method[ITIConfig]):
    """Shifts the attention heads that tell good texts from bad best."""

    info = MethodInfo(
        name="iti",
        kind="representation",
        summary="inference-time intervention: shift the attention heads whose probes tell good texts from bad best",
        paper="Li et al., NeurIPS 2023, arXiv 2306.03341",
        needs_sets=True,
        strength="alpha",
        strengths=(3.0, 1.0, 5.0, 2.0, 8.0),
        search={"alpha": Range(0.5, 15, log=True), "position": ("last", "mean")},
        departures=(
            Departure(
                "questions of TruthfulQA with true and false answers",
                "anchors of the sets with good and bad texts",
                "every method learns from the same texts",
            ),
            Departure(
                "heads ranked by the accuracy of their probes",
                "by balanced accuracy, on anchors that the probe has not seen",
                "sets need not hold as many good texts as bad ones, and texts of one anchor are alike",
            ),
            Departure(
                "the mean of all true answers less that of all false ones",
                "the mean over anchors of that difference",
                "so that an anchor's share cancels, as in `steering`",
            ),
            Departure(
                "alpha 15 and 48 heads of 1,024, searched for LLaMA-7B; only what is generated is shifted",
                "alpha 3 and one head in twenty; every position is shifted",
                "15 raises the perplexity of plain text fivefold on `tune`; the heads were not searched; a likelihood "
                "needs the same edit at all positions",
            ),
        ),
    )
    Config = ITIConfig

    def check(self, base: "Path", inputs: "Mapping[str, Path]") -> None:
        """Find out whether the model's heads can be told, and are so many."""
        from methods.anatomy.attention import attention_outputs, heads_of
        from methods.anatomy.layers import BASE, check_model

        del inputs
        model = check_model(base, None)
        outputs = attention_outputs(model, BASE, self.info.name)
        self._count(len(outputs) * heads_of(model, outputs, BASE))

    def not_exportable(self, base: "Path") -> str | None:
        """What is added before an output projection is its bias, where it has one."""
        from methods.anatomy.attention import attention_outputs
        from methods.anatomy.layers import BASE, check_model
        from methods.anatomy.plain import no_attention_bias

        model = check_model(base, None)
        return no_attention_bias(model.config, attention_outputs(model, BASE, self.info.name))

    def _count(self, heads: int) -> int:
        """How many of so many heads are shifted.

        Raises:
            UsageError: there are not so many.
        """
        wanted = self.config.heads or max(1, round(heads / _SHARE))
        if wanted > heads:
            raise UsageError(
                f"the base model has {heads} attention heads and not {wanted}", mend=f"heads = 1 to {heads}"
            )
        return wanted

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Read the texts, probe every head, and keep direction, deviation and accuracy of each."""
        from safetensors.torch import save_file

        from methods.anatomy.attention import attention_outputs, heads_of
        from methods.learning.batches import required_sets
        from methods.representation.probes import head_outputs
        from methods.representation.states import differences, pairs_of
        from methods.representation.vectors import draw

        sets = required_sets(sets, self.info.name)
        items = draw(sets, self.config, ctx.seed)
        name = f"'{base.id}'"
        heads = heads_of(base.model, attention_outputs(base.model, name, self.info.name), name)
        held = held_out(items)
        pairs = pairs_of(items)
        found = head_outputs(base, pairs, self.config.position, ctx.progress, self.info.name)
        outputs = found.state.unflatten(-1, (heads, -1))
        kept = directions(differences(items, outputs).mean(0), outputs)
        kept["accuracies"] = accuracies(items, held, outputs)
        self._count(kept["accuracies"].numel())
        save_file({key: value.float().contiguous() for key, value in kept.items()}, ctx.folder / HEADS)
        return {
            "anchors": len(sets),
            "texts": len(pairs),
            "held_out_anchors": len(held),
            "trained_tokens": found.tokens,
            "trainable_parameters": 0,
            "best_accuracies": [round(value, 4) for value in kept["accuracies"].amax(-1).tolist()],
        }

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the base model with the chosen heads shifted."""
        from bench.policy import HFPolicy
        from methods.anatomy.attention import attention_outputs
        from methods.anatomy.layers import HookedPolicy, before_each
        from methods.anatomy.plain import no_attention_bias, with_attention_shifts

        if not self.config.alpha:
            yield HFPolicy(base.model, base.tokenizer)
            return
        outputs = attention_outputs(base.model, f"'{base.id}'", self.info.name)
        shifts = {
            outputs[layer]: shift.to(base.model.device)
            for layer, shift in enumerate(self.shifts(artifact))
            if shift.any()
        }
        with before_each((module, partial(_shifted, shift)) for module, shift in shifts.items()):
            yield HookedPolicy(
                base.model,
                base.tokenizer,
                lambda: with_attention_shifts(base.model, shifts),
                no_attention_bias(base.model.config, outputs),
            )

    def shifts(self, artifact: Artifact) -> "torch.Tensor":
        """What is added before each layer's output projection, float32 [layers, heads * size]."""
        import torch

        from bench.engine.loading import read_tensors

        kept = read_tensors(artifact.path / HEADS)
        ranked = kept["accuracies"].flatten().argsort(descending=True, stable=True)
        chosen = torch.zeros(len(ranked))
        chosen[ranked[: self._count(len(ranked))]] = 1.0
        chosen = chosen.view_as(kept["deviations"])
        return (self.config.alpha * (chosen * kept["deviations"])[..., None] * kept["directions"]).flatten(1)


def _shifted(shift: "torch.Tensor", state: "torch.Tensor") -> "torch.Tensor":
    return state + shift.to(state.dtype)


def held_out(items: "Sequence[Item]") -> set[str]:
    """A fifth of the anchors, and at least one: those drawn last.

    Raises:
        MissingError: there is but one anchor.
    """
    anchors = list(dict.fromkeys(one.anchor for one in items))
    if len(anchors) < 2:  # noqa: PLR2004
        what, mend = "iti probes on anchors that it holds out, and got a single one", "give it more sets"
        if not anchors[0].strip():
            what = "iti probes on anchors that it holds out, and those of the sets are all empty"
            mend = "give each set its anchor (in a recipe of 'bench data generate': anchor: sentence)"
        raise MissingError(what, mend=mend)
    return set(anchors[-max(1, len(anchors) // 5) :])


def directions(difference: "torch.Tensor", outputs: "torch.Tensor") -> "dict[str, torch.Tensor]":
    """Of each head its direction, and the standard deviation of the texts along it.

    Args:
        difference: What sets good texts apart from bad ones, [layers, heads, size].
        outputs: What the heads put out, [texts, layers, heads, size].
    """
    from torch.nn.functional import normalize

    unit = normalize(difference, dim=-1)
    return {"directions": unit, "deviations": (outputs * unit).sum(-1).std(0, correction=0)}


def accuracies(items: "Sequence[Item]", held: set[str], outputs: "torch.Tensor") -> "torch.Tensor":
    """How well each head's probe tells the texts of anchors that it has not seen, [layers, heads]."""
    import torch

    from methods.representation.probes import balanced_accuracy, logistic, with_constant
    from methods.representation.states import pairs_of

    bad = {(one.anchor, text) for one in items for text in one.negatives}
    pairs = pairs_of(items)
    good = torch.tensor([pair not in bad for pair in pairs])
    unseen = torch.tensor([anchor in held for anchor, _ in pairs])
    found = []
    for layer in range(outputs.shape[1]):
        features = outputs[:, layer].transpose(0, 1)
        weights = logistic(features[:, ~unseen], good[~unseen].double())
        scores = (with_constant(features[:, unseen]) @ weights[..., None])[..., 0]
        found.append(balanced_accuracy(scores > 0, good[unseen]))
    return torch.stack(found)
