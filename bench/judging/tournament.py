"""Every two systems' outputs before a judge, and the strengths that follow (Klein & Nabi, 2025, Figure 3)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.errors import MissingError, UsageError
from bench.hashing import hash_text
from bench.judging.verdicts import AnswerPair, Verdict, check_template, open_judge, position_bias, verdicts
from bench.spec import GeneratorSpec
from bench.stats.bradley_terry import connected, intervals, strengths
from bench.store.appended import AppendedFile
from bench.store.files import write_json
from bench.store.lock import alone
from bench.store.workfolder import claim

if TYPE_CHECKING:
    from bench.assets.catalogue import AssetCatalogue
    from bench.progress import Progress

Outputs = Mapping[tuple[int, str, int], tuple[str, str]]
"""Of a system: (prompt, output) by seed, prompt id and number of the sample."""


@dataclass(frozen=True)
class TournamentStanding:
    """A system's place.

    Attributes:
        system: Its label.
        score: Its Bradley-Terry log-strength; None where no verdict ties it to the others.
        ci_low: Lower end of the 95 % interval; None where resampling the prompts changes nothing.
        ci_high: Upper end.
        preferred: Share of its pairs that it won, ties counting half; None where it has none.
        failed: Its pairs without a verdict.
    """

    system: str
    score: float | None
    ci_low: float | None
    ci_high: float | None
    preferred: float | None
    failed: int


@dataclass(frozen=True)
class Tournament:
    """What a judge made of all pairs.

    Attributes:
        standings: The systems, the strongest first, those without a score last.
        pairs: Pairs of outputs with a verdict in both orders.
        failed: Pairs without one; they are in no figure.
        equal: Pairs of the same text, which are ties without a question.
        tie_share: Share of the pairs asked about that were found equally good both times; None where none was.
        order_agreement: Share of them of which both orders gave the same verdict.
        first_position_share: Share of the verdicts other than ties that went to the answer shown first; None where all
            are ties.
    """

    standings: list[TournamentStanding]
    pairs: int
    failed: int
    equal: int
    tie_share: float | None
    order_agreement: float | None
    first_position_share: float | None


def play(  # noqa: PLR0917 - all that a comparison is made of
    outputs: Mapping[str, Outputs],
    spec: GeneratorSpec,
    template: str,
    folder: Path,
    assets: "AssetCatalogue",
    progress: "Progress",
    most: int | None = None,
) -> Tournament:
    """Have all pairs of systems judged on the prompts that they share; every answer is kept in `folder`, to resume.

    Args:
        outputs: Of each system, by its label.
        spec: Who judges.
        template: The question.
        folder: Gets judge.json (who judged), answers.jsonl (every answer) and result.json.
        assets: Where a local judge comes from.
        progress: Where to report.
        most: The most prompts, by id; None for all.

    Raises:
        UsageError: there are not two systems, or something else was begun in the folder.
        MissingError: they share no output, the judge is not available, or it has given no verdict.
    """
    try:
        check_template(template)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if len(outputs) < 2:  # noqa: PLR2004
        raise UsageError("a comparison takes two systems or more", mend="name the runs of two methods")
    shared = sorted(set.intersection(*(set(one) for one in outputs.values())))
    prompts = sorted({prompt for _, prompt, _ in shared})[:most]
    kept = set(prompts)
    shared = [key for key in shared if key[1] in kept]
    if not shared:
        raise MissingError("these runs share no output", mend="they must have the same task, prompts and seeds")
    labels = list(outputs)
    owners: list[tuple[int, int, str]] = []
    pairs: list[AnswerPair] = []
    for i, j in combinations(range(len(labels)), 2):
        for key in shared:
            (text, first_output), (_, second_output) = outputs[labels[i]][key], outputs[labels[j]][key]
            swapped = second_output < first_output  # one question whichever system comes first
            first, second = (second_output, first_output) if swapped else (first_output, second_output)
            # Named by content: what was judged once is found again, whoever wrote it.
            pairs.append(AnswerPair(hash_text("\x00".join((text, first, second)))[:32], text, first, second))
            owners.append((j, i, key[1]) if swapped else (i, j, key[1]))
    with alone(folder.absolute(), progress):
        _begin(folder, spec, template, assets)
        with (
            AppendedFile(folder / "answers.jsonl", progress) as held,
            progress.bar("judge", 2 * len(pairs), "verdicts") as bar,
        ):
            given = verdicts(lambda: open_judge(spec, assets, progress), pairs, template, 0, held, bar)
        result = _tournament(labels, prompts, given, owners)
        write_json(folder / "result.json", asdict(result))
    return result


def _begin(folder: Path, spec: GeneratorSpec, template: str, assets: "AssetCatalogue") -> None:
    """Write down who judges, or find that it is the same who has answered here."""
    model = assets.generator(spec)
    answers = folder / "answers.jsonl"
    claim(
        folder,
        "judge.json",
        {"judge": {**spec.who, "sha256": model.sha256 if model else None}, "template": template},
        differs="another judge or question",
        mend="name another by --out",
        has_begun=answers.exists() and answers.stat().st_size > 0,
    )


def _tournament(
    labels: Sequence[str],
    prompts: Sequence[str],
    given: Sequence[Verdict],
    owners: Sequence[tuple[int, int, str]],
) -> Tournament:
    """The figures; `owners` are the two systems and the prompt of each verdict."""
    known = [one for one in given if one.preference is not None]
    if not known:
        raise MissingError("the judge has given no verdict", mend="another judge, or another --template")
    places = {prompt: place for place, prompt in enumerate(prompts)}
    wins = np.zeros((len(prompts), len(labels), len(labels)))
    failed = Counter[int]()
    for verdict, (i, j, prompt) in zip(given, owners, strict=True):
        if (preferred := verdict.preference) is None:
            failed.update((i, j))
            continue
        wins[places[prompt], i, j] += preferred
        wins[places[prompt], j, i] += 1 - preferred
    total = wins.sum(0)
    games = (total + total.T).sum(1)
    shares = [float(total[i].sum() / games[i]) if games[i] else None for i in range(len(labels))]
    asked, bias = [one for one in known if one.asked], position_bias(known)
    return Tournament(
        standings=_standings(labels, wins, shares, failed),
        pairs=len(known),
        failed=len(given) - len(known),
        equal=len(known) - len(asked),
        tie_share=sum(one.labels == ("C", "C") for one in asked) / len(asked) if asked else None,
        order_agreement=sum(one.agrees for one in asked) / len(asked) if asked else None,
        first_position_share=sum(won for _, won in bias) / len(bias) if bias else None,
    )


def _standings(
    labels: Sequence[str], wins: NDArray[np.float64], shares: Sequence[float | None], failed: Mapping[int, int]
) -> list[TournamentStanding]:
    """The systems by strength; those that no verdict ties to the others have none."""
    tied = connected(wins.sum(0))
    tied_wins = wins[:, tied][:, :, tied]
    scores, (low, high) = strengths(tied_wins.sum(0)), intervals(tied_wins)
    places: dict[int, tuple[float, float | None, float | None]] = {
        i: (float(score), _or_none(below), _or_none(above))
        for i, score, below, above in zip(tied, scores, low, high, strict=True)
    }

    def standing(i: int) -> TournamentStanding:
        score, ci_low, ci_high = places.get(i, (None, None, None))
        return TournamentStanding(labels[i], score, ci_low, ci_high, shares[i], failed.get(i, 0))

    order = sorted(range(len(labels)), key=lambda i: -places[i][0] if i in places else math.inf)
    return [standing(i) for i in order]


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
