"""A package that is missing or broken is one line that names it, the reason and the command that mends it."""

import sys

import pytest
from packages import runner
from synthetic import write_run

from bench.packages import broken_package

BENCH = [sys.executable, "-m", "bench"]


@pytest.mark.parametrize(
    ("module", "content", "words", "why", "wanted"),
    [
        ("numpy", None, ["table", "--all"], "import of numpy halted", "numpy>=2"),
        (
            "numpy",
            "raise ImportError('its C part is missing')",
            ["table", "--all"],
            "its C part is missing",
            "numpy>=2",
        ),
        ("matplotlib", "x = = 1", ["plot", "cost", "--all"], "SyntaxError: invalid syntax", "matplotlib>=3.10"),
        ("matplotlib", "1 / 0", ["plot", "cost", "--all"], "ZeroDivisionError: division by zero", "matplotlib>=3.10"),
        ("matplotlib", "", ["plot", "cost", "--all"], "ImportError: cannot import name", "matplotlib>=3.10"),
        ("yaml", None, ["suites"], "import of yaml halted", "pyyaml>=6.0.2"),
        ("typer", "from typing import gone", ["suites"], "cannot import name", "typer>=0.29"),
        ("typer", "import gone_as_well", ["runs"], "No module named 'gone_as_well'", "gone_as_well"),
        ("typer", "1 / 0", ["runs"], "ZeroDivisionError", "typer>=0.29"),
    ],
)
def test_a_broken_package_is_named_with_the_reason_and_the_command(  # noqa: PLR0917 - a case and two folders
    module, content, words, why, wanted, tmp_path, cache_dir
):
    write_run(tmp_path / "runs", "none")
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    if content is None:  # as if it were not installed
        (shadow / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    else:
        (shadow / f"{module}.py").write_text(content + "\n")
    done = runner(shadow, cache_dir, tmp_path)(*BENCH, *words)
    assert done.returncode == 3, done.stderr
    line = done.stderr.strip()
    assert line.startswith("bench: error: "), line
    assert "\n" not in line
    assert why in line
    assert f"pip install --force-reinstall '{wanted}'" in line
    assert "unexpected" not in line
    assert ("`bench doctor`" in line) == (wanted != "gone_as_well"), "which looks at what we need"


def test_what_others_need_of_ours_is_for_the_doctor_too_and_a_plug_ins_is_not():
    def blamed(module):
        return broken_package(ModuleNotFoundError(f"No module named {module!r}", name=module))

    assert "`bench doctor`" in blamed("tokenizers").mend, "of transformers"
    assert "`bench doctor`" not in blamed("pytest").mend


def test_errors_that_are_no_imports_blame_no_package():
    assert broken_package(ValueError("x")) is None
    assert broken_package(ImportError("our own", name="bench.gone")) is None


PLUGIN = """
from bench.scorers.base import Scorer, ScorerIdentity, ScorerInfo
from bench.spec import Spec

class Odd(Scorer[Spec]):
    Config = Spec
    info = ScorerInfo(name="odd", summary="odd", measures="odd", source="none")
    def load(self, ctx):
        {load}
    def score(self, texts):
        return [{{"toxicity": 0.5}} for _ in texts]
"""


@pytest.mark.parametrize(
    ("source", "said", "code"),
    [
        ("x = = 1", "scorer 'odd' of odd-package cannot be loaded (SyntaxError", 3),
        ("import sys; sys.exit(0)", "scorer 'odd' of odd-package cannot be loaded (SystemExit", 3),
        ("import gone_package", "scorer 'odd' of odd-package cannot be loaded (ModuleNotFoundError", 3),
        ("1 / 0", "scorer 'odd' of odd-package cannot be loaded (ZeroDivisionError", 3),
        ("", "scorer 'odd' of odd-package cannot be loaded (AttributeError", 3),
        (PLUGIN.format(load="return None"), "scorer Odd is broken: load() returned NoneType", 3),
        (
            PLUGIN.format(load="return 1 / 0"),
            "odd-package 1.0 failed: ZeroDivisionError: division by zero; report it",
            1,
        ),
    ],
)
def test_a_broken_plug_in_is_named(source, said, code, tmp_path, cache_dir, tiny_suite):
    shadow = tmp_path / "shadow"
    about = shadow / "odd_package-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.scorers]\nodd = odd_package:Odd\n")
    (shadow / "odd_package.py").write_text(source + "\n")
    suite = str(tiny_suite(scorer={"name": "odd", "threshold": 0.5}))
    done = runner(shadow, cache_dir, tmp_path)(*BENCH, "run", "--method", "none", "--suite", suite, "--limit", "1")
    line = done.stderr.strip().splitlines()[-1]
    assert done.returncode == code, done.stderr
    assert said in line
    assert "Traceback" not in done.stderr
