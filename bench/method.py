"""What a method is: a way to edit a language model or its decoding."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from bench.assets.base_results import NOTHING_KEPT, BaseResults
from bench.progress import SILENT, Progress
from bench.spec import Spec

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bench.engine.memory import Footprint
    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

_OF_WEIGHTS = ("none", "fine-tuning", "weights")
"""Kinds of methods whose policies are one set of weights."""
TRAINING_LOG = "training.json"
"""A file that a method may leave in its artifact, or in the folder of each of its parts; it goes into the record.

A list with a mapping for each step of training: `loss` and, for texts of the sets, `phi_positives`, `phi_negatives`.
"""
Unwanted = Callable[[Sequence[str]], list[float | None]]
"""From texts to how far each is from the wanted end of the suite's attribute, in [0, 1]; None where it has no score."""
Leave = Callable[[Path], dict[str, Any]]
"""Leaves an artifact in an empty folder, and returns figures about its making (JSON values)."""
TOXIC = (
    "toxicity",
    "severe_toxicity",
    "obscene",
    "threat",
    "insult",
    "identity_attack",
    "sexual_explicit",
    "profanity",
)
"""Attributes that a text about toxicity is about, as scorers call them."""
APPLY: dict[str, Any] = {"stage": "apply"}
"""`json_schema_extra` of an option that matters only when the artifact is applied, so that preparing it is shared."""
REPLACES = "replaces"
"""The key in `json_schema_extra` under which an option names another that does not count where it has a value."""


@dataclass(frozen=True)
class Departure:
    """Where a method does not do what its authors' paper or code does.

    Attributes:
        published: What the authors do.
        here: What is done here.
        why: The reason.
    """

    published: str
    here: str
    why: str


