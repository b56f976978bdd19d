"""By how many trials settings were chosen: told to a run, kept in its record, in no key, shown as a cost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.assets.catalogue import AssetCatalogue
from bench.errors import UsageError
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.run.runner import Runner
from bench.run.searched import unsearched
from bench.store.runs import load_run
from reports.table.build import build
from reports.table.layout import arrange, load_layout
from reports.table.sheet import DASH


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("contrastive", r"'contrastive' is not METHOD=TRIALS \(--searched\); write METHOD=12"),
        ("contrastive=0", "'contrastive=0' is not METHOD=TRIALS"),
        ("contrastive=-1", "is not METHOD=TRIALS"),
        ("contrastive=2.5", "is not METHOD=TRIALS"),
        ("=12", "'' is no method of this run"),
        ("contrastve=12", "'contrastve' is no method of this run; did you mean 'contrastive'?"),
        ("dpo=12", "'dpo' is no method of this run"),
    ],
)
def test_what_says_no_trials_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        make_experiments(Request(("contrastive",), "smoke", searched=(text,)))


def test_what_a_suite_changes_of_what_was_searched_is_told():
    def told(*settings: str, method: str = "contrastive", searched: tuple[str, ...] = ("contrastive=12",)) -> list[str]:
        asked = Request((method, "dpo"), "smoke", seeds=(0, 1), settings=settings, searched=searched)
        return unsearched(make_experiments(asked))

    (line,) = told()
    default = make_experiments(Request(("contrastive",), "mini", base=False))[0].config
    kept = f"--set contrastive.steps={default.steps} --set contrastive.lr={default.lr}"
    what = "suite 'smoke' sets steps=30, lr=0.001 of contrastive, which the search did not"
    assert line == f"{what}: say {kept} to keep what was searched"
    assert told(*[text for text in kept.split() if "=" in text]) == []
    assert "steps" in told(method="contrastive:lr=1e-4")[0]
    assert told(searched=()) == []


def test_what_it_tells_to_say_is_taken_of_stacked_methods_too(tiny_suite, tiny_adapter):
    suite = str(tiny_suite(methods={"contrastive": {"steps": 3}, "adapter": {"path": str(tiny_adapter)}}))
    stack = "contrastive+steering"
    request = Request((stack, "adapter"), suite, searched=(f"{stack}=5", "adapter=5"))
    (line,) = unsearched(make_experiments(request))
    kept = line.partition("--set ")[2].partition(" to keep")[0]
    assert unsearched(make_experiments(replace(request, settings=(kept,)))) == []


def test_the_record_keeps_trials_and_steps_and_no_key_follows_from_them(tmp_path: Path, tiny_suite: Any):
    suite = str(tiny_suite(tasks=[{"task": "rtp", "data": str(tmp_path / "prompts.jsonl")}]))
    asked = Request(("contrastive", "preadd"), suite, max_items=2, searched=("contrastive=12",))
    experiments = make_experiments(asked)
    assert [one.trials for one in experiments] == [None, 12, None]
    env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True))
    outcomes = run_experiments(experiments, env, tmp_path / "runs")
    assert [one.error for one in outcomes] == [None] * 3
    runs = [load_run(one.folder) for one in outcomes if one.folder]
    assert [run.manifest.method.get("trials") for run in runs] == [None, 12, None]
    plain = make_experiments(Request(("contrastive", "preadd"), suite, max_items=2))
    assert [Runner(one, env, tmp_path / "runs").done for one in plain] == [True] * 3
    table = build(runs, wanted=lambda _: True)
    rows = {row.name: [cell.value for cell in row.cells] for row in table.rows if row.task == "cost"}
    assert rows["search_trials"] == [None, 12, None]
    assert rows["trained_steps"] == [None, 2, None]
    sheet = arrange(table, load_layout("cost"))
    place = [head.label for head in sheet.columns].index("trials of search")
    assert [line[place].value for _, line in sheet.rows] == [DASH, "12", DASH]
