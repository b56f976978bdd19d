"""By how many trials of a search the settings of methods were chosen, as a user says it."""

from collections.abc import Sequence

from bench.errors import UsageError, did_you_mean

_SHOWN = 80  # characters of what is not understood


def trials_of(searched: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """`METHOD=TRIALS` texts to the trials of each method; those of which nothing is said are not in it.

    Args:
        searched: The texts.
        names: The methods of the run.

    Raises:
        UsageError: a text is of another form, or names no method of the run.
    """
    trials = {}
    for text in searched:
        name, equals, count = text.rpartition("=")
        if not (equals and count.isascii() and count.isdigit() and int(count)):
            raise UsageError(f"'{text:.{_SHOWN}}' is not METHOD=TRIALS (--searched)", mend="write METHOD=12")
        if name not in names:
            raise UsageError(f"--searched: '{name:.{_SHOWN}}' is no method of this run", mend=did_you_mean(name, names))
        trials[name] = int(count)
    return trials
