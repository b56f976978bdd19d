"""Draw what an edit did to the log-perplexities of the texts that it learned from: the README's picture.

python docs/images/draw_perplexities.py RUN [--runs-dir runs] [-o docs/images/perplexities.svg]

RUN is a finished run of a method that learns from contrastive sets which its suite made.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bench.assets.catalogue import AssetCatalogue
from bench.engine.perplexity import log_perplexities
from bench.policy import HFPolicy, Policy
from bench.printed import echo
from bench.run.edited import edited
from bench.sets import load_sets
from bench.store.runs import find_run
from reports.plots.output import render
from reports.plots.style import BASE, add_below, freeze, look, new_figure, styled

_BINS = 40
Texts = dict[str, list[tuple[str, str]]]
"""Anchors with a text each, by kind."""
Phis = dict[str, NDArray[np.float64]]
"""Log-perplexities, by kind."""


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("perplexities.svg"))
    args = parser.parse_args()
    run = find_run(args.runs_dir, args.run)
    assets = AssetCatalogue(offline=True)
    found = edited(run, assets)
    sets = load_sets(assets.cache / "sets" / str(run.manifest.method["sets_key"]) / "sets.jsonl").sets
    texts = {
        "good texts": [(one.anchor, text.text) for one in sets for text in one.positives],
        "bad texts": [(one.anchor, text.text) for one in sets for text in one.negatives],
    }
    base = found.load()
    phis = {"before": _measured(HFPolicy(base.model, base.tokenizer), texts)}
    with found.on(base) as policy:
        phis["after"] = _measured(policy, texts)
    for when, kinds in phis.items():
        echo(f"{when}: {', '.join(f'{len(phi)} {kind}, mean {phi.mean():.2f}' for kind, phi in kinds.items())}")
    _draw(phis, args.output)


def _measured(policy: Policy, texts: Texts) -> Phis:
    return {kind: np.array(log_perplexities(policy, some), dtype=np.float64) for kind, some in texts.items()}


def _draw(phis: dict[str, Phis], output: Path) -> None:
    every = np.concatenate([phi for kinds in phis.values() for phi in kinds.values()])
    edges = np.linspace(0, np.quantile(every, 0.995), _BINS)
    with styled():
        figure = new_figure(wide=True, height=1.9)
        panes = figure.subplots(1, len(phis), sharex=True, sharey=True)
        for axes, (when, kinds) in zip(panes, phis.items(), strict=True):
            for place, phi in enumerate(kinds.values()):
                weights = np.full(len(phi), 1 / len(phi))
                colour = look(place).colour
                axes.hist(np.minimum(phi, edges[-1]), edges, weights=weights, color=colour, alpha=0.45)
                axes.axvline(phi.mean(), color=look(place).ink, linewidth=1.2)
            axes.set_title(f"{when} the edit")
            axes.set_xlabel("log-perplexity of a text, given its beginning")
        panes[0].set_ylabel("share of texts")
        figure.set_label("Log-perplexities of good and bad texts, before and after the edit")
        freeze(figure)
        key = [
            (Line2D([], [], color=look(place).colour, linewidth=5, alpha=0.45), kind)
            for place, kind in enumerate(phis["before"])
        ]
        add_below(figure, [], [*key, (Line2D([], [], color=BASE.colour), "their mean")], 3)
    output.write_bytes(render(figure, output.suffix.removeprefix(".")))


if __name__ == "__main__":
    main()
