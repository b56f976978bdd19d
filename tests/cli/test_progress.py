"""Progress: plain lines, live bars, and which of them is taken."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from rich.console import Console

from bench.cli import progress, views
from bench.cli.common import console_progress
from bench.cli.progress import LineProgress, LiveProgress
from bench.progress import SILENT, Progress
from bench.run.launch.replay import Replay, Told

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def live(width: int = 80) -> tuple[LiveProgress, io.StringIO]:
    stream = io.StringIO()
    return LiveProgress(Console(file=stream, force_terminal=True, width=width)), stream


def test_lines_at_begin_and_end():
    stream = io.StringIO()
    with LineProgress(stream).bar("sampling", total=20, unit="prompts") as bar:
        bar.advance(20)
    first, last = stream.getvalue().splitlines()
    assert first == "sampling … (20 prompts)"
    assert re.fullmatch(r"sampling … done in \d+\.\d s", last)


def test_lines_in_between_come_at_intervals(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with LineProgress(stream).bar("training", total=40) as bar:
        for _ in range(40):
            now[0] += 1
            bar.advance()
    between = stream.getvalue().splitlines()[1:-1]
    assert between == [
        "training … 25%, about 30 s left, 10 s",
        "training … 50%, about 20 s left, 20 s",
        "training … 75%, about 10 s left, 30 s",
        "training … 100%, about 0 s left, 40 s",
    ]


def test_lines_without_a_total_say_the_amount(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with LineProgress(stream).bar("reading", unit="lines") as bar:
        now[0] = 11
        bar.advance(1200)
    assert stream.getvalue().splitlines()[1] == "reading … 1,200 lines, 11 s"


def test_an_error_is_passed_on_and_said():
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), LineProgress(stream).bar("training"):
        raise KeyboardInterrupt
    assert "stopped after" in stream.getvalue()
    assert "done" not in stream.getvalue()


def test_live_bars_fit_80_columns_and_end_full():
    bars, stream = live()
    with bars.bar("a label that is far too long to be shown whole in a narrow terminal", total=3) as bar:
        bar.advance(3)
    lines = [line for line in re.split(r"[\r\n]", ANSI.sub("", stream.getvalue())) if line.strip()]
    assert max(map(len, lines)) <= 80
    assert "100%" in lines[-1]


def test_live_bars_follow_and_nest():
    bars, stream = live()
    with bars.bar("outer", total=2) as outer:
        for name in ("first", "second"):
            with bars.bar(name) as inner:
                inner.advance()
            outer.advance()
    with bars.bar("next", total=1):
        bars.note("[a note], as it is")
    text = ANSI.sub("", stream.getvalue())
    for part in ("outer", "first", "second", "next", "[a note], as it is"):
        assert part in text
    # The cursor is shown again: the display has stopped.
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")


def test_a_live_display_stops_when_its_work_fails():
    bars, stream = live()
    with pytest.raises(ValueError, match="x"), bars.bar("outer"), bars.bar("inner"):
        raise ValueError("x")
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")
    with bars.bar("again", total=1):
        pass


def test_results_on_stdout_stay_clear_of_the_bars(capsys):
    bars, stream = live()
    with bars.bar("work", total=1):
        sys.stdout.write("a result\n")
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in stream.getvalue()


def told(work: Callable[[Progress], None], view: Progress) -> Replay:
    """What a view shows of work in another process."""
    replay = Replay(view)
    work(Told(lambda message: replay.show(json.loads(json.dumps(message)))))
    return replay


def nested(shown: Progress) -> None:
    with shown.bar("outer", total=2, unit="texts") as outer:
        for _ in range(2):
            with shown.bar("inner") as inner:
                inner.advance(3)
            outer.advance()
    shown.note("[a note], as it is")


def test_another_processs_lines_are_those_of_this_one_with_its_name():
    here, there = io.StringIO(), io.StringIO()
    nested(LineProgress(here))
    told(nested, LineProgress(there, "worker 2: "))
    assert there.getvalue().splitlines() == [f"worker 2: {line}" for line in here.getvalue().splitlines()]
    assert len(here.getvalue().splitlines()) == 7


def test_another_processs_amounts_arrive(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def train(shown: Progress) -> None:
        with shown.bar("training", total=40) as bar:
            for _ in range(40):
                now[0] += 1
                bar.advance()

    stream = io.StringIO()
    told(train, LineProgress(stream))
    assert stream.getvalue().splitlines()[1:-1] == [
        "training … 25%, about 30 s left, 10 s",
        "training … 50%, about 20 s left, 20 s",
        "training … 75%, about 10 s left, 30 s",
        "training … 100%, about 0 s left, 40 s",
    ]


def test_what_a_process_had_open_when_it_died_is_ended():
    stream = io.StringIO()
    replay = Replay(LineProgress(stream))
    for number, label in enumerate(("outer", "inner")):
        replay.show({"bar": number, "label": label, "total": None, "unit": ""})
    replay.close()
    assert re.fullmatch(
        r"outer …\ninner …\ninner … stopped after .* s\nouter … stopped after .* s\n", stream.getvalue()
    )


def test_each_worker_has_a_line_that_moves(monkeypatch):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    monkeypatch.setattr(views, "has_terminal", lambda: True)
    monkeypatch.setattr(views, "Console", lambda **_: console)
    with views.worker_views(2) as (shown, note):
        note("2 workers for 4 experiments")
        for view in shown:
            told(nested, view)
    text = ANSI.sub("", stream.getvalue())
    assert "2 workers for 4 experiments" in text
    assert "worker 2: outer" in text
    assert "inner" not in text
    assert text.count("[a note], as it is") == 1, "the second worker's note says nothing new"
    assert max(map(len, re.split(r"[\r\n]", text))) <= 80
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")


def test_plain_lines_where_there_is_no_terminal(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert isinstance(console_progress(), LineProgress)


def test_only_the_first_of_several_workers_reports(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert console_progress() is SILENT


PROGRAM = """
from bench.cli.common import console_progress
with console_progress().bar("on a terminal", total=1) as bar:
    bar.advance()
print("result")
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="the system has no pseudo-terminals")
def test_live_bars_on_a_terminal():
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True, check=True
    )
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.stdout == "result\n"
    assert "on a terminal" in shown
    assert "\x1b[?25l" in shown
