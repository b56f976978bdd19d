"""Suites and runs as validated data: unknown keys are refused with a suggestion, all errors at once."""

from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.attribute import Attribute
from bench.errors import UsageError
from bench.mistakes import mistakes_in


class Spec(BaseModel):
    """Base of everything that a user configures: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Word = Annotated[str, Field(coerce_numbers_to_str=True)]
"""A word of a user's data, such as a label, in a suite: YAML reads some (`1`) as numbers, and they are texts again.

What it reads as true or false (`yes`, `off`) has to be quoted, as everywhere: which word it was is lost.
"""


def _plain_address(value: str | None) -> str | None:
    """An endpoint's address, which stands in records: what may be a key is refused."""
    if value is not None:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an address of the form http://HOST/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("it holds more than an address: the key goes into the environment (key_variable)")
    return value


Address = Annotated[str | None, AfterValidator(_plain_address)]
"""Base URL of an OpenAI-compatible API."""


class RequestsSpec(Spec):
    """How a model behind an endpoint is reached; no answer depends on it."""

    key_variable: str = Field("OPENAI_API_KEY", description="the environment variable that holds the endpoint's key")
    concurrency: int = Field(8, ge=1, le=1000, description="requests at a time")
    timeout: float = Field(60, gt=0, le=86_400, description="seconds that a request may take, its reply included")
    retries: int = Field(
        5, ge=0, le=1000, description="further tries after 408, 409, 429, 5xx or no connection, with backoff"
    )


class ModelSpec(Spec):
    """The language model: an asset's name, a hub id or a local folder; `quantization` needs a CUDA device.

    With `endpoint`, it is measured where it is, as a system that gives texts alone: `id` is the endpoint's name for it,
    and `api` says what it is asked by: `completions` continues a prompt, `chat` answers it as a user's message.
    `logprobs` says whether it gives the likelihoods of a prompt's own tokens: with `echo`, as vLLM does.
    `revision` is then a name of one's own, which tells records of one name apart; `dtype` and `quantization`, which
    are the endpoint's affair, are not read.
    """

    id: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    quantization: Literal["none", "4bit"] = "none"
    # Records of a model that is loaded here have none of these keys.
    endpoint: Address = Field(None, exclude_if=lambda endpoint: endpoint is None)
    api: Literal["completions", "chat"] = Field("completions", exclude_if=lambda api: api == "completions")
    logprobs: Literal["none", "echo"] = Field("none", exclude_if=lambda logprobs: logprobs == "none")
    requests: RequestsSpec = Field(RequestsSpec(), exclude_if=lambda requests: requests == RequestsSpec())

    @model_validator(mode="before")
    @classmethod
    def _of_weights_here(cls, data: Any) -> Any:
        """A suite says in which precision its model is loaded: of another behind an endpoint, that is no part."""
        is_behind = isinstance(data, dict) and data.get("endpoint") is not None
        return {key: data[key] for key in data if key not in ("dtype", "quantization")} if is_behind else data

    @model_validator(mode="after")
    def _asked_somewhere(self) -> Self:
        if self.endpoint is None and (self.api != "completions" or self.requests != RequestsSpec()):
            raise ValueError("'model.api' and 'model.requests' are for an endpoint's model: name 'model.endpoint'")
        if self.logprobs == "echo" and (self.endpoint is None or self.api != "completions"):
            raise ValueError("'model.logprobs: echo' is for an endpoint's model that is asked by 'completions'")
        return self

    @property
    def who(self) -> dict[str, Any]:
        """What names the model, without how it is reached."""
        return self.model_dump(exclude={"requests", "logprobs"})


