"""Every failure is one line and an exit code."""

import errno
import os
import signal
import subprocess
import sys

import pytest
import typer

from bench.cli.explaining import Failure
from bench.cli.failures import guard
from bench.errors import BenchError, MissingError, UsageError


def failing(error):
    def call():
        raise error

    return call


@pytest.fixture(autouse=True)
def plain_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", "run"])
    monkeypatch.delenv("BENCH_DEBUG", raising=False)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("no such thing 'a'", mend="try 'b'"), 2, "bench: error: no such thing 'a'; try 'b'\n"),
        (MissingError("two\nlines"), 3, "bench: error: two lines\n"),
        (BenchError("gate failed"), 1, "bench: error: gate failed\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 3, "bench: error: no access to /x/y"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            3,
            "bench: error: no space left on the disk of /x/y",
        ),
        (SystemExit(0), 1, "bench: error: code from another package asked to end the program (exit code 0)"),
        (SystemExit("bye"), 1, "bench: error: code from another package asked to end the program (exit code 'bye')"),
        (MemoryError(), 3, "bench: error: not enough memory"),
        (KeyboardInterrupt(), 130, "bench: interrupted; the same command resumes it"),
        (typer.Abort(), 130, "bench: interrupted; the same command resumes it"),
    ],
)
def test_each_failure_is_one_line_with_its_code(error, code, said, capsys, cache_dir):
    assert guard(failing(error)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(said)
    assert captured.err.count("\n") == 1
    assert not list(cache_dir.rglob("*.log"))


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (4, 4), (True, 0), ("text", 0), (130, 130)])
def test_the_exit_code_is_what_the_command_returns(returned, code):
    assert guard(lambda: returned) == code


def test_the_unforeseen_is_written_to_a_log_that_the_line_names(capsys, cache_dir):
    assert guard(failing(ZeroDivisionError("a\nb"))) == 1
    line = capsys.readouterr().err
    (log,) = cache_dir.rglob("*.log")
    assert line.startswith("bench: error: unexpected ZeroDivisionError: a; please report it with ")
    assert str(log) in line
    assert line.count("\n") == 1
    assert "Traceback" in log.read_text()
    assert "['run']" in log.read_text()


def test_the_log_goes_elsewhere_where_the_cache_cannot_be_written(capsys, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the cache's folder should be")
    monkeypatch.setenv("BENCH_CACHE", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert guard(failing(RuntimeError("x"))) == 1
    (log,) = tmp_path.glob("error-*.log")
    assert str(log) in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys, monkeypatch, cache_dir):
    monkeypatch.setenv("BENCH_DEBUG", "1")
    assert guard(failing(UsageError("wrong"))) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "bench: error: wrong"


LONG_WORK = """
import sys, time
from bench.cli.common import console_progress
from bench.cli.explaining import Failure
from bench.cli.failures import guard

def work():
    with console_progress().bar("long work", total=1000) as bar:
        while True:
            time.sleep(0.02)
            bar.advance()

sys.exit(guard(work))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_ends_long_work_with_one_line_and_130():
    child = subprocess.Popen(
        [sys.executable, "-c", LONG_WORK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    assert child.stderr.readline() == "long work …\n"
    child.send_signal(signal.SIGINT)
    _, rest = child.communicate(timeout=30)
    assert child.returncode == 130
    assert rest.splitlines()[-1] == "bench: interrupted; the same command resumes it"
    assert "Traceback" not in rest


def test_a_message_of_any_length_is_shown_in_short_with_its_remedy():
    line = Failure("no such key: " + "x" * 100_000, "see 'bench --help'", 2).line()
    assert len(line) < 4_000
    assert line.startswith("bench: error: no such key: xxx")
    assert line.endswith("xxx …; see 'bench --help'")


_HANGING = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from bench.cli.failures import guard, watch_signals

def hang():
    with ThreadPoolExecutor(1) as thread:
        work = thread.submit(time.sleep, 120)
        print("begun", flush=True)
        work.result()

watch_signals()
sys.exit(guard(hang))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals to send")
def test_a_second_signal_ends_what_hangs_at_once():
    with subprocess.Popen([sys.executable, "-c", _HANGING], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "begun\n"
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # it waits for the work to be written down
            child.wait(1)
        child.send_signal(signal.SIGINT)
        assert child.wait(5) == 130


_TYPER = """
import sys, time
import typer
from bench.cli.failures import guard, watch_signals

app = typer.Typer(add_completion=False)

@app.command()
def work():
    print("begun", flush=True)
    time.sleep(120)

watch_signals()
sys.exit(guard(lambda: app(args=[], standalone_mode=False)))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals to send")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_its_code_where_typer_makes_another_exception_of_it(number, code):
    child = subprocess.Popen([sys.executable, "-c", _TYPER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "begun\n"
        child.send_signal(number)
        _, said = child.communicate(timeout=20)
    assert child.returncode == code
    assert said.strip().startswith("bench: interrupted; ")
    assert said.strip().count("\n") == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals to send")
def test_a_termination_is_an_interruption_with_its_own_code():
    script = _HANGING.replace("time.sleep, 120", "time.sleep, 0.5").replace("work.result()", "time.sleep(120)")
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "begun\n"
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=20)
        assert child.returncode == 143
        assert said == "bench: interrupted; the same command resumes it\n"
