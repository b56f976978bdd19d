"""What is searched of a method: the options that it declares, without those that the user has settled."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import registry
from bench.errors import UsageError, did_you_mean
from bench.method import Layers, Range
from bench.parsing import written
from bench.run.plan import BASE, Experiment, Request, make_experiments, parse_method, suite_of
from bench.spec import SuiteSpec

Settings = Mapping[str, Any]
"""The options of a trial that differ from the defaults, by name."""
_OPEN = ("default", "suite")
"""Where the value of an option comes from that is still searched."""
_SETUP = ("engine", "model", "chat_template", "system", "sets")
"""What of a suite says which model is edited, how it is asked, and what it learns from; the rest measures."""
_SEPARATING = frozenset(":,+[]'\"")
_ESCAPED = re.compile(r"\\.")
_DIGITS = 3  # of a searched number: more than any difference in figures shows


@dataclass(frozen=True)
class Subject:
    """A method whose settings are searched.

    Attributes:
        request: What to carry out, of this method alone.
        default: Its experiment with default settings: the first trial.
        space: What each searched option is searched over; empty where the method declares nothing, or all is settled.
    """

    request: Request
    default: Experiment
    space: Mapping[str, Range | tuple[Any, ...]]

    @property
    def text(self) -> str:
        """The method as it was asked for: NAME[:KEY=VALUE...]."""
        return self.request.methods[0]

    @property
    def defaults(self) -> dict[str, Any]:
        """What the searched options are by default."""
        return {option: getattr(self.default.config, option) for option in self.space}

    def asked(self, settings: Settings) -> str:
        """The method with settings, as `bench run --method` takes it."""
        return ":".join([self.text, *(f"{option}={_quoted(value)}" for option, value in settings.items())])

    def experiment(self, settings: Settings) -> Experiment:
        """The experiment of a trial.

        Raises:
            UsageError: the settings do not go together.
        """
        return make_experiments(replace(self.request, methods=(self.asked(settings),)))[0]


def _quoted(value: Any) -> str:
    """A value as it stands among a method's options: a text with what separates these is in quotes, without one inside.

    A quote within is said by its number, as YAML takes it, since the first one ends the text for those who split it.
    """
    if not (isinstance(value, str) and _SEPARATING.intersection(value)):
        return written(value)
    return _ESCAPED.sub(lambda one: r"\u0022" if one[0] == r"\"" else one[0], json.dumps(value))


def rounded(value: Any) -> Any:
    """A searched value with as many digits as a reader wants; whole numbers and choices stay."""
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def layers_of(model: Path) -> int:
    """How many layers the model in a folder has."""
    from bench.engine.architecture import config_of

    return int(config_of(model).get_text_config(decoder=True).num_hidden_layers)


def base_of(request: Request) -> Experiment:
    """The base model's experiment, which all trials are compared with.

    Raises:
        UsageError: anything in the request is not valid.
    """
    return next(one for one in make_experiments(replace(request, base=True)) if one.method == BASE)


def subjects_of(request: Request, layers: int) -> list[Subject]:
    """The methods of a request, each with what is searched of it.

    Args:
        request: The methods, with the options that are settled, and one seed.
        layers: How many layers the base model has.

    Raises:
        UsageError: something of the request is not valid, or a method declares a search of what is no option of it.
    """
    plain = make_experiments(replace(request, base=False))
    return [
        Subject(
            replace(request, methods=(text,), base=False, settings=_of_method(request, default)),
            default,
            _space(default, layers),
        )
        for text, default in zip(request.methods, plain, strict=True)
        if default.method != BASE
    ]


def of_setup(settings: Sequence[str]) -> list[str]:
    """Of settings, those of the suite that another suite takes over which measures what was found.

    The half of facts is each suite's own: what is proven is not what was searched on.
    """
    return [text for text in settings if _path(text)[0] in _SETUP and _path(text) != ["sets", "half"]]


def of_search(settings: Sequence[str]) -> list[str]:
    """Of settings, the keys of those that are of the suite of the search alone: what it measures, and how."""
    own = [text for text in settings if _path(text) != [""] and text not in of_setup(settings)]
    return [".".join(["suite", *path]) for path in map(_path, own) if path[0] != "methods"]


def unlike(search: SuiteSpec, proof: SuiteSpec) -> list[str]:
    """In what of their setup two suites differ."""
    own, other = _setup(search), _setup(proof)
    return [key for key, value in own.items() if other[key] != value]


def _path(text: str) -> list[str]:
    """Where a setting of the suite is; that of a method is nowhere."""
    head, _, rest = text.partition("=")[0].strip().partition(".")
    return rest.split(".") if head == "suite" else [""]


def _setup(suite: SuiteSpec) -> dict[str, Any]:
    parts = {
        f"{name}.{key}": value
        for name, part in (("model", suite.model), ("sets", suite.sets))
        for key, value in part
        if key != "half"
    }
    own = {"engine": suite.engine, "chat_template": suite.chat_template, "system": suite.system}
    return {**own, **parts, "sets.scorer": suite.labelling}


def _space(default: Experiment, layers: int) -> dict[str, Range | tuple[Any, ...]]:
    """What is left to search of a method."""
    kind = registry.load("methods", default.method)
    space = {}
    for option, over in kind.info.search.items():
        if option not in kind.Config.model_fields:
            what = f"method '{default.method}' declares a search of '{option}', which is no option of it"
            raise UsageError(what, mend=did_you_mean(option, kind.Config.model_fields))
        if default.origins.get(option, "default") in _OPEN:
            space[option] = over.of(layers) if isinstance(over, Layers) else over
    return space


def _whole(subject: Subject, settings: Settings) -> tuple[str, str]:
    """A method and every option of it with settings: two searches that chose the same have the same."""
    return subject.default.method, subject.experiment(settings).config.model_dump_json()


def _of_method(request: Request, default: Experiment) -> list[str]:
    """The settings that are the suite's, or reach one method of several."""
    fields = type(default.config).model_fields
    own = []
    for text in request.settings:
        head, dot, _ = text.partition("=")[0].strip().partition(".")
        if head in ("suite", default.method) if dot else head in fields:
            own.append(text)
    return own


