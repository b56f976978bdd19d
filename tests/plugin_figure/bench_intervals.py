# bench_intervals.py
from bench.errors import MissingError
from reports.plots import FigureInfo

INFO = FigureInfo("intervals", "Intervals", "one metric of every system, with its 95 % interval", options=("metric",))


def draw(runs, *, wide, metric="heldout/perplexity"):
    from reports.plots.bars import NAME, rows_height
    from reports.plots.style import BASE, INK, add_below, dash, describe, freeze, new_figure, shorts
    from reports.table.build import build

    table = build(runs, wanted=lambda row: row.key == metric)
    if not table.rows:
        raise MissingError(f"these runs have not measured '{metric}'", mend="name another by --metric TASK/NAME")
    figure = new_figure(wide=wide, height=rows_height(len(table.systems), 0.4))
    describe(figure, INFO.title, table.caption)
    axes = figure.subplots()
    axes.set_xlabel(metric.replace("_", " "))
    for place, cell in enumerate(table.rows[0].cells):
        if cell.value is None:
            dash(axes, 0.03, place, transform=axes.get_yaxis_transform())
        else:
            ends = (cell.low, cell.high) if cell.low is not None else (cell.value, cell.value)
            axes.plot(ends, [place, place], color=INK)
            axes.plot(cell.value, place, marker=BASE.marker if table.systems[place].is_base else "o", color=INK)
    axes.set_yticks(range(len(table.systems)), shorts([system.label for system in table.systems], NAME[wide]))
    axes.invert_yaxis()
    freeze(figure)
    add_below(figure, table.footnotes)
    return figure
