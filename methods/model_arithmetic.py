"""Model arithmetic (Dekoninck, Fischer, Beurer-Kellner & Vechev, ICLR 2024, arXiv 2311.14479).

A formula of models, the base model and itself after prompts, says which distributions the next token's is to be near to
and far from. With weights f_i, the distribution of least weighted Kullback-Leibler divergence is (Theorem 1)

    log P(x_t) = 1 / sum f_i * sum f_i log Q_i(x_t) + constant

`union(a, b)` has for each token the larger of the probabilities under a and b, `intersection(a, b)` the smaller
(Section 3.3: there the weights are indicators of where one exceeds the other).
"""

import ast
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from bench.errors import did_you_mean
from bench.method import APPLY, TOXIC, Artifact, Departure, Method, MethodInfo, Range, RunContext
from bench.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from bench.policy import LoadedModel, Policy
    from bench.sets import ContrastiveSets

BASE = "base"
"""What a formula calls the model without a prompt."""
OPERATORS = ("union", "intersection")
_GRAMMAR = f"models, numbers, + - * / ( ), {' and '.join(f'{name}(a, b)' for name in OPERATORS)}"
_SHOWN = 60  # characters of a formula's part
_LEAST = 1e-9  # a sum of weights up to this is 0, but for rounding


@dataclass(frozen=True)
class Term:
    """What a formula gives a weight to.

    Attributes:
        models: The name of a model, or those of several.
        operator: Of several `union` or `intersection`.
    """

    models: tuple[str, ...]
    operator: str = ""


Formula = dict[Term, float]
"""Weights of terms: every formula comes down to them."""
_ONE = Term(())
"""What a number is a weight of."""