def options_of(suite: str) -> Mapping[str, Settings]:
    """What a suite says of methods' options, by method.

    Raises:
        UsageError: the suite is not valid.
    """
    return suite_of(Request((), suite), [])[0].methods


def config_of_run(
    chosen: Sequence[tuple[Subject, Settings]],
    model: str | None,
    searched: Mapping[str, int],
    measured: Mapping[str, Settings] | None = None,
) -> dict[str, Any]:
    """What `bench run --config` takes to measure methods with settings: values for its flags.

    What the suite of the search or its user settled is in it: options of the methods, and what the user said of the
    suite's setup (`of_setup`). So is what the suite that measures them would change (`measured`). Where two searches of
    one method chose the same settings, it is asked for once.

    Args:
        chosen: The methods with their settings.
        model: The model in place of the suite's, or None.
        searched: By method as it was searched (`Subject.text`), how many trials it was chosen by.
        measured: What the suite that measures them says of methods' options; None where no suite is known.
    """
    setup = dict.fromkeys(text for subject, _ in chosen for text in of_setup(subject.request.settings))
    settled: dict[str, str] = {}
    asked: dict[tuple[str, str], tuple[Subject, str]] = {}
    for subject, settings in chosen:
        asked.setdefault(_whole(subject, settings), (subject, subject.asked(settings)))
        experiment, own = subject.default, parse_method(subject.text)[1]
        other = (measured or {}).get(experiment.method, {})
        for option, value in experiment.config.model_dump(mode="json").items():
            is_changed = option in other and other[option] != value
            if (experiment.origins[option] != "default" or is_changed) and option not in own:
                settled[f"{experiment.method}.{option}"] = written(value)
    told = [*setup, *(f"{option}={value}" for option, value in settled.items())]
    return {
        **({"model": model} if model else {}),
        "method": ",".join(text for _, text in asked.values()),
        **({"set": told} if told else {}),
        "searched": _counted(list(asked.values()), searched),
    }


def _counted(asked: Sequence[tuple[Subject, str]], searched: Mapping[str, int]) -> list[str]:
    """`METHOD=TRIALS` of what is asked for: by a method's name where all its variants had as many trials."""
    told = []
    for subject, text in asked:
        name, count = subject.default.method, searched[subject.text]
        is_alike = all(searched[one.text] == count for one, _ in asked if one.default.method == name)
        told.append(f"{name if is_alike else text}={count}")
    return list(dict.fromkeys(told))


def place_of(subject: Subject, settings: Settings, chosen: Sequence[tuple[Subject, Settings]]) -> int:
    """Which of the methods that `config_of_run` asks for is a chosen one, from 0."""
    return list(dict.fromkeys(_whole(*one) for one in chosen)).index(_whole(subject, settings))
