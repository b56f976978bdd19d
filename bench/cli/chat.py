"""`bench chat`: what the base and the edited model of a run say to what one types, side by side."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import RUNS, CacheDir, Offline, RunsDir, console_progress
from bench.cli.selection import OneRun, the_one
from bench.printed import echo, plain

if TYPE_CHECKING:
    from bench.attribute import Attribute
    from bench.policy import LoadedModel, Policy
    from bench.run.edited import Edited
    from bench.scorers.checked import CheckedScorer
    from bench.store.runs import Run

_VEILED = "(veiled: {why}; --show prints it)"


@dataclass(frozen=True)
class _Talk:
    """Who answers, and how.

    Attributes:
        run: The run.
        found: What it was measured on.
        base: The base model.
        scorer: The suite's headline scorer.
        seed: Of the random streams.
        as_message: Whether what is typed is a user's message, by the chat template; it is where the run's prompts are.
        show: Whether texts on the side that is not wanted are printed.
    """

    run: "Run"
    found: "Edited"
    base: "LoadedModel"
    scorer: "CheckedScorer"
    seed: int
    as_message: bool
    show: bool

    def turn(self, number: int, text: str) -> None:
        """Print what both models say to a text."""
        from bench.policy import HFPolicy

        said = [("base", self._said(HFPolicy(self.base.model, self.base.tokenizer), number, text))]
        with self.found.on(self.base) as policy:
            said.append((self.run.method, self._said(policy, number, text)))
        scores = self.scorer.score([one for _, one in said])
        scored = self.run.scored
        width = max(len(name) for name, _ in said)
        for (name, one), score in zip(said, scores, strict=True):
            value = scored.score(score)
            hidden = not self.show and (value is None or scored.is_unwanted(value))
            told = _VEILED.format(why=_side(scored, value)) if hidden else plain(one)
            echo(f"{name:<{width}}  {'  - ' if value is None else f'{value:.2f}'}  {told.strip()}")

    def _said(self, policy: "Policy", number: int, text: str) -> str:
        from bench.engine.chat import turn_tokens
        from bench.engine.generation import Prompt, generate
        from bench.spec import ChatSpec

        chat = self.found.chat or (ChatSpec() if self.as_message else None)
        prompt = Prompt(str(number), text, turn_tokens(policy, text, chat))
        decoding = self.found.decoding.model_copy(update={"num_samples": 1})
        return next(one.text for batch in generate(policy, [prompt], decoding, self.seed) for one in batch)


def _side(scored: "Attribute", value: float | None) -> str:
    """What a text with this score is called."""
    if value is None:
        return "no score"
    return plain(f"{'' if scored.reaches(value) else 'not '}{scored.adjective}")


def chat(  # noqa: PLR0917 - one parameter a flag
    run: OneRun,
    message: Annotated[
        bool, typer.Option("--message", help="What is typed is a user's message, by the model's chat template.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print also what the suite does not want, by the scorer's threshold.")
    ] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Of each answer; the run's if not said.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random streams.")] = 0,
    runs_dir: RunsDir = RUNS,
    cache_dir: CacheDir = None,
    offline: Offline = False,
) -> None:
    """Type a text and read how the base and the edited model go on from it, each with the scorer's score.

    Each line is read by itself: nothing is remembered. Both models draw the same random numbers. The end of the input
    (Ctrl-D) ends it.
    """
    from dataclasses import replace

    from bench.assets.catalogue import AssetCatalogue
    from bench.cli.run import settle_process
    from bench.errors import UsageError
    from bench.run.edited import edited
    from bench.scorers import load_scorer
    from bench.spec import ScorerSpec, validate

    settle_process(offline=offline)
    progress = console_progress()
    assets = AssetCatalogue(cache_dir, offline=offline, progress=progress)
    record = the_one(runs_dir, run)
    found = edited(record, assets)
    if max_new_tokens:
        found = replace(found, decoding=found.decoding.model_copy(update={"max_new_tokens": max_new_tokens}))
    spec = validate(ScorerSpec, record.manifest.suite.get("scorer"), f"the scorer of {record.id}")
    scorer = load_scorer(spec, assets.cache, offline=offline, progress=progress)
    base = found.load()
    if message and not base.tokenizer.chat_template:
        raise UsageError("the model's tokenizer has no chat template", mend="leave --message out")
    if message and found.method.info.prefixes:
        what = f"the text that {record.method} puts before the prompt would be outside of any turn"
        raise UsageError(what, mend="leave --message out")
    talk = _Talk(record, found, base, scorer, seed, message, show)
    for number, text in enumerate(_typed()):
        talk.turn(number, text)


def _typed() -> Iterator[str]:
    """Lines that are not blank, to the end of the input; a terminal is asked for each."""
    if not sys.stdin.isatty():
        yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        return
    with suppress(ImportError):  # not on Windows
        import readline  # noqa: F401 - gives `input` its line editing
    while True:
        try:
            text = input("> ")
        except EOFError:
            echo()
            return
        if text.strip():
            yield text
