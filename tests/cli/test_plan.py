"""`bench plan`, as a user types it."""

import json

import pytest
from synthetic import settle, write_run


@pytest.fixture
def runs(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / "runs", "none", seed, toxicity=0.45)
        write_run(tmp_path / "runs", "contrastive", seed, toxicity=0.3)
    return tmp_path


def test_by_records(bench, runs):
    done = bench("plan", "--suite", "mini")
    assert (done.returncode, done.stderr) == (0, "")
    assert "of the base: 0." in done.stdout and "(from the records)" in done.stdout
    assert "40 prompts x 5 samples, 2 seeds, 1 method compared with the base" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    facts = json.loads(bench("plan", "--suite", "mini", "--json").stdout)
    assert facts["origins"]["share"] == "records"
    assert facts["design"] == {"prompts": 40, "samples": 5, "seeds": 2, "methods": 1, "trained": 1}
    assert facts["target"] == pytest.approx(facts["population"]["share"] / 2)
    assert 0 <= facts["power"] <= 1
    assert [need["seeds"] for need in facts["needs"]] == [1, 2, 3, 5]


def test_without_records_it_assumes_and_says_so(bench, tmp_path):
    done = bench("plan", "--prompts", "64", "--samples", "5", "--seeds", "3", "--from", "0.16", "--to", "0.08")
    assert done.returncode == 0, done.stderr
    assert "0.160 (given)" in done.stdout
    assert "(assumed)" in done.stdout
    assert "0.160 -> 0.080 is found with" in done.stdout


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        ([], 2, "no run says how many prompts there are; give --prompts, or name runs"),
        (["--prompts", "64"], 2, "no run says how many samples there are; give --samples, or name runs"),
        (["--prompts", "64", "--samples", "5", "--from", "1.6"], 2, "--from 1.6 is no share between 0 and 1"),
        (["--prompts", "64", "--samples", "5", "--to", "0"], 2, "--to 0 is no share between 0 and 1"),
        (["--prompts", "1", "--samples", "5"], 2, "prompts"),
        (["--suite", "minni"], 2, "did you mean 'mini'"),
        (["mini-contrastive-s0"], 3, "the base (method none) is not among these runs; name its runs as well"),
        (["mini-none-s0", "elsewhere"], 3, "are not comparable"),
    ],
)
def test_what_is_wrong_is_one_line(bench, runs, flags, code, told):
    write_run(runs, "dpo", scorer__threshold=0.7, run_id="elsewhere")
    done = bench("plan", *flags)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def grade(folder, share, spread=0.004):
    """Put a mean of questions, of which a high one is wanted, in the place of the toxic fraction."""
    path = folder / "tasks" / "rtp.json"
    record = json.loads(path.read_text())
    behind = record["evidence"].pop("rtp/toxic/toxic_fraction")
    record["evidence"]["rtp/toxic/truth"] = {
        **behind,
        "cluster": list(range(len(behind["cluster_ids"]))),
        "value": [round(share + spread * (place % 7) * (1 + share), 6) for place in range(len(behind["cluster_ids"]))],
    }
    for one in record["metrics"]:
        one["role"], one["primary"] = "attribute", one["name"] == "toxic_fraction"
        if one["primary"]:
            one["name"], one["higher_is_better"] = "truth", True
    path.write_text(json.dumps(record))
    result = json.loads((folder / "result.json").read_text())
    result["metrics"] = record["metrics"] + [one for one in result["metrics"] if one["task"] != "rtp"]
    (folder / "result.json").write_text(json.dumps(result))
    settle(folder)


@pytest.fixture
def graded(tmp_path):
    for seed in (0, 1):
        grade(write_run(tmp_path / "runs", "none", seed), 0.5)
        grade(write_run(tmp_path / "runs", "contrastive", seed), 0.52 + 0.01 * seed)
    return tmp_path


def test_a_mean_is_planned_by_how_differences_vary(bench, graded):
    done = bench("plan", "--suite", "mini")
    assert (done.returncode, done.stderr) == (0, "")
    assert "truth of the base: 0.5" in done.stdout and "the difference of an item to the base varies by" in done.stdout
    assert "sample" not in done.stdout
    facts = json.loads(bench("plan", "--suite", "mini", "--json").stdout)
    assert facts["target"] > facts["detectable"] > facts["population"]["mean"]
    assert facts["population"]["training"] > 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["mini-none-s0", "mini-contrastive-s0", "--seeds", "3"], "how much trainings differ is not known; give --tr"),
        (["mini-none-s0"], "is not known from the base alone; name a method's runs as well"),
        (["--suite", "mini", "--samples", "9"], "has one figure a prompt"),
        (["--suite", "mini", "--to", "1.5"], "--to 1.5 is no mean from 0 to 1"),
    ],
)
def test_what_no_mean_can_be_planned_by_is_one_line(bench, graded, flags, told):
    done = bench("plan", *flags)
    assert done.returncode in {2, 3}
    assert told in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_one_seed_of_a_mean_is_planned_without_trainings(bench, graded):
    done = bench("plan", "mini-none-s0", "mini-contrastive-s0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "how much trainings differ is not known" in done.stdout and "  3 seeds" not in done.stdout


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["none"], "how differences of rtp/toxic/truth vary is not known from the base alone; name a method's runs"),
        (["none", "contrastive"], "all items of these runs differ from the base by the same in rtp/toxic/truth"),
        (["none", "prompt"], "all items of these runs differ from the base by the same in rtp/toxic/truth"),
    ],
)
def test_what_is_right_or_wrong_of_every_item_alike_says_nothing_of_how_they_vary(bench, tmp_path, names, told):
    for name in names:
        grade(write_run(tmp_path / "runs", name), float(name == "contrastive"), spread=0)
    done = bench("plan", "--suite", "mini")
    assert (done.returncode, done.stdout) == (3, "")
    assert told in done.stderr and len(done.stderr.strip().splitlines()) == 1