@dataclass(frozen=True)
class Range:
    """The values between two ends, both included, that `bench tune` searches an option over.

    Attributes:
        low: The lower end.
        high: The upper end.
        log: Whether factors count and not differences, as for a learning rate; the ends are above 0 then.
        whole: Whether the values are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        if not self.low <= self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self} is no range")

    def __str__(self) -> str:
        """For people."""
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Layers:
    """The layers of a model, in a part of its depth, that `bench tune` searches an option over.

    Attributes:
        low: Where the part begins: 0 is the first layer, 1 the last.
        high: Where it ends.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse what is no part of a model."""
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"{self} is no part of a model's depth")

    def __str__(self) -> str:
        """For people."""
        return f"layers, {100 * self.low:g} to {100 * self.high:g} % of the depth"

    def of(self, count: int) -> Range:
        """The layers of a model that has so many, from 0."""
        return Range(round(self.low * (count - 1)), round(self.high * (count - 1)), whole=True)


Searched = Range | Layers | tuple[bool | int | float | str, ...]
"""What an option is searched over: a range, layers, or these values."""


@dataclass(frozen=True)
class MethodInfo:
    """What a method says of itself.

    Attributes:
        name: Its name on the command line.
        kind: `none`, `fine-tuning`, `decoding-time`, `representation`, `weights`, `prompt` or `straw man` (it edits
            nothing that is read, and says something else).
        summary: One line.
        paper: Where it comes from.
        needs_sets: Whether it learns from contrastive sets; they are refused to one that does not.
        speaks_of: The attributes that the texts which it comes with are about (`TOXIC`), the first in general. It is
            refused where a suite controls another and nobody has set its `texts`.
        texts: The options that hold these texts; none where they cannot be set.
        prefixes: Whether it puts a text of its own before the prompt: it is refused where prompts are a user's turns.
        edits_facts: Whether it edits single facts: each of its sets names the subject of one. It is refused where the
            suite makes other sets.
        needs_scorer: Whether it learns from the suite's scorer (as a reward), or chooses by it; no other is given it.
        chooses: Whether all that it does is to choose among whole continuations: likelihoods are then the base's.
        inputs: Options that name a model (`model`) or an adapter (`adapter`) to read: a folder, or a hub id with an
            optional revision (`OWNER/NAME@REV`). The harness finds or fetches them; their content is part of the keys.
        quantised: Whether the base model's weights may be quantised; False where it changes them itself.
        stacks: Whether its edit may lie under another method's or on it (`bench.run.stack`); False where it puts
            another model in the base's place. The base itself and straw men are in no stack.
        lies_below: Whether another's edit may lie on its own; False where its policy is more than `base.model`, edited
            (it reads prefixes as well, or keeps count of what was read), and it comes last in a stack. No method that
            decodes lies below another.
        extras: The optional dependencies that it needs (names of this package's extras).
        seeded: Whether preparing it depends on the seed (the order of texts, weights that begin at random). One run of
            such a method is one training, which says nothing of how much another would differ. False only where every
            seed leaves the same artifact.
        variant: The option whose value names its form: what is printed of the method always says it, be it the default.
        strength: The option that moves it from the base (0) to the full edit (and beyond), or None.
        strengths: Values of it worth a point on the way from the base, the most telling first; `bench sweep` takes them
            before its own choice.
        departures: Where it does not do as published.
    """

    name: str
    kind: str
    summary: str
    paper: str
    needs_sets: bool = False
    speaks_of: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    prefixes: bool = False
    edits_facts: bool = False
    needs_scorer: bool = False
    chooses: bool = False
    inputs: Mapping[str, Literal["model", "adapter"]] = field(default_factory=dict)
    quantised: bool = True
    stacks: bool = True
    lies_below: bool = True
    extras: tuple[str, ...] = ()
    seeded: bool = True
    variant: str | None = None
    strength: str | None = None
    strengths: tuple[float, ...] = ()
    search: Mapping[str, Searched] = field(default_factory=dict)
    departures: tuple[Departure, ...] = ()


@dataclass(frozen=True)
class RunContext:
    """What a method is given besides the model and the sets.

    Attributes:
        folder: An empty folder; what the method leaves there is the artifact.
        seed: The training seed.
        progress: Where to report.
        inputs: Folder of each model or adapter that the method's options name, by option.
        unwanted: The suite's scorer (toxicity, where that is controlled), for a method that declares that it needs one.
        points: For a method that declares `along`: steps of its training before the last. After each the method calls
            what stands here with what leaves its artifact as it is then.
        shared: Where facts are edited in groups, what the method keeps from one group for the next: it is asked with
            the same base model, options and seed each time, and with other sets.
        base_results: Keeps what a method computes of the base model alone, for other runs.
    """

    folder: Path
    seed: int = 0
    progress: Progress = SILENT
    inputs: Mapping[str, Path] = field(default_factory=dict)
    unwanted: Unwanted | None = None
    points: Mapping[int, Callable[[Leave], None]] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    base_results: BaseResults = NOTHING_KEPT


@dataclass(frozen=True)
class Artifact:
    """What preparing a method left on disk.

    Attributes:
        path: Its folder.
        hash: SHA-256 (hex) over its content; the same seed gives the same bytes.
        facts: Figures about its making for the record (steps, trained tokens, trainable parameters, ...).
        inputs: Folder of each model or adapter that the method's options name, by option.
        unwanted: As of `RunContext`, for a method that chooses by the scorer when it is applied.
        parts: Of stacked methods, the artifact of each, by its name; `path` is the folder that these lie in.
        groups: Of facts that are edited in groups, each group with the artifact that holds it; `path` is the folder
            that these lie in.
    """

    path: Path
    hash: str
    facts: dict[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)
    unwanted: Unwanted | None = None
    parts: "Mapping[str, Artifact]" = field(default_factory=dict)
    groups: "Sequence[Group]" = ()

    @property
    def each(self) -> "Sequence[Artifact]":
        """The artifacts that lie on the disk: its parts, or itself."""
        return list(self.parts.values()) or [self]


@dataclass(frozen=True)
class Group:
    """Facts that are edited together, and alone, by their prompts; and the artifact that holds them."""

    prompts: tuple[str, ...]
    artifact: Artifact


C = TypeVar("C", bound=Spec)


class Method(ABC, Generic[C]):
    """A way to edit a model. One instance carries one configuration.

    Attributes:
        info: What it says of itself.
        Config: Its options; unknown ones are refused.
        along: The option that says after which step its training ends, in place of the last (null). Such a method can
            be measured along one training: it heeds `RunContext.points`, and its facts say the `steps` that it took.
    """

    info: ClassVar[MethodInfo]
    Config: ClassVar[type[Spec]]
    along: ClassVar[str | None] = None

    def __init__(self, config: C) -> None:
        """Take a configuration; nothing is loaded yet."""
        self.config = config

    def check(self, base: Path, inputs: Mapping[str, Path]) -> None:
        """Find out before any work whether the options fit the base model.

        Args:
            base: The base model's folder; nothing of it is in memory yet.
            inputs: Folder of each model or adapter that the options name, by option.

        Raises:
            BenchError: they do not.
        """

    def not_exportable(self, base: Path) -> str | None:
        """Why its policy is not one set of weights of the model in a folder, or None where it is."""
        del base
        if self.info.kind in _OF_WEIGHTS:
            return None
        return f"a method of the kind {self.info.kind} is not one set of weights"

    def memory(self, base: "Footprint") -> int:
        """Bytes that preparing takes on a GPU beside the base model's weights, about; 0 where it is next to nothing."""
        del base
        return 0

    @abstractmethod
    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Make the artifact in `ctx.folder` and return figures about its making (JSON values).

        The base model is left as it was found. Raises `MissingError` where `sets` lack what the method learns from.
        """

    @abstractmethod
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "AbstractContextManager[Policy]":
        """Yield the edited model; the base model is restored, bit for bit, when the block ends."""

    @classmethod
    def steps_of(cls, config: C) -> int | None:
        """The steps of a whole training by a configuration; None where there are none, or they follow from the sets."""
        del config
        return None

    @classmethod
    def prepared_by(cls, config: Spec) -> dict[str, Any]:
        """The options that decide the artifact: all but those of the stage `apply`."""
        extras = {name: info.json_schema_extra for name, info in cls.Config.model_fields.items()}
        return {name: value for name, value in config.model_dump().items() if extras[name] != APPLY}
