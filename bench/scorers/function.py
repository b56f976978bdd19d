"""A function in a Python file of the user's own as a scorer."""

from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from pydantic import Field

from bench.assets.local import expanded
from bench.errors import BenchError, MissingError, UsageError, did_you_mean
from bench.hashing import hash_file, hash_json
from bench.scorers.base import Scorer, ScorerContext, ScorerIdentity, ScorerInfo, Scores
from bench.spec import Spec


class FunctionConfig(Spec):
    """Options of `function`."""

    path: str = Field(min_length=1, description="the Python file; what is in it is run")
    function: str = Field("score", description="its function: from a list of texts to a list of numbers in [0, 1]")
    attribute: str = Field(
        "toxicity", pattern=r"^[a-z][a-z0-9_]*$", description="what the numbers are called in suites"
    )
    version: str = Field("", description="of what the file reads or imports: another one makes scores anew")


class FunctionScorer(Scorer[FunctionConfig]):
    """A function `score(texts: list[str]) -> list[float | None]`; None where a text has no score.

    The record has a hash of the file. What the file imports or reads is not in it: `version` stands for that.
    """

    Config = FunctionConfig
    info = ScorerInfo(
        name="function",
        summary="a function in a Python file of yours",
        measures="what the function says",
        source="you",
    )

    def load(self, ctx: ScorerContext) -> ScorerIdentity:
        """Run the file, and take its function.

        Raises:
            UsageError: there is no such file or function.
            MissingError: the file cannot be run.
        """
        del ctx
        path = expanded(self.config.path)
        if not path.is_file():
            raise UsageError(f"scorer 'function': no such file: {path}", mend="set suite.scorer.options.path")
        content = hash_file(path)
        self._function = _function(path, self.config.function)
        return ScorerIdentity(
            name=f"function:{path.name}:{self.config.function}",
            label=f"{self.config.function} of {path.name}",
            hash=hash_json([content, self.config.function, self.config.attribute, self.config.version]),
            attributes=(self.config.attribute,),
            licence="the user's own",
        )

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score texts; a result that is not a number counts as missing."""
        return [None if one is None else {self.config.attribute: one} for one in self._function(list(texts))]


def _function(path: Path, name: str) -> Callable[[list[str]], Sequence[Any]]:
    spec = spec_from_file_location(f"bench_scorer_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"scorer 'function': {path} is no Python file", mend="its name ends in .py")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BenchError:
        raise
    except Exception as error:  # whatever the user's file may raise
        cause = " ".join(str(error).split())[:200]
        what = f"scorer 'function': {path} cannot be run ({type(error).__name__}: {cause})"
        raise MissingError(what, mend=f"try 'python {path}'") from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(
            f"{path} has no function '{name}'",
            mend=did_you_mean(name, known) if known else f"write 'def {name}(texts)'",
        )
    function: Callable[[list[str]], Sequence[Any]] = found
    return function
