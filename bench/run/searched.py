"""By how many trials of a search the settings of methods were chosen, as a user says it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.errors import UsageError, did_you_mean
from bench.parsing import written

if TYPE_CHECKING:
    from bench.run.plan import Experiment

_SHOWN = 80  # characters of what is not understood


def trials_of(searched: Sequence[str], methods: Sequence[tuple[str, str]]) -> list[int | None]:
    """`METHOD=TRIALS` texts to the trials of each method; None of one of which nothing is said.

    METHOD is a method as it was asked for (`contrastive:objective=paper`), or its name for all variants.

    Args:
        searched: The texts.
        methods: The methods of the run, each as it was asked for and by its name.

    Raises:
        UsageError: a text is of another form, or names no method of the run.
    """
    trials: dict[str, int] = {}
    known = list(dict.fromkeys(one for both in methods for one in both))
    for text in searched:
        name, equals, count = text.rpartition("=")
        if not (equals and count.isascii() and count.isdigit() and int(count)):
            raise UsageError(f"'{text:.{_SHOWN}}' is not METHOD=TRIALS (--searched)", mend="write METHOD=12")
        if name not in known:
            raise UsageError(f"--searched: '{name:.{_SHOWN}}' is no method of this run", mend=did_you_mean(name, known))
        trials[name] = int(count)
    return [trials.get(asked, trials.get(name)) for asked, name in methods]


def unsearched(experiments: "Sequence[Experiment]") -> list[str]:
    """Of methods whose settings a search has chosen, what else the suite says of their options: a line for each method.

    A search leaves an option out of what it writes where it is at its default, and the suite of the run changes that.
    """
    told = []
    for one in experiments:
        values, fields = one.config.model_dump(mode="json"), type(one.config).model_fields
        of_suite = [option for option in fields if one.trials and one.origins.get(option) == "suite"]
        had = {option: fields[option].get_default() for option in of_suite if not fields[option].is_required()}
        if of_suite := [option for option, default in had.items() if getattr(one.config, option) != default]:
            says = ", ".join(f"{option}={written(values[option])}" for option in of_suite)
            # Options of stacked methods have their method's name before them already.
            names = {option: option if "." in option else f"{one.method}.{option}" for option in of_suite}
            kept = " ".join(f"--set {names[option]}={written(had[option])}" for option in of_suite)
            what = f"suite '{one.suite.name}' sets {says} of {one.method}, which the search did not"
            told.append(f"{what}: say {kept} to keep what was searched")
    return list(dict.fromkeys(told))
