"""Prompts that a suite makes its sets of and measures on too: found before anything is sampled."""

from typing import TYPE_CHECKING

from bench.data.answers import load_questions
from bench.data.splits import overlap
from bench.errors import UsageError
from bench.hashing import content_id
from bench.run.making import training_prompts
from bench.sets.answered import training_questions
from bench.spec import QUESTION

if TYPE_CHECKING:
    from bench.run.environment import Environment


def refuse_met(env: "Environment") -> None:
    """Refuse a suite that makes its contrastive sets of what its tasks measure on.

    Which facts the base model knows is known when it is loaded: sets of these are looked at when they are made.

    Args:
        env: Has the suite and its data.

    Raises:
        UsageError: it does.
        BenchError: the prompts cannot be read.
    """
    spec = env.suite.sets
    texts = [one.text for one in training_prompts(env)] if spec.source == "self" else []
    if spec.source == "answers":
        questions = training_questions(load_questions(env.assets.data(spec.prompts).path), spec)
        texts = [one.asked(spec.template or QUESTION) for one in questions]
    if not texts or not (met := overlap(texts, env.held_out)):
        return
    first = next(place for place, text in enumerate(texts) if content_id(text) in met)
    what = (
        f"suite '{env.suite.name}' makes its sets of {len(texts)} prompts, and its tasks measure on {len(met)} of them"
    )
    mend = f"--set suite.sets.num_prompts={first}, or more for 'skip' of its tasks"
    raise UsageError(what, mend=f"say {mend}" if first else "let its tasks take other data")
