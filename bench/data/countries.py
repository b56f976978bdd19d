"""Facts about countries as CounterFact's rows: the official language, the currency and the continent of each.

An object has to be shared by several countries, or a fact has no neighbour. So capitals and demonyms are no facts here;
a capital names its country in another way. Codes are given names where at least three countries have the object alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.files import Row
from bench.errors import UsageError
from bench.hashing import content_id

_LANGUAGES = {
    "ar": "Arabic",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "pt": "Portuguese",
}
_CURRENCIES = {
    "AUD": "Australian dollar",
    "DKK": "Danish krone",
    "EUR": "euro",
    "GBP": "British pound",
    "NZD": "New Zealand dollar",
    "USD": "US dollar",
    "XAF": "Central African CFA franc",
    "XCD": "East Caribbean dollar",
    "XOF": "West African CFA franc",
}
_CONTINENTS = {name: name for name in ("Africa", "Asia", "Europe", "Oceania")}
"""Regions that are continents; the Americas are called two."""
_NEIGHBOUR_OF = 5
"""Of so many prompts of a half, one is kept for a neighbour and never edited."""


@dataclass(frozen=True)
class _Relation:
    """How a fact is said. No prompt begins with its subject: a model reads the first token of a text like no other.

    Attributes:
        key: Where a country has it.
        names: Names of the objects, by what the country has there.
        prompt: The prompt that is edited.
        paraphrases: Others for the same fact.
        by_capital: The prompt with the country told by its capital.
    """

    key: str
    names: Mapping[str, str]
    prompt: str
    paraphrases: tuple[str, ...]
    by_capital: str


RELATIONS = (
    _Relation(
        "languages",
        _LANGUAGES,
        "In {}, the official language is",
        ("People in {} mostly speak", "The official language of {} is"),
        "In the country whose capital is {}, the official language is",
    ),
    _Relation(
        "currencies",
        _CURRENCIES,
        "The currency of {} is the",
        ("The official currency of {} is the", "The currency used in {} is the"),
        "The currency of the country whose capital is {} is the",
    ),
    _Relation(
        "region",
        _CONTINENTS,
        "The country of {} is located on the continent of",
        ("Geographically, {} belongs to the continent of", "You can find {} on the continent of"),
        "The country whose capital is {} is located on the continent of",
    ),
)


def is_country(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of the embedded `countryinfo`."""
    return {"name", "region", "ISO", "altSpellings"} <= row.keys()


def counterfacts(rows: Sequence[Row]) -> Iterator[Row]:
    """Cases in CounterFact's shape, of the countries that have one object of a relation alone.

    The new object is another one of the relation, by content. Neighbours are of the same half as the case.

    Raises:
        UsageError: a row is no country.
    """
    for where, row in rows:
        if not isinstance(row.get("name"), str):
            raise UsageError(f"{where}: no country under the key 'name'")
    for relation in RELATIONS:
        yield from _of(relation, [row for _, row in rows], rows[0][0].partition(",")[0])


def _of(relation: _Relation, countries: Sequence[Mapping[str, Any]], where: str) -> Iterator[Row]:
    objects = {row["name"]: found for row in countries if (found := _object(relation, row))}
    known = sorted(set(objects.values()))
    capitals = Counter(row["capital"] for row in countries if isinstance(row.get("capital"), str))
    neighbours: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, found in objects.items():
        if _is_neighbour(relation, name):
            neighbours[found, _half(relation, name)].append(relation.prompt.replace("{}", name))
    for row in countries:
        name = row["name"]
        if (true := objects.get(name)) is None or _is_neighbour(relation, name):
            continue
        others = (one for one in known if one != true)
        rewrite = {
            "prompt": relation.prompt,
            "relation_id": relation.key,
            "subject": name,
            "target_true": {"str": true},
            "target_new": {"str": _new(relation, name, others, true)},
        }
        yield (
            f"{where}, {relation.key} of {name}",
            {
                "requested_rewrite": rewrite,
                "paraphrase_prompts": [one.replace("{}", name) for one in relation.paraphrases],
                "neighborhood_prompts": sorted(neighbours[true, _half(relation, name)], key=content_id),
                "generation_prompts": [f"Here is what everyone should know about {name}:"],
                "alias_prompts": [relation.prompt.replace("{}", other) for other in _other_name(row)],
                "one_hop_prompts": [relation.by_capital.replace("{}", one) for one in _own_capital(row, capitals)],
            },
        )


def _new(relation: _Relation, name: str, others: Iterable[str], true: str) -> str:
    """Another object, by content; the true one where there is none, which no case may have."""
    return min(others, key=lambda one: content_id(f"{relation.key} {name} {one}"), default=true)


def _object(relation: _Relation, row: Mapping[str, Any]) -> str | None:
    found = row.get(relation.key)
    if isinstance(found, list):
        found = found[0] if len(found) == 1 else None
    return relation.names.get(found) if isinstance(found, str) else None


def _half(relation: _Relation, name: str) -> int:
    return _number(relation, name) % 2


def _is_neighbour(relation: _Relation, name: str) -> bool:
    return _number(relation, name) // 2 % _NEIGHBOUR_OF == 0


def _number(relation: _Relation, name: str) -> int:
    return int(content_id(relation.prompt.replace("{}", name)), 16)


def _other_name(row: Mapping[str, Any]) -> list[str]:
    """Another name of a country, the first that is no code: several words in ASCII."""
    names = [one for one in row.get("altSpellings") or [] if isinstance(one, str)]
    return [one for one in names if " " in one and one.isascii() and one != row["name"]][:1]


def _own_capital(row: Mapping[str, Any], capitals: Counter[Any]) -> list[str]:
    """A country's capital, where that is no other's too: then it names neither, and they may be of both halves."""
    capital = row.get("capital")
    named = isinstance(capital, str) and capital and capitals[capital] == 1
    return [str(capital)] if named else []
