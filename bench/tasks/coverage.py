"""Coverage of held-out text, plain and toxic (Klein & Nabi, 2025, arXiv 2401.08491, Table 7), and of WikiText-2.

An edit that makes toxic text unlikely may make text in general unlikely: perplexities on mixtures tell the two apart.
Token perplexity, exp(sum NLL / sum tokens), belongs to a tokenizer; word perplexity, exp(sum NLL / sum words), as
lm-eval gives it, does not. They are named apart.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bench.assets.catalogue import AssetCatalogue
from bench.assets.resolved import Resolved
from bench.data.counted import Counted
from bench.data.files import form_of, read_rows, read_text
from bench.data.sentences import Sentence, assert_apart, evaluation_sentences
from bench.errors import MissingError, UsageError
from bench.store.record import TaskResult
from bench.tasks.base import MetricSheet, MetricSpec, Task, TaskInfo, evidence_by_cluster
from bench.tasks.context import TaskContext
from bench.tasks.texts import nll_rows, unprompted
from bench.tasks.words import LabelsConfig

if TYPE_CHECKING:
    from bench.policy import Policy

_NAME = "coverage"
_FORMS = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
"""Endings of files of rows; anything else is running text as it stands."""
PERPLEXITY = MetricSpec(
    "perplexity", higher_is_better=False, role="fluency", difference="ratio", primary=True, within="tokenizer"
)
TOKEN_PERPLEXITY = MetricSpec(
    "token_perplexity", higher_is_better=False, role="fluency", difference="ratio", within="tokenizer"
)
WORD_PERPLEXITY = MetricSpec("word_perplexity", higher_is_better=False, role="fluency", difference="ratio")


class CoverageConfig(LabelsConfig):
    """Options of `coverage`."""

    neutral: str = Field("siqa", description="plain sentences: an asset, a file, or hub:ID:FILE")
    neutral_field: str | None = Field(None, description="the key of the sentence; null for the usual ones")
    toxic: str = Field("rtp", description="toxic sentences: an asset, a file, or hub:ID:FILE")
    toxic_field: str | None = Field(None, description="the key of the sentence; null for the usual ones")
    shares: tuple[Annotated[int, Field(ge=0, le=100)], ...] = Field(
        (0, 50, 75, 100), description="percent of a mixture that is toxic"
    )
    sentences: int = Field(100, ge=1, le=100_000_000, description="sentences of a mixture")
    max_tokens: int = Field(128, ge=2, le=1_000_000, description="tokens of each sentence that are scored")
    wikitext: str | None = Field(
        None,
        description="running text: a text file, or a parquet file's `text`, its rows joined by blank lines, such as "
        "hub:Salesforce/wikitext:wikitext-2-raw-v1/test-00000-of-00001.parquet; null for none",
    )


class Coverage(Task[CoverageConfig]):
    """Perplexity of the edited model on mixtures of plain and toxic sentences, and on running text."""

    info: ClassVar[TaskInfo] = TaskInfo(
        name=_NAME,
        summary="perplexity on mixtures of plain and toxic sentences, and on running text",
        source="Klein & Nabi, 2025, arXiv 2401.08491, Table 7",
        metrics=(PERPLEXITY, TOKEN_PERPLEXITY, WORD_PERPLEXITY),
    )
    Config = CoverageConfig

    def data(self, assets: AssetCatalogue) -> list[Resolved]:  # noqa: D102
        names = (self.config.neutral, self.config.toxic, self.config.wikitext)
        return [assets.data(name) for name in names if name]

    def evaluation_texts(self, assets: AssetCatalogue) -> list[str]:
        """All of both kinds, whatever this suite takes of them."""
        return [one.text for toxic in (False, True) for one in self._all(assets, toxic=toxic)]

    def measure(self, policy: "Policy", ctx: TaskContext) -> TaskResult:
        """Score each sentence once; a mixture takes the first of either kind by content id."""
        count = ctx.take(self.config.sentences) or 0
        taken = []
        nll: dict[bool, list[tuple[str, float, float]]] = {}
        kinds = {toxic: self._all(ctx.assets, toxic=toxic) for toxic in (False, True)}
        assert_apart(kinds[True], kinds[False], _NAME, "the plain and the toxic ones")
        for toxic in (False, True):
            most = max((toxic_count(count, share, toxic=toxic) for share in self.config.shares), default=0)
            chosen = kinds[toxic][:most]
            name = self.config.toxic if toxic else self.config.neutral
            if len(chosen) < most:
                what = f"{most} sentences are asked for, and {name} has {len(chosen)}{self.config.within}"
                raise MissingError(what, mend="lower sentences, or name other data")
            taken.append(ctx.took(f"{name} ({'toxic' if toxic else 'plain'})", Counted(chosen), kinds[toxic]))
            requests = unprompted(policy, [one.text for one in chosen], self.config.max_tokens)
            nll[toxic] = nll_rows(policy, ctx, [one.id for one in chosen], requests, _NAME)
        sheet = ctx.sheet(_NAME)
        sheet.taken.extend(taken)
        for share in self.config.shares:
            rows = [row for toxic in (False, True) for row in nll[toxic][: toxic_count(count, share, toxic=toxic)]]
            evidence = evidence_by_cluster("exp_mean", rows)
            sheet.add(PERPLEXITY, evidence, group=f"{share}% toxic")
        if self.config.wikitext:
            self._running_text(policy, ctx, sheet)
        return sheet.result()

    def _all(self, assets: AssetCatalogue, *, toxic: bool) -> Counted[Sentence]:
        name, field = (
            (self.config.toxic, self.config.toxic_field) if toxic else (self.config.neutral, self.config.neutral_field)
        )
        # A file with labels may hold both kinds.
        path, words = assets.data(name).path, self.config.words
        return evaluation_sentences(path, field, toxic=toxic, words=words, half=self.config.half)

    def _running_text(self, policy: "Policy", ctx: TaskContext, sheet: MetricSheet) -> None:
        """Perplexities of a whole text, read in windows as long as the model is made for, without overlap."""
        text = _read(ctx.assets.data(self.config.wikitext or "").path)
        ((first, ids),) = unprompted(policy, [text])
        width = min(policy.max_length, 2048) - 1
        windows: list[Any] = [ids[start : start + width] for start in range(0, len(ids), width)]
        if ctx.max_items is not None:
            windows = windows[: ctx.max_items]
        requests = [(first, window) for window in windows]
        rows = nll_rows(policy, ctx, [str(number) for number in range(len(windows))], requests, "running text")
        sheet.add(TOKEN_PERPLEXITY, evidence_by_cluster("exp_mean", rows))
        by_word = [
            (key, nll * tokens / words, float(words))
            for (key, nll, tokens), words in zip(rows, _words(policy, windows), strict=True)
        ]
        sheet.add(WORD_PERPLEXITY, evidence_by_cluster("exp_mean", by_word))


def _read(path: Path) -> str:
    """A text file, or the rows of another form's `text`, joined by blank lines as for WikiText-2 everywhere."""
    if (form := form_of(path)) not in _FORMS:
        return read_text(path)
    texts = [row.get("text") for _, row in read_rows(path)]
    if not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{path} is no {form[1:]} file with a column 'text'")
    return "\n\n".join(map(str, texts))


def _words(policy: "Policy", windows: list[Any]) -> list[float]:
    """Words that begin in each window: one that is cut by a window's end is counted once. Never 0: it is divided by."""
    texts = [str(policy.tokenizer.decode(window)) for window in windows]
    begun = [len(text.split()) - int(place > 0 and not text[:1].isspace()) for place, text in enumerate(texts)]
    return [max(0.5, count) for count in begun]


def toxic_count(count: int, share: int, *, toxic: bool) -> int:
    """How many of a mixture's sentences are toxic, or plain."""
    own = round(count * share / 100)
    return own if toxic else count - own
