"""The identity groups of ToxiGen, under one name each: the released files and scripts spell them in several ways."""

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
    folded = normalise(name)
    known = {one.replace("_", " "): one for one in GROUPS} | _SPELLINGS
    if folded not in known:
        raise UsageError(f"{where}: the group is none of ToxiGen's", mend=did_you_mean(folded, GROUPS))
    return known[folded]
