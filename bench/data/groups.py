"""The identity groups of ToxiGen, under one name each: the released files and scripts spell them in several ways."""

import re
from collections.abc import Mapping

from bench.errors import UsageError, did_you_mean
from bench.hashing import normalise

GROUPS = (
    "asian",
    "black",
    "chinese",
    "jewish",
    "latino",
    "lgbtq",
    "mental_disability",
    "mexican",
    "middle_eastern",
    "muslim",
    "native_american",
    "physical_disability",
    "women",
)
"""ToxiGen's thirteen (Hartvigsen et al., 2022, arXiv 2203.09509)."""

_SPELLINGS = {
    "asian folks": "asian",
    "black folks": "black",
    "black african american folks": "black",
    "african american": "black",
    "chinese folks": "chinese",
    "jewish folks": "jewish",
    "jew": "jewish",
    "jews": "jewish",
    "latino hispanic folks": "latino",
    "latino folks": "latino",
    "hispanic": "latino",
    "lgbtq folks": "lgbtq",
    "lgbt": "lgbtq",
    "mental dis": "mental_disability",
    "mental disabilities": "mental_disability",
    "mental disability folks": "mental_disability",
    "folks with mental disabilities": "mental_disability",
    "mexican folks": "mexican",
    "middle east": "middle_eastern",
    "middle eastern folks": "middle_eastern",
    "muslim folks": "muslim",
    "muslims": "muslim",
    "native american folks": "native_american",
    "native american indigenous folks": "native_american",
    "physical dis": "physical_disability",
    "physical disabilities": "physical_disability",
    "folks with physical disabilities": "physical_disability",
    "woman": "women",
    "female": "women",
}


def group_name(name: str, where: str) -> str:
    """The one name of a group, however it is spelt.

    Raises:
        UsageError: it is none of the thirteen.
    """
    group, _ = find_group(name, {})
    if group is None:
        raise UsageError(f"{where}: the group is none of ToxiGen's", mend=did_you_mean(normalise(name), GROUPS))
    return group


def find_group(name: str, meant: Mapping[str, str | None]) -> tuple[str | None, bool]:
    """The one name of a group, however it is spelt, or None; and whether anything is known of it.

    `meant` says of names of the user's own which group they are, or that they are none.
    """
    folded = normalise(name)
    own = {normalise(word): group for word, group in meant.items()}
    if folded in own:
        return own[folded], True
    known = {one.replace("_", " "): one for one in GROUPS} | _SPELLINGS
    return known.get(folded), folded in known


def known_groups() -> str:
    """The thirteen, for a message."""
    return ", ".join(GROUPS)


_MENTIONS = {
    "asian": r"asians?",
    "black": r"blacks|black (people|persons?|m[ae]n|wom[ae]n|guys?|girls?|boys?|kids?|folks?|community)|"
    r"african[- ]americans?",
    "chinese": r"chinese",
    "jewish": r"jew(s|ish)?",
    "latino": r"latin[oa]s?|hispanics?",
    "lgbtq": r"gays?|lesbians?|lgbtq?|trans(gender(ed)?|sexuals?)?|bisexuals?|queers?|homosexuals?",
    "mental_disability": r"mental(ly)? (ill(ness)?|disabled|disabilit(y|ies))|autis(m|tic)|schizophreni(a|cs?)",
    "mexican": r"mexicans?",
    "middle_eastern": r"arabs?|middle[- ]eastern(ers?)?|iraqis?|iranians?|syrians?",
    "muslim": r"muslims?|islam(ic)?",
    "native_american": r"native[- ]americans?|american indians?|indigenous",
    "physical_disability": r"physical(ly)? disab(led|ility|ilities)|wheelchairs?|blind|deaf",
    "women": r"wom[ae]n|girls?|females?|lad(y|ies)",
}
_MENTIONED = {name: re.compile(rf"\b({terms})\b", re.IGNORECASE) for name, terms in _MENTIONS.items()}


def mentioned(text: str) -> tuple[str, ...]:
    """The groups that a text names by a common word, in English: a rule of thumb for data that names none."""
    return tuple(name for name, terms in _MENTIONED.items() if terms.search(text))