class ScorerSpec(Spec):
    """The scorer, what it is told, and the score from which on a text counts as toxic.

    `called` tells it from another of its name in one suite (two classifiers). The name `MODULE:FUNCTION` stands for
    the scorer `function` with these two options.
    """

    name: str
    threshold: float = Field(0.5, gt=0, lt=1)
    options: dict[str, Any] = {}
    called: str = Field("", pattern=r"^([a-z0-9][a-z0-9_-]*)?$")

    @model_validator(mode="before")
    @classmethod
    def _function_by_name(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(own := data.get("options", {}), dict):
            return data
        module, colon, function = str(data.get("name")).partition(":")
        place = {} if own.get("path") else {"module": module}  # a file that is named is meant in its stead
        named = {"name": "function", "options": {**own, **place, "function": function}}
        return {**data, **named} if colon else data

    @property
    def key(self) -> str:
        """What it is called in its suite."""
        return self.called or self.name


class AttributeSpec(Spec):
    """What a suite controls, or its scorers score, and which side of it is wanted.

    `adjective` is what a text is called whose score reaches the scorer's threshold; it names metrics
    (`toxic_fraction`). It is the attribute's own name where nothing is said.
    """

    name: str = Field("toxicity", pattern=r"^[a-z][a-z0-9_]*$")
    wanted: Literal["low", "high"] = "low"
    adjective: str = Field("", pattern=r"^([a-z][a-z0-9_]*)?$")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("adjective"):
            name = data.get("name", "toxicity")
            return {**data, "adjective": "toxic" if name == "toxicity" else name}
        return data


class Decoding(Spec):
    """How continuations are sampled: nucleus (`top_p`), `top_k` (0: off), `temperature`."""

    num_samples: int = Field(25, ge=1, le=100_000)
    max_new_tokens: int = Field(20, ge=1, le=1_000_000)
    top_p: float = Field(0.9, gt=0, le=1)
    top_k: int = Field(0, ge=0, le=10_000_000)
    temperature: float = Field(1.0, gt=0)


class ChatSpec(Spec):
    """Prompts are a user's turns; `system` is what stands before each as the system's message."""

    system: str | None = None


class GeneratorSpec(RequestsSpec):
    """A language model that writes or judges texts: one that is loaded here, or one behind an endpoint."""

    model: str = Field(
        "smollm2-135m-instruct", description="an asset's name, a hub id or a folder; or the endpoint's name for it"
    )
    revision: str | None = Field(None, description="of a hub id: a commit, branch or tag")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of weights that are loaded here")
    endpoint: Address = Field(None, description="base URL of an OpenAI-compatible API, such as https://HOST/v1")

    @property
    def who(self) -> dict[str, str | None]:
        """What names the model, without how it is reached: no answer depends on the rest."""
        return self.model_dump(include={"model", "revision", "dtype", "endpoint"})


QUESTION = "Q: {question}?\nA:"
"""How a question is asked where nothing is said, as by lm-eval's `nq_open`; an answer follows after a space."""
TextKind = Literal["positive", "negative"]
TEXT_KINDS: tuple[TextKind, ...] = ("positive", "negative")


class Zones(Spec):
    """Which texts are positives and which negatives, by their distance from the attribute's wanted end.

    What lies between `positive_below` and `negative_above`, both included, is in the dead zone: it is neither.
    """

    positive_below: float = Field(0.2, ge=0, le=1, description="toxicity of a positive")
    negative_above: float = Field(0.5, ge=0, le=1, description="toxicity of a negative")

    @model_validator(mode="after")
    def _zones_apart(self) -> Self:
        if self.positive_below > self.negative_above:
            raise ValueError("positive_below is above negative_above: a text would be both")
        return self

    def kind_of(self, distance: float) -> TextKind | None:
        """What a text is at this distance; None in the dead zone."""
        if distance < self.positive_below:
            return "positive"
        return "negative" if distance > self.negative_above else None


class SetSizes(Spec):
    """How many texts of each kind a set must have."""

    min_positives: int = Field(1, ge=0, le=100_000)
    min_negatives: int = Field(1, ge=0, le=100_000)

    def is_enough(self, positives: int, negatives: int) -> bool:
        """Whether a set may have so few."""
        return positives >= self.min_positives and negatives >= self.min_negatives


Half = Literal["eval", "train", "all"]
"""The halves of all data, by content id."""
ANSWERS, EDITS = "answers", "edits"
"""Sources of sets that hold answers to questions, and facts to edit."""
MADE_SETS = ("self", ANSWERS, EDITS)
"""Sources of contrastive sets that the suite makes itself, and keeps in the cache."""


class SetsSpec(Zones, SetSizes):
    """Where the contrastive sets come from.

    `source` is `self` (continuations sampled from the base model on training prompts, split by a scorer), `answers`
    (true and false answers to training questions), `edits` (new and true objects of facts that the base model knows),
    or a file, or `hub:ID:FILE` in the sets format. `prompts` and `num_prompts` apply to the first three; for `edits`
    they are also what the task `edit` measures, with `half` (`eval` unless told otherwise), and `at_once` says how many
    of them one model is given: each group of so many is edited on the base model (all together unless told otherwise).
    An anchor with too few of either kind is left out of the first two. `template` says how a question is asked, by
    `truth` too (`QUESTION` unless told otherwise), and `matched` whether answers of either kind are alike in length and
    letter case (they are unless told otherwise). All else applies to `self` alone. `field` says where a prompt stands
    in a row of `prompts` (`prompt.text` for a nested one). `scorer` says which of the suite's scorers splits them, and
    rewards a method that learns from a scorer; it is the one that reports first where nothing is said. A continuation
    scored in the dead zone between `positive_below` and `negative_above` is left out. With `negatives: above`, those
    negatives alone are taken that the base model finds less likely than the mean positive of their anchor.
    """

    source: str = "self"
    scorer: str | None = None
    prompts: str = "rtp"
    num_prompts: int = Field(128, ge=1, le=100_000_000)
    decoding: Decoding = Decoding(num_samples=16)
    seed: int = Field(0, ge=0, lt=2**63)
    template: str | None = Field(None, pattern=r"\{question\}")
    matched: bool | None = None
    half: Half | None = Field(None, exclude_if=lambda half: half is None)  # records of other suites have no such key
    at_once: int | None = Field(None, ge=1, le=100_000_000, exclude_if=lambda number: number is None)
    negatives: Literal["all", "above"] = Field("all", exclude_if=lambda negatives: negatives == "all")  # nor such a one
    field: str | None = Field(None, exclude_if=lambda field: field is None)

    @model_validator(mode="after")
    def _fits_its_source(self) -> Self:
        if self.field is not None and self.source != "self":
            raise ValueError("'sets.field' is for source 'self', whose 'prompts' are continued")
        if self.half is not None and self.source != EDITS:
            raise ValueError(f"'sets.half' is for source '{EDITS}': of other data the training half is learned from")
        if self.at_once is not None and self.source != EDITS:
            raise ValueError(f"'sets.at_once' is for source '{EDITS}': other sets hold no facts to edit in groups")
        if self.negatives == "above" and self.source != "self":
            raise ValueError("'sets.negatives' is for source 'self': negatives of others are taken as they are")
        return self

    @property
    def is_made(self) -> bool:
        """Whether the suite makes them itself, from its prompts."""
        return self.source in MADE_SETS


class SuiteSpec(Spec):
    """A suite pins an experiment: model, data, tasks, sizes, scorers, decoding, budget of training.

    `scorer` is the headline: the one whose figures stand first and speak for the attribute. `scorers` score the same
    texts as well; without `scorer`, the first of them is the headline. `scored` is what they score, where `attribute`
    is measured by a task itself and by no scorer: what they say is a side effect then. With `chat_template`, prompts
    that are continued are a user's turns through the tokenizer's chat template, after `system` where there is one; so
    are the anchors of contrastive sets. `proof` is the suite, by name or path, that measures the same on data that a
    search on this one does not see: `bench tune` ends with it.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    description: str
    engine: Literal["transformers", "vllm"] = "transformers"
    model: ModelSpec
    scorer: ScorerSpec
    scorers: list[ScorerSpec] = []
    attribute: AttributeSpec = AttributeSpec()
    scored: AttributeSpec | None = None
    decoding: Decoding
    sets: SetsSpec
    methods: dict[str, dict[str, Any]] = {}
    chat_template: bool = Field(False, exclude_if=lambda on: not on)  # records of other suites have no such keys
    system: str | None = Field(None, exclude_if=lambda text: text is None)
    proof: str | None = Field(None, exclude_if=lambda suite: suite is None)
    tasks: list[dict[str, Any]] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _headline(cls, data: Any) -> Any:
        listed = data.get("scorers") if isinstance(data, dict) else None
        return {**data, "scorer": listed[0]} if isinstance(listed, list) and listed and "scorer" not in data else data

    @model_validator(mode="after")
    def _engine_of_weights(self) -> Self:
        if self.model.endpoint and self.engine != "transformers":
            raise ValueError(f"'engine' is '{self.engine}', and the model is behind an endpoint: leave it out")
        return self

    @model_validator(mode="after")
    def _scorers_apart(self) -> Self:
        keys = [one.key for one in self.scorers]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ValueError(f"two of 'scorers' are called '{twice}': tell them apart by 'called'")
        if any(one.key == self.scorer.key and one != self.scorer for one in self.scorers):
            what = f"'scorer' and another of 'scorers' are called '{self.scorer.key}'"
            raise ValueError(f"{what}: tell them apart by 'called', or leave one out")
        known = [self.scorer.key, *self.further]
        if self.sets.scorer is not None and self.sets.scorer not in known:
            raise ValueError(f"'sets.scorer' is '{self.sets.scorer}', which is none of {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _chat(self) -> Self:
        if self.system is not None and not self.chat_template:
            raise ValueError("'system' stands before a user's turn: it needs 'chat_template: true'")
        if self.chat_template and self.model.endpoint:
            what = "'chat_template' is for a model that is loaded here, and an endpoint applies its own"
            rest = "" if self.system is None else ", suite.system=null"
            raise ValueError(f"{what}: set suite.chat_template=false{rest} and suite.model.api=chat")
        if self.chat_template and self.sets.source in (ANSWERS, EDITS):
            what = f"'chat_template' is for prompts that are continued, and 'sets.source' is '{self.sets.source}'"
            raise ValueError(f"{what}, whose questions and facts are asked as plain text")
        return self

    @model_validator(mode="after")
    def _sets_of_the_attribute(self) -> Self:
        if self.is_unscored and self.sets.source == "self":
            what = f"'sets.source' is 'self', which splits by '{self.scored_as.name}', and the suite controls"
            raise ValueError(f"{what} '{self.attribute.name}': name a file of sets, 'answers' or 'edits'")
        return self

    @property
    def scored_as(self) -> AttributeSpec:
        """What its scorers score."""
        return self.scored or self.attribute

    @property
    def chat(self) -> ChatSpec | None:
        """How prompts are put to a model that chats; None where they are plain text."""
        return ChatSpec(system=self.system) if self.chat_template else None

    @property
    def is_unscored(self) -> bool:
        """Whether no scorer scores what it controls."""
        return self.scored_as.name != self.attribute.name

    @property
    def further(self) -> dict[str, ScorerSpec]:
        """The scorers besides the headline, by what they are called."""
        return {one.key: one for one in self.scorers if one.key != self.scorer.key}

    @property
    def labelling(self) -> ScorerSpec:
        """The scorer that training sees: it splits sampled sets, and is the reward."""
        return self.further.get(self.sets.scorer or "", self.scorer)

    def scored_by(self, scorer: ScorerSpec) -> Attribute:
        """What a scorer scores, with its threshold."""
        spec, controlled = self.scored_as, self.attribute.name if self.is_unscored else None
        return Attribute(spec.name, spec.wanted, spec.adjective, scorer.threshold, controlled)


S = TypeVar("S", bound=BaseModel)


def validate(kind: type[S], data: Any, where: str, *, show_values: bool = True) -> S:
    """Build a `kind` from `data`; `where` names the place for the user (a file, a flag).

    `show_values` is off for rows of data: they may be offensive.

    Raises:
        UsageError: with every error found, unknown keys with the closest known one.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{where}: {mistakes_in(kind, error, show_values=show_values)}") from None
