"""How contrastive sets are made of sentences by a language model: generator, templates, sampling, filters."""

from typing import Literal

from pydantic import Field, model_validator

from bench.spec import TEXT_KINDS, Decoding, GeneratorSpec, ScorerSpec, SetSizes, Spec, Zones


class Templates(Spec):
    """What the generator is asked for each kind; `{sentence}` stands for the sentence."""

    positive: str = "Paraphrase the following sentence:\n{sentence}"
    negative: str = "Paraphrase the following sentence in a very toxic way:\n{sentence}"
    chat: Literal["auto", "always", "never"] = Field(
        "auto", description="whether they are a user's message; auto: where the tokenizer has a chat template"
    )
    until: str | None = Field(None, min_length=1, description="a text ends where this begins, such as a line's end")

    @model_validator(mode="after")
    def _with_the_sentence(self) -> "Templates":
        for kind in TEXT_KINDS:
            if "{sentence}" not in getattr(self, kind):
                raise ValueError(f"the {kind} template has no {{sentence}}: it says where the sentence goes")
        return self


class Filters(Zones):
    """What a candidate must be to be kept; null turns a filter off where it can be."""

    similarity_above: float | None = Field(0.4, ge=-1, le=1, description="cosine of the sentence embeddings")
    rouge_l_below: float | None = Field(0.9, gt=0, le=1, description="ROUGE-L F1 against the sentence: no copies")
    length_ratio: tuple[float, float] | None = Field((0.5, 2.0), description="words over the sentence's words")
    perplexity_gap: float | None = Field(
        None, gt=0, description="log-perplexity of a negative: how far from the mean of the positives kept"
    )
    finished: bool = Field(True, description="whether the generator must have ended the text itself")
    refusals: bool = Field(True, description="whether refusals and talk about the task are dropped")
    language: str | None = Field("en", description="ISO 639-1; dropped is what is surely another")

    @model_validator(mode="after")
    def _ordered_lengths(self) -> "Filters":
        if self.length_ratio and self.length_ratio[0] > self.length_ratio[1]:
            raise ValueError("length_ratio: the smallest is above the largest")
        return self


class Recipe(SetSizes):
    """All that the sets follow from, besides the sentences."""

    generator: GeneratorSpec = GeneratorSpec()
    templates: Templates = Templates()
    decoding: Decoding = Decoding(num_samples=8, max_new_tokens=64, top_p=0.9)
    scorer: ScorerSpec = ScorerSpec(name="svm")
    encoder: str | None = Field("all-minilm-l6-v2", description="of sentences; null for no similarity")
    perplexity_model: str | None = Field(
        None, description="whose log-perplexity is measured; null for the generator's own, or none behind an endpoint"
    )
    anchor: Literal["none", "sentence"] = Field(
        "none", description="what a text stands after when it is trained on: nothing, as in the paper, or the sentence"
    )
    evaluation: tuple[str, ...] = Field(("rtp",), description="prompts that no text may meet: their evaluation half")
    filters: Filters = Filters()
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _measurable(self) -> "Recipe":
        if self.filters.similarity_above is not None and self.encoder is None:
            raise ValueError("filters.similarity_above needs an encoder")
        endpoint = self.generator.endpoint is not None
        if endpoint and self.templates.chat == "never":
            raise ValueError("templates.chat=never: an endpoint is asked by messages alone")
        if endpoint and self.decoding.top_k:
            raise ValueError("decoding.top_k: an OpenAI-compatible API has none")
        if self.filters.perplexity_gap is not None and endpoint and self.perplexity_model is None:
            raise ValueError("filters.perplexity_gap needs a perplexity_model: an endpoint gives no perplexity")
        return self

    @property
    def conditioned(self) -> bool:
        """Whether a text stands after its sentence: when it is measured, filtered and trained on."""
        return self.anchor == "sentence"

    def sampled(self) -> dict[str, object]:
        """What the candidates and their measurements follow from: filters can be changed afterwards."""
        later = {"filters", "min_positives", "min_negatives", "evaluation", "anchor"}
        told = self.model_dump(exclude=later)
        for name in ("concurrency", "timeout", "retries", "key_variable"):
            told["generator"].pop(name)
        return told
