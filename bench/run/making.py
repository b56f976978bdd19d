"""What training reads beside the base model: contrastive sets that a suite makes itself, and the scorer's reward."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.assets.kept import kept
from bench.assets.resolved import ChangedError
from bench.data.answers import load_questions
from bench.data.counted import BEYOND, NONE_ABOVE, TOO_FEW, Counted
from bench.data.edits import load_cases
from bench.data.prompts import ToxicityPrompt, load_prompts
from bench.data.splits import halved
from bench.errors import MissingError
from bench.progress import note_once
from bench.sets import save_sets
from bench.sets.answered import answered_set, training_questions
from bench.sets.edited import edited_set, known_cases
from bench.sets.format import TAKEN
from bench.spec import ANSWERS, EDITS
from bench.store.files import write_json
from bench.store.leftovers import drop

# Bundles of inputs, for the type checker alone: sets do not follow from the code of these, and keys follow imports.
if TYPE_CHECKING:
    from bench.assets.resolved import Resolved
    from bench.run.environment import Environment
    from bench.run.phases import Phases
    from bench.scorers.checked import CheckedScorer
    from bench.sets import ContrastiveSet
    from bench.spec import SuiteSpec


def parts_of(path: Path) -> Path:
    """The file beside a folder of sets that keeps what was sampled for them until they are made."""
    return path.with_name(f"{path.name}.parts.jsonl")


def make_sets(path: Path, env: "Environment", phases: "Phases", source: "Resolved") -> None:
    """Make the suite's contrastive sets from a file, into a new folder.

    Raises:
        ChangedError: the file was changed since it was hashed; no sets are left then.
    """
    makers = {ANSWERS: _of_answers, EDITS: _of_edits, "self": _sample}
    makers[env.suite.sets.source](path, env, phases)
    try:
        env.assets.assert_unchanged(source)
    except ChangedError:
        drop(path)
        parts_of(path).unlink(missing_ok=True)
        raise


def _of_answers(path: Path, env: "Environment", phases: "Phases") -> None:
    """Make sets of the true and false answers to training questions."""
    spec = env.suite.sets
    with phases.phase("sets", "prepare"), kept(path) as made:
        questions = training_questions(load_questions(env.assets.data(spec.prompts).path), spec)
        provenance = {"source": ANSWERS, "questions": spec.prompts, "matched": spec.matched}
        save_sets(made / "sets.jsonl", [answered_set(one, spec, provenance) for one in questions])
        write_json(made / TAKEN, questions.facts(spec.prompts))
    note_once(env.progress, f"contrastive sets: {questions.line(spec.prompts)}")


def _of_edits(path: Path, env: "Environment", phases: "Phases") -> None:
    """Make sets of facts that the base model knows."""
    spec = env.suite.sets
    with phases.phase("sets", "prepare"), kept(path) as made:
        every = load_cases(env.assets.data(spec.prompts).path)
        cases = known_cases(env.base_policy, every, spec.half or "eval", spec.num_prompts)
        provenance = {"source": EDITS, "facts": spec.prompts}
        save_sets(made / "sets.jsonl", [edited_set(case, provenance) for case in cases])
        write_json(made / TAKEN, cases.facts(spec.prompts))
    note_once(env.progress, f"contrastive sets: {cases.line(spec.prompts)}")


def training_prompts(env: "Environment") -> Counted[ToxicityPrompt]:
    """The prompts that the base model continues for the suite's sets.

    Raises:
        BenchError: they cannot be read.
    """
    spec = env.suite.sets
    whole = load_prompts(env.assets.data(spec.prompts).path, field=spec.field)
    half = halved(whole, "train")
    return half.keep(half[: spec.num_prompts], BEYOND)


def _sample(path: Path, env: "Environment", phases: "Phases") -> None:
    """Let the base model write the sets; what was sampled before is used."""
    from bench.sets.own import generate_sets

    suite = env.suite
    spec = suite.sets
    prompts = training_prompts(env)
    provenance = {
        "source": "self",
        "generator": suite.model.id,
        "scorer": env.labelling.identity.name,
        "seed": spec.seed,
    }
    parts = parts_of(path)
    begun = parts.exists() and parts.stat().st_size > 0
    with phases.phase("sets", "prepare") as noted, kept(path) as made:
        sets = generate_sets(
            env.base_policy,
            prompts,
            env.labelling,
            spec,
            provenance,
            env.progress,
            parts=parts,
            attribute=suite.scored_by(suite.labelling),
            chat=suite.chat,
        )
        used = prompts.keep(_with(sets, prompts), TOO_FEW)
        counts: dict[str, int] = {}
        if spec.negatives == "above":
            sets, counts = _above_alone(sets, env)
            used = used.keep(_with(sets, used), NONE_ABOVE)
        noted["tokens"] = len(prompts) * spec.decoding.num_samples * spec.decoding.max_new_tokens
        save_sets(made / "sets.jsonl", sets)
        write_json(made / TAKEN, {**used.facts(spec.prompts), **({"negatives": counts} if counts else {})})
    phases.done[-1] = phases.done[-1].model_copy(update={"partial": begun})
    told = "; {above} of {sampled} negatives are above c".format(**counts) if counts else ""
    note_once(env.progress, f"contrastive sets: {used.line(spec.prompts)}{told}")


def _with(sets: "Sequence[ContrastiveSet]", prompts: "Sequence[ToxicityPrompt]") -> "list[ToxicityPrompt]":
    """The prompts that there is a set of."""
    anchors = {one.anchor for one in sets}
    return [prompt for prompt in prompts if prompt.text in anchors]


def _above_alone(sets: "Sequence[ContrastiveSet]", env: "Environment") -> "tuple[list[ContrastiveSet], dict[str, int]]":
    """The sets with enough negatives above c, with these alone, and how many negatives are left.

    Raises:
        MissingError: no set has enough of them.
    """
    from bench.engine.chat import as_read
    from bench.sets.above import negatives_above

    spec, policy = env.suite.sets, env.base_policy
    anchors = [as_read(one.anchor, policy.tokenizer, env.suite.chat) for one in sets]
    made = negatives_above(policy, sets, anchors, env.progress)
    left = [one for one in made if one.negatives and spec.is_enough(len(one.positives), len(one.negatives))]
    if not left:
        what = f"none of {len(sets)} sets has a negative that the base model finds less likely than its positives"
        raise MissingError(what, mend="sample more (--set suite.sets.num_prompts=N), or --set suite.sets.negatives=all")
    counts = {
        "sampled": sum(len(one.negatives) for one in sets),
        "above": sum(len(one.negatives) for one in left),
    }
    return left, counts


def unwanted(suite: "SuiteSpec", scorer: "Callable[[], CheckedScorer]", texts: Sequence[str]) -> list[float | None]:
    """How far each text is on the unwanted side of the suite's attribute; None where it has no score.

    Args:
        suite: The suite.
        scorer: Loads the scorer that training sees, once; not called before the first text is scored.
        texts: The texts.
    """
    attribute = suite.scored_by(suite.labelling)
    scores = [attribute.score(scores) for scores in scorer().score(texts)]
    return [None if score is None else attribute.distance(score) for score in scores]
