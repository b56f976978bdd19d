"""A guard model as a scorer: how probable it finds that a text is unsafe."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bench.assets.catalogue import AssetCatalogue
from bench.errors import UsageError
from bench.hashing import hash_json
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.scorers.first_answer import AT_ONCE, FirstAnswer
from bench.scorers.guards import FORMS, GuardForm
from bench.spec import GeneratorSpec, Spec, Word

if TYPE_CHECKING:
    from bench.policy import Policy

Share = Annotated[float, Field(ge=0, le=1)]
_TEXT, _POLICY = "{text}", "{policy}"
_NO_FORM = GuardForm(None, "", {}, "")


class GuardConfig(Spec):
    """Options of `guard`."""

    model: str = Field(description="a causal language model: a folder, or a hub id")
    form: Literal["llama-guard-3", "qwen3guard", "wildguard", "shieldgemma"] | None = Field(
        None, description="whose prompt and labels; null: those of template, lead and labels"
    )
    template: str | None = Field(
        None, description="the prompt, with {text}; null: the form's, else the tokenizer's chat template"
    )
    lead: str | None = Field(None, description="what stands between prompt and label; null: the form's, else nothing")
    labels: dict[Word, Share] | None = Field(
        None,
        description="how unsafe each label is ('yes': 1, 'no': 0), with the space that it begins by; null: the form's",
    )
    policy: str | None = Field(None, description="what stands for {policy} in the template; null: the form's")
    least: Share = Field(
        0.01, description="probability that the labels must have together: below it, a text has no score"
    )
    attribute: str = Field(
        "toxicity", pattern=r"^[a-z][a-z0-9_]*$", description="what the probability is called in suites"
    )
    revision: str | None = Field(None, description="the hub's commit, branch or tag")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of its weights")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.form is None and self.labels is None:
            raise ValueError(f"name 'form' ({', '.join(FORMS)}), or 'labels' of your own")
        if self.labels is not None and len(self.labels) < 2:  # noqa: PLR2004
            raise ValueError("'labels' are two at least: a score is the share of one against another")
        if self.template is not None and _TEXT not in self.template:
            raise ValueError("'template' has no {text}")
        return self


class Guard(Scorer[GuardConfig]):
    """A causal language model that was trained to say whether a text is safe; its first token decides."""

    Config = GuardConfig
    info = ScorerInfo(
        name="guard",
        summary="a guard model (Llama Guard 3, ShieldGemma, WildGuard, Qwen3Guard, or yours): P(unsafe)",
        measures="what its policy calls unsafe",
        source="each guard's authors; see the forms",
    )
    batch_size = AT_ONCE

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Load the model: safetensors weights only, and none of its own code.

        Raises:
            UsageError: it has no chat template and is given none, or its tokenizer does not tell the labels apart.
            MissingError: it is not available.
        """
        from bench.writers.local import load_local

        config = self.config
        assets = AssetCatalogue(ctx.cache_dir, offline=ctx.offline, progress=ctx.progress)
        resolved = assets.model(config.model, config.revision)
        spec = GeneratorSpec(model=config.model, revision=config.revision, dtype=config.dtype)
        policy = load_local(spec, assets, ctx.progress)
        asked = self._asked()
        if asked["template"] is None and not policy.tokenizer.chat_template:
            raise UsageError(
                f"the tokenizer of '{config.model}' has no chat template",
                mend=f"{ctx.setting('template', '...')}, with {_TEXT} in it",
            )
        self._answer = FirstAnswer(
            policy,
            lambda text: _rendered(policy, asked, text),
            asked["values"],
            config.least,
            is_whole=asked["template"] is None,
        )
        revision = f"@{resolved.revision[:12]}" if resolved.revision else ""
        return ScorerIdentity(
            name=f"guard:{config.model}{revision}",
            label=f"unsafe ({config.form or 'guard'}: {config.model})",
            hash=hash_json({"model": [resolved.sha256, config.dtype], "asked": asked, "least": config.least}),
            attributes=(config.attribute,),
            licence=resolved.licence or "unknown",
        )

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score a batch of texts; None where the model does not answer by one of the labels."""
        scores = self._answer.scores(texts)
        return [None if score is None else {self.config.attribute: score} for score in scores]

    def _asked(self) -> dict[str, Any]:
        """All that decides what it is asked: the form's, where the options say nothing else.

        A chat template `opens` the answer, but for those of known forms, which do so unasked.
        """
        config, form = self.config, FORMS[self.config.form] if self.config.form else _NO_FORM
        template = form.template if config.template is None else config.template
        return {
            "template": template,
            "opens": template is None and config.form is None,
            "lead": form.lead if config.lead is None else config.lead,
            "values": dict(form.values if config.labels is None else config.labels),
            "policy": form.policy if config.policy is None else config.policy,
        }


def _rendered(policy: "Policy", asked: dict[str, Any], text: str) -> str:
    """All that stands before the label, from what was asked alone. A text that holds a place changes nothing."""
    if asked["template"] is None:
        from bench.engine.chat import conversation_text

        prompt = conversation_text(policy.tokenizer, [{"role": "user", "content": text}], opens=asked["opens"])
    else:
        parts = asked["template"].replace(_POLICY, asked["policy"]).split(_TEXT)
        prompt = text.join(parts)
    return prompt if asked["lead"] and prompt.endswith(asked["lead"]) else prompt + asked["lead"]
