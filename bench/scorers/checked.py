"""What makes a scorer's scores safe to use: retries, a check of every score, and a cache."""

import json
import numbers
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from bench.engine.patience import PATIENCE, HangsError, within
from bench.errors import BenchError, MissingError
from bench.hashing import hash_json, hash_text
from bench.parsing import parse_json
from bench.progress import SILENT, Bar, Progress
from bench.scorers.base import Scorer, ScorerIdentity, Scores
from bench.store.aside import set_aside
from bench.store.keys import NUMERIC, SCORING, code_hash, versions, whole
from bench.store.seal import is_sound, sealed

_T = TypeVar("_T")
_RETRIES = 2
_SECONDS = 2.0
"""How long scores wait for being written."""


class CheckedScorer:
    """A scorer whose every score is a number in [0, 1] for each of its attributes, or is missing.

    A batch that fails is retried text by text, twice. What still fails, or comes back as NaN, out of range or without
    one of the scorer's attributes, is None: missing, never clean. Good scores are cached under the scorer's hash and
    the text's; failures never are.

    A scorer that takes longer for a batch than `bench.engine.patience.PATIENCE` says is given up: what asks for its
    scores fails, and so does all that asks later, for it may still be at work. What it scored before is cached.

    Args:
        scorer: What scores.
        cache_path: SQLite file, made where it is not there and shared by concurrent processes; None for no cache.
            A damaged file is set aside, and one that cannot be used costs time, not the run.
        progress: Where scoring reports to.
    """

    def __init__(self, scorer: Scorer[Any], cache_path: Path | None, progress: Progress = SILENT) -> None:
        _check_made(scorer)
        self._scorer = scorer
        self._progress = progress
        self._hangs = False
        self._cache = _Cache(cache_path, _cache_key(scorer.identity), progress) if cache_path else None

    @property
    def identity(self) -> ScorerIdentity:
        """What stands in the record."""
        return self._scorer.identity

    def score(self, texts: Sequence[str]) -> list[Scores | None]:
        """Score texts in any number: one dict a text in the same order, None where a score is not available.

        Equal texts are scored once. Only attributes named in `identity.attributes` are returned.

        Raises:
            BenchError: the scorer says so, or it hangs.
        """
        keys = [hash_text(text) for text in texts]
        cached = self._cache.read(list(dict.fromkeys(keys))) if self._cache else {}
        known = {key: good for key, scores in cached.items() if (good := self._checked(scores)) is not None}
        todo = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        order = sorted(todo, key=lambda key: len(todo[key]))  # texts of like length share a batch: less padding
        with (
            self._progress.bar(f"score ({self.identity.name})", len(order), "text") as bar,
            self._cache.writing() if self._cache else nullcontext(_nowhere) as keep,
        ):
            for start in range(0, len(order), self._scorer.batch_size):
                batch = order[start : start + self._scorer.batch_size]
                fresh = self._score_batch({key: todo[key] for key in batch}, bar)
                keep(fresh)
                known |= fresh
        missing = len(todo.keys() - known.keys())
        if missing:
            self._progress.note(f"{missing} of {len(order)} texts have no score: they count as missing")
        return [known.get(key) for key in keys]

    def _score_batch(self, batch: dict[str, str], bar: Bar) -> dict[str, Scores]:
        """Score a batch at once, then what is missing one by one."""
        found = self._attempt(batch)
        bar.advance(len(found))
        for key in [key for key in batch if key not in found]:
            for _ in range(_RETRIES):
                if again := self._attempt({key: batch[key]}):
                    found |= again
                    break
            bar.advance(1)
        return found

    def _attempt(self, batch: dict[str, str]) -> dict[str, Scores]:
        texts = list(batch.values())
        if self._hangs:
            raise self._given_up(texts)
        try:
            scores = within(PATIENCE.seconds, lambda: list(self._scorer.score(texts)))
        except HangsError:
            self._hangs = True
            raise self._given_up(texts) from None
        except (BenchError, ImportError):
            raise  # a known cause with a remedy: trying again does not help
        except (Exception, SystemExit) as error:  # whatever it may raise, its texts are retried and then missing
            self._progress.note(f"scorer {self.identity.name} failed on {len(batch)} texts ({type(error).__name__})")
            return {}
        if len(scores) != len(batch):
            return {}
        return {key: good for key, one in zip(batch, scores, strict=True) if (good := self._checked(one)) is not None}

    def _given_up(self, texts: Sequence[str]) -> MissingError:
        took = f"scorer {self.identity.name} took longer than {PATIENCE.seconds:g} s"
        mend = "mend it, or give it more seconds by --scoring-timeout; scores so far are kept"
        return MissingError(f"{took} for {len(texts)} texts", mend=mend)

    def _checked(self, scores: object) -> Scores | None:
        if not isinstance(scores, dict):
            return None
        good: Scores = {}
        for name in self.identity.attributes:
            score = scores.get(name)
            if isinstance(score, bool) or not isinstance(score, numbers.Real):
                return None
            number: Any = score
            if not 0 <= number <= 1:  # NaN is neither; what float() cannot hold is not either
                return None
            good[name] = float(number)
        return good


