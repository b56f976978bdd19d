"""How figures look, in one place: sizes, fonts, colours, marks, and text that means nothing but itself."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from reports.table.cells import WHOLE, Caption, clean

COLUMN, TEXT = 3.35, 6.9
"""Widths in inches: of a paper's column and of its text."""
POINTS = 7.0
"""The size of all text: what is smaller cannot be read in print."""
LINE = 0.125
"""Height of a line of text, in inches."""
INK, SOFT = "#222222", "#767676"
_DARKER = 0.65
_PAD = 0.04  # inches
_KEY = 40  # characters of a name in the key, at most
_HANDLE = 0.5  # inches of what stands before it
_PER_INCH = 19.0  # characters of text, on average
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe & Ito (2008), without yellow, which white paper swallows; black is the base's."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p")
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2, 1, 1, 1, 2)))

STYLE: dict[str, Any] = {
    "text.parse_math": False,  # a label's dollar signs are dollar signs
    "text.usetex": False,
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same everywhere
    "font.size": POINTS,
    "axes.titlesize": POINTS,
    "axes.labelsize": POINTS,
    "xtick.labelsize": POINTS,
    "ytick.labelsize": POINTS,
    "legend.fontsize": POINTS,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlepad": 3.0,
    "axes.labelpad": 2.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "figure.constrained_layout.w_pad": 0.02,
    "figure.constrained_layout.h_pad": 0.03,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType: publishers refuse type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "contrastive-bench",
}


@dataclass(frozen=True)
class Look:
    """What tells a system from the others, by colour and without it."""

    colour: str
    marker: str
    line: Any

    @property
    def ink(self) -> str:
        """Its colour, dark enough for text on white."""
        red, green, blue = to_rgb(self.colour)
        return to_hex((_DARKER * red, _DARKER * green, _DARKER * blue))


BASE = Look("black", "*", "-")


def look(place: int) -> Look:
    """The look of the n-th system but the base: no two of the first 66 have colour and marker in common."""
    return Look(
        _COLOURS[place % len(_COLOURS)],
        _MARKERS[place % len(_MARKERS)],
        _LINES[place % len(_LINES)],
    )


def base_look(place: int) -> Look:
    """The look of the base of the n-th of several models: black, with a mark and a line of its own."""
    return Look(BASE.colour, _MARKERS[place % len(_MARKERS)], _LINES[place % len(_LINES)])


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save in the figures' style, whatever the user's matplotlibrc says; it is as before afterwards."""
    with style.context(STYLE, after_reset=True):
        yield


def new_figure(*, wide: bool, height: float) -> Figure:
    """An empty figure of a paper's width; `height` in inches."""
    return Figure(figsize=(TEXT if wide else COLUMN, height), layout="constrained")


def short(text: object, limit: int) -> str:
    """A label out of a record that is safe to draw and at most `limit` characters long."""
    whole = clean(text, WHOLE)
    return whole if len(whole) <= limit else f"{whole[: limit - 1].rstrip()}…"


def shorts(texts: Sequence[object], limit: int) -> list[str]:
    """Labels as `short` cuts them, no two of which become the same: where they would, the middle is cut out."""
    whole = [clean(text, WHOLE) for text in texts]
    half = (limit - 1) // 2
    cut = [short(text, limit) for text in whole]
    cut = [f"{w[:half]}…{w[-half:]}" if c != w and cut.count(c) > 1 else c for w, c in zip(whole, cut, strict=True)]
    return [
        f"{n}: {c}"[:limit] if c != w and cut.count(c) > 1 else c
        for n, (w, c) in enumerate(zip(whole, cut, strict=True), 1)
    ]


def describe(figure: Figure, title: str, caption: Caption) -> None:
    """Say in the figure's label what it was made from: it goes into the files' metadata."""
    scorer = f"scorer {caption.scorer} >= {caption.threshold:g}"
    figure.set_label(clean(f"{title}; suite {caption.suite}, model {caption.model}, {scorer}", 400))


def freeze(figure: Figure) -> None:
    """Lay the figure out now, for good."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def grow(figure: Figure, inches: float) -> None:
    """Add room at the bottom of a figure that is laid out: its axes keep their sizes."""
    width, height = figure.get_size_inches()
    places = [(axes, axes.get_position().bounds) for axes in figure.axes]
    figure.set_size_inches(width, height + inches)
    for text in figure.texts:
        text.set_y((text.get_position()[1] * height + inches) / (height + inches))
    for axes, (left, bottom, across, up) in places:
        scale = height / (height + inches)
        axes.set_position((left, (bottom * height + inches) / (height + inches), across, up * scale))


def add_below(figure: Figure, notes: Sequence[str], key: Sequence[tuple[Any, str]] = (), columns: int = 2) -> None:
    """Put a key (handles with what they mean), in as many of `columns` as fit, and notes below what is laid out."""
    width, _ = figure.get_size_inches()
    lines = [line for note in notes for line in textwrap.wrap(clean(note, 400), int(width * _PER_INCH))]
    below = (len(lines) + 0.5) * LINE if lines else 0.0
    legend = _fitting(figure, key, columns) if key else None
    grow(figure, below + (legend.get_window_extent().height / figure.dpi + _PAD if legend else 0.0))
    _, height = figure.get_size_inches()
    if legend:
        legend.set_bbox_to_anchor((0.5, below / height), transform=figure.transFigure)
    for row, line in enumerate(reversed(lines)):
        figure.text(_PAD / width, (_PAD + row * LINE) / height, line, va="bottom", color=SOFT)


def _fitting(figure: Figure, key: Sequence[tuple[Any, str]], columns: int) -> Legend:
    """A legend in as many columns as the figure is wide enough for."""
    width, _ = figure.get_size_inches()
    most = min(columns, len(key))
    for count, per_inch in ((count, rate) for count in range(most, 0, -1) for rate in (_PER_INCH + 2, _PER_INCH - 2)):
        limit = min(_KEY, int((width / count - _HANDLE) * per_inch))
        legend = figure.legend(
            [handle for handle, _ in key],
            shorts([name for _, name in key], limit),
            loc="lower center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=count,
            borderpad=0.2,
            borderaxespad=0.1,
            labelspacing=0.15,
            columnspacing=1.0,
            handletextpad=0.4,
        )
        if (count, per_inch) == (1, _PER_INCH - 2) or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    return legend


def dash(axes: Axes, x: float, y: float, **how: Any) -> None:
    """Draw what is absent: a dash, never a nought."""
    axes.text(x, y, "\N{EN DASH}", color=SOFT, va="center", **how)
