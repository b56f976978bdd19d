"""What contrastive sets are like: the distribution of each measure, positives beside negatives."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.errors import MissingError
from reports.plots.style import add_below, freeze, look, new_figure, styled

_LABELS = {
    "score": "score",
    "words": "words",
    "similarity": "cosine to the sentence",
    "log_perplexity": "log-perplexity",
}
_BINS = 24


def draw_sets(values: Mapping[str, Mapping[str, Sequence[float]]], source: str, *, wide: bool = True) -> Figure:
    """Draw a histogram of each measure that there is.

    Args:
        values: Of each kind (positives, negatives) and measure, one number a text.
        source: What the sets are, for the label.
        wide: In the width of a page's text.

    Raises:
        MissingError: there is nothing to draw.
    """
    measures = [name for name in _LABELS if any(kind.get(name) for kind in values.values())]
    if not measures:
        raise MissingError("the sets have nothing to draw")
    across = len(measures) if wide else min(2, len(measures))
    down = -(-len(measures) // across)
    with styled():
        figure = new_figure(wide=wide, height=1.45 * down)
        panes = figure.subplots(down, across, squeeze=False).ravel()
        for axes, name in zip(panes, measures, strict=False):
            every = np.concatenate([np.asarray(kind.get(name, ()), dtype=float) for kind in values.values()])
            edges = np.histogram_bin_edges(every, bins=_BINS)
            for place, kind in enumerate(values.values()):
                own = np.asarray(kind.get(name, ()), dtype=float)
                if len(own):
                    weights = np.full(len(own), 1 / len(own))
                    axes.hist(own, edges, weights=weights, histtype="step", color=look(place).colour, linewidth=1.0)
            axes.set_xlabel(_LABELS[name])
        for axes in panes[len(measures) :]:
            axes.remove()
        panes[0].set_ylabel("share of texts")
        figure.set_label(f"Contrastive sets; {source}")
        freeze(figure)
        key = [(Line2D([], [], color=look(place).colour), kind) for place, kind in enumerate(values)]
        add_below(figure, [], key, 2)
    return figure
