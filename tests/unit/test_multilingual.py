"""Prompts in several languages: RTP-LX's and PolygloToxicityPrompts' shapes, figures by language, both suites."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from checkpoints import tiny_detoxify

from bench.assets.catalogue import AssetCatalogue
from bench.attribute import TOXICITY
from bench.data.counted import BEYOND
from bench.data.languages import is_other
from bench.data.prompts import load_prompts
from bench.data.splits import part
from bench.errors import UsageError
from bench.run.environment import Environment
from bench.run.launch.local import run_experiments
from bench.run.plan import Request, make_experiments
from bench.store.runs import load_run
from bench.store.samples import Sample
from bench.suites import read_suite
from bench.tasks.base import MetricSheet
from bench.tasks.rtp import RealToxicityPrompts, RTPConfig, attribute_metrics
from bench.tasks.variety import add_variety

SENTENCES = {
    "AR": "وصل القطار رقم {n} إلى المدينة في الصباح",
    "EN": "Train number {n} came to the town in the morning",
    "HI": "रेलगाड़ी संख्या {n} सुबह शहर पहुँची",
    "TH": "รถไฟขบวนที่ {n} มาถึงเมืองในตอนเช้า",
}
LANGUAGES = sorted(name.lower() for name in SENTENCES)


def rtp_lx(folder: Path, locale: str, count: int = 24) -> str:
    """A file as RTP-LX has one a locale: every second prompt is toxic to people."""
    rows = [
        {
            "Prompt": SENTENCES[locale].format(n=n),
            "Completion": "",
            "Index": n,
            "Locale": locale,
            "Dialect": "",
            "Annotations": {"Toxicity": 1.0 + 4 * (n % 2), "Insult": 1.0},
            "AnnotationsRaw": {"Toxicity": [1, 1, 1]},
        }
        for n in range(count)
    ]
    path = folder / f"RTP_LX_{locale}.json"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def polyglot(folder: Path, locale: str, count: int = 24) -> str:
    """A file as PolygloToxicityPrompts has one a language."""
    rows = [
        {
            "text": SENTENCES[locale].format(n=n),
            "meta_data": {"lang": locale.lower(), "url": "x"},
            "toxicity": 0.75 * (n % 2),
            "toxicity_bucket": 3 * (n % 2),
        }
        for n in range(count)
    ]
    path = folder / f"ptp-{locale.lower()}.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return str(path)


@pytest.mark.parametrize("write", [rtp_lx, polyglot])
@pytest.mark.parametrize("locale", SENTENCES)
def test_both_shapes_are_read_with_their_language(write, locale, tmp_path):
    found = load_prompts(Path(write(tmp_path, locale)))
    assert {one.language for one in found} == {locale.lower()}
    assert {one.text for one in found} == {SENTENCES[locale].format(n=n) for n in range(24)}
    assert {one.group for one in found} == {"toxic", "nontoxic"}
    assert {one.toxicity for one in found} == ({0.0, 1.0} if write is rtp_lx else {0.0, 0.75})


def rows_file(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_shape_of_chats_and_what_is_no_language(tmp_path):
    chat = rows_file(tmp_path / "a.jsonl", {"prompt": "a b", "lang": "pt-BR", "prompt_toxicity": 0.6})
    (found,) = load_prompts(chat)
    assert (found.text, found.language, found.toxicity) == ("a b", "pt-br", 0.6)
    (plain,) = load_prompts(rows_file(tmp_path / "b.jsonl", {"text": "a b", "lang": None}))
    assert plain.language is None
    for row, said in (
        ({"text": "SECRET", "lang": "rude words / 3"}, "line 1: 'lang' is no code of a language; write codes as hi"),
        ({"Prompt": "SECRET", "Locale": "TH", "Annotations": {"Toxicity": 0.5}}, "line 1: .*not between 1 and 5"),
        ({"Prompt": 3, "Locale": "TH"}, "line 1: expected an object"),
    ):
        with pytest.raises(UsageError, match=said) as told:
            load_prompts(rows_file(tmp_path / "c.jsonl", row))
        assert "SECRET" not in str(told.value)


def test_a_repeated_prompt_has_the_language_of_any_of_its_rows(tmp_path):
    """Else figures by language would depend on the order of the files."""
    bare = rows_file(tmp_path / "bare.jsonl", {"text": "a b", "toxicity": 0.7})
    told = rows_file(tmp_path / "told.jsonl", {"text": "a b", "lang": "hi"})
    for paths in ((bare, told), (told, bare)):
        (found,) = load_prompts(*paths)
        assert (found.toxicity, found.language) == (0.7, "hi")


def test_so_many_prompts_of_each_language_and_group_are_taken(context, tmp_path):
    data = tuple(rtp_lx(tmp_path, locale, 40) for locale in SENTENCES)
    task = RealToxicityPrompts(RTPConfig(task="rtp", data=data, toxic=3, nontoxic=2))
    taken = task.prompts(context)
    for language in LANGUAGES:
        own = [one for one in taken if one.language == language]
        assert [one.group for one in own] == ["toxic"] * 3 + ["nontoxic"] * 2
    assert taken.facts("x")["rows"] == 160
    assert set(task.languages(context.assets).values()) == set(LANGUAGES)
    with pytest.raises(ValueError, match="name data"):
        RTPConfig(task="rtp", data=())


def test_a_language_of_which_no_prompt_is_taken_is_said_by_name(context, tmp_path):
    """To people no Thai prompt is toxic: it is in no figure, and none of it is beyond the number asked for."""
    data = tuple(rtp_lx(tmp_path, locale, 40) for locale in SENTENCES)
    thai = Path(data[-1])
    thai.write_text(thai.read_text(encoding="utf-8").replace('"Toxicity": 5.0', '"Toxicity": 2.0'), encoding="utf-8")
    task = RealToxicityPrompts(RTPConfig(task="rtp", data=data, toxic=3, nontoxic=0))
    taken = task.prompts(context)
    assert {one.language for one in taken} == {"ar", "en", "hi"}
    assert taken.left_out["in th, of which none is of the half and groups that are taken"] == 40
    own = [one for path in data[:-1] for one in part(load_prompts(Path(path)), "eval")]
    assert taken.left_out[BEYOND] == len(own) - 9
    assert sum(taken.left_out.values()) + len(taken) == 160


def test_a_group_of_which_a_language_has_no_prompt_is_said(tmp_path):
    data = tuple(rtp_lx(tmp_path, locale, 40) for locale in ("EN", "TH"))
    thai = Path(data[-1])
    thai.write_text(thai.read_text(encoding="utf-8").replace('"Toxicity": 1.0', '"Toxicity": 4.0'), encoding="utf-8")
    task = RealToxicityPrompts(RTPConfig(task="rtp", data=data, toxic=3, nontoxic=2))
    assert task.lacking(task.asked(AssetCatalogue(tmp_path / "cache"), lambda most: most)) == [
        "no nontoxic prompt in th"
    ]
    all_that_is = RealToxicityPrompts(RTPConfig(task="rtp", data=data))
    assert all_that_is.lacking(all_that_is.asked(AssetCatalogue(tmp_path / "cache"), lambda most: most)) == []


def sample(name: str, text: str, toxicity: float | None, prompt: str = "x") -> Sample:
    return Sample(name, 0, prompt, text, None if toxicity is None else {"toxicity": toxicity})


def test_figures_by_language_rest_on_the_prompts_of_it():
    rows = [sample("a", "x", 0.9), sample("b", "x", 0.1), sample("c", "x", 0.8), sample("d", "x", None)]
    spoken = {"a": "hi", "b": "hi", "c": "th", "d": "th"}
    found = {one.key: one for one in attribute_metrics(rows, TOXICITY, None, spoken).metrics}
    assert found["rtp/hi/toxic_fraction"].value == 0.5
    assert found["rtp/th/toxic_fraction"].value == 1.0
    assert (found["rtp/th/expected_maximum_toxicity"].n_failed, found["rtp/hi/toxic_fraction"].n_failed) == (1, 0)
    alone = attribute_metrics(rows, TOXICITY, None, dict.fromkeys(spoken, "hi"))
    assert not any(one.group for one in alone.metrics), "one language has no figures of its own"


def test_another_language_is_another_one_than_the_prompts_own():
    hindi, thai = "मैं आज सुबह बाज़ार गया था और वहाँ से सब्ज़ियाँ और फल लेकर आया हूँ।", SENTENCES["TH"].format(n=7)
    assert is_other(hindi, "th")
    assert not is_other(hindi, "hi-IN")
    assert is_other(hindi, "bcms") is None, "a code that stands for several languages"
    assert is_other(hindi, None) is None
    rows = [sample("a", hindi, 0.0, thai), sample("b", thai, 0.0, thai), sample("c", hindi, 0.0, hindi)]
    sheet = MetricSheet("diversity")
    add_variety(sheet, rows, {"a": "th", "b": "th", "c": "hi"})
    assert next(one.value for one in sheet.metrics if one.name == "other_language_share") == pytest.approx(1 / 3)
    for spoken, figures in (({"a": "thai", "b": "th", "c": "hin"}, [(0.0, 1)]), (dict.fromkeys("abc", "thai"), [])):
        sheet = MetricSheet("diversity")
        add_variety(sheet, rows, spoken)
        found = [(one.value, one.n) for one in sheet.metrics if one.name == "other_language_share"]
        assert found == figures, "what is not known is not clean"


@pytest.mark.parametrize(("name", "write"), [("rtp-lx", rtp_lx), ("polyglot", polyglot)])
def test_the_suite_runs_through_on_small_files_in_its_shape(name, write, tiny_model, tmp_path):
    suite, _ = read_suite(name)
    options, _, _ = tiny_detoxify(tmp_path)
    data = [write(tmp_path, locale) for locale in SENTENCES]
    suite["model"] = {"id": str(tiny_model)}
    assert suite["scorer"]["options"] == {"variant": "multilingual"}
    suite["scorer"] = {"name": "detoxify", "options": options}
    assert not any(suite["sets"]["prompts"] in task.get("data", ()) for task in suite["tasks"]) or name == "rtp-lx"
    suite["sets"] |= {"prompts": data[1], "num_prompts": 4, "positive_below": 0.5, "negative_above": 0.5}
    suite["decoding"] = {"num_samples": 2, "max_new_tokens": 4}
    suite["tasks"][0] |= {"data": data, "toxic": 2, "nontoxic": 1}
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(suite), encoding="utf-8")
    experiments = make_experiments(Request(["prompt"], str(path)))
    env = Environment(experiments[0].suite, AssetCatalogue(tmp_path / "cache", offline=True))
    outcomes = run_experiments(experiments, env, tmp_path / "runs")
    assert [outcome.error for outcome in outcomes] == [None, None]
    run = load_run(outcomes[1].folder)
    found = {one.key: one for one in run.result.metrics}
    for language in LANGUAGES:
        assert found[f"rtp/{language}/toxic_fraction"].n == 6
        assert found[f"rtp/{language}/expected_maximum_toxicity"].value is not None
    assert found["rtp/toxic/toxic_fraction"].n == 16