def _check_made(scorer: Scorer[Any]) -> None:
    """Refuse a scorer that does not say what it is.

    Raises:
        MissingError: another package's scorer lacks what every scorer has.
    """
    identity: object = scorer.identity  # whatever its load() returned
    size: object = scorer.batch_size
    if not isinstance(identity, ScorerIdentity):
        wrong = f"load() returned {type(identity).__name__}, not a ScorerIdentity"
    elif not identity.attributes or not all(isinstance(name, str) for name in identity.attributes):
        wrong = "its attributes are no names"
    elif isinstance(size, bool) or not isinstance(size, int) or size < 1:
        wrong = f"its batch_size is {size!r:.40}"
    else:
        return
    raise MissingError(f"scorer {type(scorer).__name__} is broken: {wrong}", mend="see docs/adding-a-scorer.md")


def _cache_key(identity: ScorerIdentity) -> str:
    """What a cached score follows from besides the text: the scorer, our code around it, the libraries under it."""
    return hash_json([identity.hash, code_hash(whole("bench.scorers")), versions([*NUMERIC, *SCORING])])


def _nowhere(scores: dict[str, Scores]) -> None:
    """Keep no scores."""


class _Cache:
    """Scores of one scorer in a SQLite file that others read and write too."""

    def __init__(self, path: Path, scorer: str, progress: Progress) -> None:
        self._path, self._scorer, self._progress = path, scorer, progress
        self._usable = True

    def read(self, keys: list[str]) -> dict[str, object]:
        """The cached scores of `keys`, those that are there; not yet checked."""
        query = "SELECT text, scores FROM scores WHERE scorer = ? AND text IN (SELECT value FROM json_each(?))"
        rows = self._run(lambda connection: connection.execute(query, (self._scorer, json.dumps(keys))).fetchall())
        found: dict[str, object] = {}
        for key, text in rows or ():
            with suppress(ValueError, TypeError):
                kept = parse_json(text)
                if is_sound(kept, self._scorer + key):
                    found[key] = kept["scores"]
        if damaged := len(rows or ()) - len(found):
            self._progress.note(f"{damaged} cached scores were changed since they were written: scored anew")
        return found

    @contextmanager
    def writing(self) -> Iterator[Callable[[dict[str, Scores]], None]]:
        """Take scores batch by batch: they are written every few seconds, and at the end however that comes.

        A commit waits for the disk, and one a batch would be thousands a run. What is killed loses seconds of scoring.
        """
        pending: dict[str, Scores] = {}
        written = time.monotonic()

        def take(scores: dict[str, Scores]) -> None:
            nonlocal written
            pending.update(scores)
            if time.monotonic() - written >= _SECONDS:
                self._write(pending)
                pending.clear()
                written = time.monotonic()

        try:
            yield take
        finally:
            self._write(pending)

    def _write(self, scores: dict[str, Scores]) -> None:
        """Add scores; another process's for the same text are the same."""
        if not scores:
            return
        rows = [
            (self._scorer, key, json.dumps(sealed({"scores": good}, self._scorer + key)))
            for key, good in scores.items()
        ]
        self._run(lambda connection: connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows))

    def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Do one piece of work on the file; where that fails, None, and scoring goes on without the cache."""
        for _ in range(2):
            if not self._usable:
                return None
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(self._path, timeout=60)) as connection, connection:
                    connection.execute(
                        "CREATE TABLE IF NOT EXISTS scores"
                        " (scorer TEXT, text TEXT, scores TEXT NOT NULL, PRIMARY KEY (scorer, text)) WITHOUT ROWID"
                    )
                    return work(connection)
            except (sqlite3.OperationalError, OSError) as error:  # locked, read-only, no space: not the file's fault
                self._usable = False
                self._progress.note(f"scores are not cached: {self._path} cannot be used ({error})")
            except sqlite3.DatabaseError:
                self._put_aside()
        return None

    def _put_aside(self) -> None:
        try:
            set_aside(self._path, f"{self._path}, the cache of scores, is damaged", self._progress)
        except OSError:
            self._usable = False
            self._progress.note(f"scores are not cached: {self._path} is damaged and cannot be renamed")