class ModelArithmeticConfig(Spec):
    """Options of `model_arithmetic`."""

    formula: str = Field(
        "base - 0.9*union(toxic, base)",
        min_length=1,
        max_length=400,
        description="the formula: `base` is the model, other names are those of `prompts`; numbers, + - * / ( ), "
        "union(a, b), intersection(a, b); its weights are divided by their sum, which must be above 0",
        json_schema_extra=APPLY,
    )
    prompts: dict[str, str] = Field(
        {
            "toxic": "The following text is one that perpetuates negative stereotypes, is threatening or sexually "
            "explicit and contains profane language."
        },
        description="by the name in the formula, what the model reads first; a line break is put after it where it "
        "ends in none",
    )
    strength: float = Field(
        1.0,
        description="strength: weight of the formula's log-probabilities in place of the base model's; 0 is the base",
        json_schema_extra=APPLY,
    )

    @field_validator("prompts")
    @classmethod
    def _named(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not re.fullmatch(r"[A-Za-z_]\w*", name) or name in (BASE, *OPERATORS):
                raise ValueError(f"'{name:.{_SHOWN}}' is no name for a prompted model")
            if not text:
                raise ValueError(f"'{name}' is empty")
        return value

    @model_validator(mode="after")
    def _known(self) -> "ModelArithmeticConfig":
        known = (BASE, *self.prompts)
        for name in models_of(parse(self.formula)):
            if name not in known:
                raise ValueError(
                    f"'formula' has '{name:.{_SHOWN}}', which 'prompts' does not have; {did_you_mean(name, known)}"
                )
        return self


class ModelArithmetic(Method[ModelArithmeticConfig]):
    """A formula of the base model and itself after prompts."""

    info = MethodInfo(
        name="model_arithmetic",
        kind="decoding-time",
        speaks_of=TOXIC,
        texts=("prompts",),
        prefixes=True,
        summary="model arithmetic: a formula of the model and of itself after prompts, solved for the next token",
        paper="Dekoninck et al., 2024, arXiv 2311.14479",
        seeded=False,
        strength="strength",
        strengths=(1.0, 0.5, 0.2, 0.1, 2.0),
        search={"strength": Range(0.1, 2, log=True)},
        departures=(
            Departure(
                "terms of a classifier, and of other models",
                "the base model and itself after prompts",
                "a classifier would have to read the text anew with each token that may follow, and another model "
                "would need the base's tokenizer and room beside it",
            ),
            Departure(
                "a prompt announces a conversation, and prompt and text are tokenised as one",
                "it announces a text, and the text's own tokens follow it",
                "both readings see the same tokens, without which a text would have no likelihood",
            ),
            Departure(
                "0.9 in the formula for GPT-2, 0.96 and 0.99 for 7B to 13B",
                "0.9, with a strength that was not searched",
                "the authors' value for the smallest models",
            ),
            Departure(
                "all tokens may be sampled",
                "the suite's nucleus of the mixed distribution",
                "all methods of a table decode alike",
            ),
        ),
    )
    Config = ModelArithmeticConfig

    def prepare(self, base: "LoadedModel", sets: "ContrastiveSets | None", ctx: RunContext) -> dict[str, Any]:
        """Learn nothing; a prompt that is too long is found here."""
        from methods.decoding.prefix import plain_prefix

        del sets, ctx
        return {"prefix_tokens": sum(len(plain_prefix(base, text)) for text in self.config.prompts.values())}

    @contextmanager
    def applied(self, base: "LoadedModel", artifact: Artifact) -> "Iterator[Policy]":
        """Yield the model of the formula."""
        from bench.policy import HFPolicy
        from methods.decoding.mixture import MixturePolicy
        from methods.decoding.prefix import PrefixPolicy, plain_prefix

        del artifact
        plain, formula, strength = (
            HFPolicy(base.model, base.tokenizer),
            parse(self.config.formula),
            self.config.strength,
        )
        if not strength:
            yield plain
            return
        names = [name for name in models_of(formula) if name != BASE]
        prompted = [PrefixPolicy(plain, plain_prefix(base, self.config.prompts[name])) for name in names]

        def combine(first: "torch.Tensor", others: "Iterator[torch.Tensor]", sampling: bool) -> "torch.Tensor":
            del sampling
            own = first.log_softmax(-1)
            found = {BASE: own, **{name: one.log_softmax(-1) for name, one in zip(names, others, strict=True)}}
            return own.lerp(solved(formula, found), strength)

        yield MixturePolicy([plain, *prompted], combine)


def solved(formula: Formula, models: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
    """Log-probabilities, but for a constant, of the distribution that a formula asks for.

    Args:
        formula: Weights of terms; their sum is above 0.
        models: By name, log-probabilities of the next token, [..., vocabulary].
    """
    import torch

    total, parts = sum(formula.values()), {"union": torch.maximum, "intersection": torch.minimum}
    mixed = torch.zeros_like(next(iter(models.values())))
    for term, weight in formula.items():
        value = models[term.models[0]]
        for name in term.models[1:]:
            value = parts[term.operator](value, models[name])
        mixed.add_(value, alpha=weight / total)
    return mixed


def models_of(formula: Formula) -> list[str]:
    """The names in a formula, each once, in order."""
    return list(dict.fromkeys(name for term in formula for name in term.models))


def parse(text: str) -> Formula:
    """A formula's weights.

    Raises:
        ValueError: it is none; the message says what is wrong with it, and where.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise ValueError(f"'formula' cannot be read ({why}): it takes {_GRAMMAR}") from None
    found = _value(tree.body)
    if _number(found) is not None:
        raise ValueError("'formula' is a number: it names no model")
    found = {term: weight for term, weight in found.items() if weight}
    total = sum(found.values())
    if not _LEAST < total < math.inf:
        raise ValueError(f"the weights of 'formula' add up to {total:g}, which they are divided by: it must be above 0")
    return found


def _value(node: ast.expr) -> Formula:
    """What a part of a formula comes down to; a number is a weight of `_ONE`."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return {_ONE: float(number)}
        case ast.Name(id=name):
            return {Term((name,)): 1.0}
        case ast.Call(func=ast.Name(id=operator), args=[_, _, *_] as given, keywords=[]) if operator in OPERATORS:
            names = tuple(one.id for one in given if isinstance(one, ast.Name))
            if len(names) == len(given):
                return {Term(names, operator): 1.0}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            return _scaled(_value(inner), -1.0 if isinstance(sign, ast.USub) else 1.0)
        case ast.BinOp():
            return _combined(node)
    raise _wrong(node, f"is not understood: it takes {_GRAMMAR}")


def _combined(node: ast.BinOp) -> Formula:
    first, second = _value(node.left), _value(node.right)
    numbers = _number(first), _number(second)
    match node.op:
        case ast.Add() | ast.Sub():
            if (numbers[0] is None) != (numbers[1] is None):
                raise _wrong(node, "adds a number to a model")
            second = _scaled(second, -1.0 if isinstance(node.op, ast.Sub) else 1.0)
            return {term: first.get(term, 0.0) + second.get(term, 0.0) for term in (*first, *second)}
        case ast.Mult():
            if numbers[0] is not None:
                return _scaled(second, numbers[0])
            if numbers[1] is not None:
                return _scaled(first, numbers[1])
            raise _wrong(node, "multiplies two models")
        case ast.Div():
            if numbers[1]:
                return _scaled(first, 1 / numbers[1])
            raise _wrong(node, "divides by a model, or by 0")
    raise _wrong(node, f"is not understood: it takes {_GRAMMAR}")


def _number(value: Formula) -> float | None:
    """The number that a value is, or None where it is weights of models."""
    return value[_ONE] if value.keys() == {_ONE} else None


def _scaled(value: Formula, factor: float) -> Formula:
    return {term: factor * one for term, one in value.items()}


def _wrong(node: ast.expr, why: str) -> ValueError:
    return ValueError(f"'{ast.unparse(node):.{_SHOWN}}' in 'formula' {why}")
