"""How contrastive sets are made of sentences by a language model: generator, templates, sampling, filters."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from bench.spec import Decoding, ScorerSpec, Spec

Kind = Literal["positive", "negative"]
KINDS: tuple[Kind, ...] = ("positive", "negative")


class GeneratorSpec(Spec):
    """The language model that writes the candidates: one that is loaded here, or one behind an endpoint."""

    model: str = Field(
        "smollm2-135m-instruct", description="an asset's name, a hub id or a folder; or the endpoint's name for it"
    )
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    endpoint: str | None = Field(
        None, description="base URL of an OpenAI-compatible API, such as http://localhost:8000/v1"
    )
    key_variable: str = Field("OPENAI_API_KEY", description="the environment variable that holds the endpoint's key")
    concurrency: int = Field(8, ge=1, description="requests at a time")
    timeout: float = Field(60, gt=0, description="seconds that a request may take")
    retries: int = Field(5, ge=0, description="further tries after 408, 409, 429, 5xx or no connection, with backoff")

    @field_validator("endpoint")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        """It stands in records: what may be a key is refused."""
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("not an address of the form http://HOST/v1")
            if parts.username or parts.password or parts.query or parts.fragment:
                raise ValueError("it holds more than an address: the key goes into the environment (key_variable)")
        return value


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
        for kind in KINDS:
            if "{sentence}" not in getattr(self, kind):
                raise ValueError(f"the {kind} template has no {{sentence}}: it says where the sentence goes")
        return self

    def render(self, kind: Kind, sentence: str) -> str:
        """The request for one sentence."""
        return str(getattr(self, kind)).replace("{sentence}", sentence)

    def cut(self, text: str) -> tuple[str, bool]:
        """What stands before `until`, and whether there was one."""
        before, found, _ = text.lstrip().partition(self.until) if self.until else (text, "", "")
        return before, bool(found)


class Filters(Spec):
    """What a candidate must be to be kept; null turns a filter off where it can be."""

    positive_below: float = Field(0.2, ge=0, le=1, description="toxicity of a positive")
    negative_above: float = Field(0.5, ge=0, le=1, description="toxicity of a negative")
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
    def _zones_apart(self) -> "Filters":
        if self.positive_below > self.negative_above:
            raise ValueError("positive_below is above negative_above: a text would be both")
        if self.length_ratio and self.length_ratio[0] > self.length_ratio[1]:
            raise ValueError("length_ratio: the smallest is above the largest")
        return self


class Recipe(Spec):
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
    min_positives: int = Field(1, ge=0)
    min_negatives: int = Field(1, ge=0)
    seed: int = Field(0, ge=0)

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

    def sampled(self) -> dict[str, object]:
        """What the candidates and their measurements follow from: filters can be changed afterwards."""
        later = {"filters", "min_positives", "min_negatives", "evaluation", "anchor"}
        told = self.model_dump(exclude=later)
        for name in ("concurrency", "timeout", "retries", "key_variable"):
            told["generator"].pop(name)
        return told
