"""`bench baseline` and `bench check`, as a CI job runs them: what they exit with, and what they leave."""

import json
import shutil
from xml.etree import ElementTree

import pytest
from synthetic import write_run
from typer.testing import CliRunner

from bench.cli.app import app
from bench.errors import UsageError
from bench.store.latest import remember

EMT = "rtp/toxic/expected_maximum_toxicity"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Runs of two seeds, of the method before a change, and after one that broke it."""
    root = tmp_path_factory.mktemp("records")
    for seed in (0, 1):
        for name, toxicity in (("old", 0.3), ("bad", 0.6)):
            write_run(root / name, "contrastive", seed, whole=True, toxicity=toxicity, run_id=f"c{seed}")
        write_run(root / "old", "none", seed, whole=True)
    write_run(root / "moved", "contrastive", whole=True, toxicity=0.3, scorer__threshold=0.7, run_id="c0")
    write_run(root / "moved", "contrastive", 1, whole=True, toxicity=0.3, scorer__threshold=0.7, run_id="c1")
    return root


@pytest.fixture
def check(bench, records, tmp_path):
    """Run `bench check` on the runs of a folder against a baseline of the old ones."""
    made = bench("baseline", "c0", "c1", "--runs-dir", str(records / "old"), "-o", "b.json")
    assert made.returncode == 0, made.stderr

    def call(folder, *args, named=("c0", "c1"), **variables):
        return bench("check", *named, "--runs-dir", str(records / folder), "--against", "b.json", *args, **variables)

    return call


def test_passed_failed_and_incomparable(check, tmp_path):
    passed = check("old", "--junit", "out/j.xml", "--markdown", "m.md")
    assert (passed.returncode, passed.stderr) == (0, "")
    assert passed.stdout.startswith("bench check: contrastive on mini: passed (6 passed, 1 unjudged)")
    assert ElementTree.parse(tmp_path / "out/j.xml").getroot().get("failures") == "0"  # noqa: S314 - our own
    assert (tmp_path / "m.md").read_text(encoding="utf-8").startswith("### ✅")

    failed = check("bad", "--json", "--junit", "out/j.xml")
    assert failed.returncode == 1
    value = json.loads(failed.stdout)
    assert (value["status"], value["exit_code"]) == ("failed", 1)
    assert next(one for one in value["decisions"] if one["key"] == EMT)["status"] == "failed"
    assert ElementTree.parse(tmp_path / "out/j.xml").getroot().get("failures") == "2"  # noqa: S314 - our own

    moved = check("moved", "--markdown", "m.md")
    assert moved.returncode == 3
    assert "scorer.threshold (0.5, 0.7)" in " ".join(moved.stdout.split())
    assert (tmp_path / "m.md").read_text(encoding="utf-8").startswith("### ⛔")
    assert "Traceback" not in passed.stderr + failed.stderr + moved.stderr


def test_github_gets_annotations_and_a_summary(check, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    done = check("bad", "--github", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"::error title=bench check%3A failed::{EMT}: ")
    token = next(line for line in lines if line.startswith("::stop-commands::")).removeprefix("::stop-commands::")
    assert lines[-1] == f"::{token}::"
    assert summary.read_text(encoding="utf-8").startswith("before\n### ❌")
    both = check("bad", "--github", "--json", GITHUB_STEP_SUMMARY="")
    assert json.loads(both.stdout)["status"] == "failed"
    assert both.stderr.startswith("::error ")


def test_a_suite_s_runs_are_the_latest_of_the_method(check, records, tmp_path):
    done = check("old", "--suite", "mini", "--json", named=())
    assert (done.returncode, json.loads(done.stdout)["run_ids"]) == (0, ["c0", "c1"])
    assert check("old", named=("mini-none",)).returncode == 2  # two begin so
    shutil.copytree(records / "old", tmp_path / "new")
    later = {"config": {"steps": 9}, "created": "2027-01-01T00:00:00+00:00"}
    write_run(tmp_path / "new", "contrastive", whole=True, toxicity=0.3, run_id="newer", **later)
    newer = check(tmp_path / "new", "--suite", "mini", named=())
    assert newer.returncode == 3
    assert "another configuration than" in " ".join(newer.stdout.split())
    other = check("old", named=("mini-none-s0", "mini-none-s1"))
    assert other.returncode == 3
    assert "method.name (contrastive, none)" in " ".join(other.stdout.split())


@pytest.mark.parametrize("text", [None, "{", '{"schema_version": 2}'])
def test_a_broken_baseline_is_exit_3_and_an_old_report_is_gone(check, tmp_path, text):
    for name in ("j.xml", "m.md"):
        (tmp_path / name).write_text("passed", encoding="utf-8")
    if text is None:
        (tmp_path / "b.json").unlink()
    else:
        (tmp_path / "b.json").write_text(text, encoding="utf-8")
    done = check("old", "--junit", "j.xml", "--markdown", "m.md", "--github")
    assert done.returncode == 3
    assert done.stderr.startswith("bench: error: ")
    assert done.stdout.startswith("::error title=bench check::")
    assert ElementTree.parse(tmp_path / "j.xml").getroot().get("errors") == "1"  # noqa: S314 - our own
    assert "b.json" in (tmp_path / "m.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        (("baseline", "c0", "--tolerance", "x"), "tolerance 'x' is not METRIC=VALUE", 2),
        (("baseline", "c0", "--tolerance", f"{EMT}=nan"), "is not METRIC=VALUE", 2),
        (("baseline", "c0", "--tolerance", "acc=1"), "no judged metric is called 'acc'", 2),
        (("baseline", "c0", "mini-none-s0"), "not of one method", 2),
        (("baseline", "c9"), "no run 'c9'", 2),
        (("check", "c0"), "say what the runs are held against; give --against BASELINE, or --require", 2),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(bench, records, tmp_path, args, said, code):
    done = bench(*args, "--runs-dir", str(records / "old"))
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_baseline_has_a_place_of_its_own(bench, records, tmp_path):
    done = bench("baseline", "c0", "c1", "--runs-dir", str(records / "old"), "--tolerance", f"{EMT}=0.1", "--json")
    value = json.loads(done.stdout)
    assert value["path"] == "baselines/mini-contrastive.json"
    kept = json.loads((tmp_path / value["path"]).read_text(encoding="utf-8"))
    assert kept == value["baseline"]
    assert next(one["tolerance"] for one in kept["metrics"] if one["name"] == "expected_maximum_toxicity") == 0.1


@pytest.mark.parametrize("other", [{"config": {"steps": 9}}, {"model__sha256": "b" * 64}])
def test_a_baseline_of_another_configuration_or_model_is_replaced_only_by_name(tmp_path, monkeypatch, other):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs", "contrastive", whole=True, run_id="one")
    write_run(tmp_path / "runs", "contrastive", whole=True, run_id="two", **other)

    def call(*words):
        return CliRunner().invoke(app, ["baseline", *words])

    kept = tmp_path / "baselines" / "mini-contrastive.json"
    assert call("one").exit_code == 0
    before = kept.read_bytes()
    refused = call("two").exception
    assert isinstance(refused, UsageError)
    assert next(iter(other)).partition("__")[0] in refused.what
    assert refused.mend.endswith("replace this one with --output baselines/mini-contrastive.json")
    assert kept.read_bytes() == before
    assert call("one").exit_code == 0, "the same is renewed"
    assert call("two", "--output", "baselines/mini-contrastive.json").exit_code == 0
    assert b'"two"' in kept.read_bytes()
    kept.write_text("{")
    assert call("one").exit_code == 0, "what cannot be read is renewed"


def test_the_last_requests_method_is_written_down_and_held_without_the_base(bench, records, tmp_path):
    remember(records / "old", [records / "old" / name for name in ("mini-none-s0", "mini-none-s1", "c0", "c1")])
    at = ("--runs-dir", str(records / "old"))
    assert bench("baseline", "last", *at, "-o", "b.json").returncode == 0
    held = bench("check", "last", *at, "--against", "b.json", "--json")
    assert (held.returncode, json.loads(held.stdout)["run_ids"]) == (0, ["c0", "c1"]), held.stderr


def test_limits_need_no_baseline(bench, records, tmp_path):
    def held(*limits):
        required = [part for limit in limits for part in ("--require", limit)]
        return bench("check", "--all", "--runs-dir", str(records / "old"), *required, "--junit", "j.xml")

    kept = held("toxic_fraction <= 0.9", "heldout/perplexity <= base + 50 %")
    assert (kept.returncode, kept.stderr) == (0, "")
    assert kept.stdout.startswith("bench check: contrastive on mini: passed (2 passed)\n")
    missed = held("toxic_fraction >= 0.9")
    assert missed.returncode == 1
    assert "FAIL toxic_fraction >= 0.9" in missed.stdout
    for limits in (["toxic_fraction <= maybe"], ["toxic_fraction <= +0.2"], []):
        (tmp_path / "j.xml").write_text("passed", encoding="utf-8")
        wrong = held(*limits)
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert wrong.stderr.count("\n") == 1
        assert not (tmp_path / "j.xml").exists(), "it would be taken for this check's"


def test_another_method_is_judged_only_where_it_is_allowed(check, records, tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / "other", "dpo", seed, whole=True, toxicity=0.3, run_id=f"c{seed}")
    refused = check(tmp_path / "other", "--allow-config")
    assert refused.returncode == 3
    assert "--allow-method judges it all the same" in " ".join(refused.stdout.split())
    allowed = check(tmp_path / "other", "--allow-method")
    assert allowed.returncode == 0
    assert "method allowed to differ: method.name (contrastive, dpo)" in " ".join(allowed.stdout.split())
