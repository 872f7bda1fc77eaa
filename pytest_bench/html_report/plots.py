"""The plots of the page as Vega-Lite specifications (https://vega.github.io/vega-lite/docs/).

Text from suites, servers and models is only ever a value in `data`, never part of an expression or a field name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Rows = Sequence[dict[str, Any]]
Spec = dict[str, Any]
Span = tuple[float, float]
"""First and last second that a time axis shows."""

_WIDE = 20
"""Ratio of the largest to the smallest value above which an axis is logarithmic."""


class Plot(NamedTuple):
    """One plot of the page."""

    caption: str
    """What it shows, with the units. Also the text for readers who do not see it."""
    spec: Spec


def distribution(rows: Rows, name: str, *, several: bool) -> Plot:
    """The cumulative distribution of one latency: `session`, `ms`, `share`."""
    values = [row["ms"] for row in rows]
    low, high = min(values), max(values)
    is_wide = low > 0 and high > _WIDE * low
    scale = {"nice": False, **({"type": "log"} if is_wide else {"zero": False})}
    spec = _view(
        rows,
        {"type": "line", "interpolate": "step-after", "clip": True},
        height=130,
        x=_axis("ms", f"{name} in ms{' (log scale)' if is_wide else ''}", scale=scale, ticks=6),
        y=_axis("share", "requests in %", scale={"domain": [0, 100]}, ticks=4),
        order={"field": "share"},
        tooltip=_tips("session", "ms", "share"),
        **({"color": _legend("session")} if several else {}),
    )
    return Plot(f"Cumulative distribution of {name}: share of the requests at or below a value.", spec)


def over_time(rows: Rows, field: str, title: str, caption: str, span: Span, *, several: bool) -> Plot:
    """One quantity of the time line: `session`, `t`, and `field`."""
    spec = _view(
        rows,
        {"type": "line", "interpolate": "step", "clip": True},
        height=110,
        x=_time_axis(span),
        y=_axis(field, title, scale={"zero": True}, ticks=4),
        tooltip=_tips("session", "t", field),
        **({"color": _legend("session")} if several else {}),
    )
    return Plot(caption, spec)


def lines_over_time(
    rows: Rows, by: str, title: str, caption: str, span: Span | None = None, *, several: bool
) -> Plot:
    """Several quantities of one unit over time: `session`, `t`, `value`, and their name in `by`."""
    spec = _view(
        rows,
        {"type": "line", "clip": True, "point": {"size": 12}},
        height=130,
        x=_time_axis(span),
        y=_axis("value", title, scale={"zero": True}, ticks=4),
        color=_legend(by),
        tooltip=_tips("session", "t", by, "value"),
        **({"strokeDash": _legend("session")} if several else {}),
    )
    return Plot(caption, spec)


def sweep(rows: Rows, x: str, y: str, titles: tuple[str, str], caption: str, *, several: bool) -> Plot:
    """Points of sweeps: `session`, `sweep`, `step`, `label`, `x` and `y`; a line joins the points of a sweep."""
    encoding = {
        "x": _axis(x, titles[0], scale={"zero": True}),
        "y": _axis(y, titles[1], scale={"zero": True}),
        "color": _legend("sweep"),
        "detail": {"field": "session"},
        "tooltip": _tips("session", "point", x, y),
    }
    if several:
        encoding["strokeDash"] = {"field": "session", "type": "nominal", "sort": None, "legend": None}
        encoding["shape"] = _legend("session")
    line = {k: v for k, v in encoding.items() if k != "shape"} | {"order": {"field": "step"}}
    dots = {k: v for k, v in encoding.items() if k != "strokeDash"}
    text = {k: encoding[k] for k in ("x", "y", "color")} | {"text": {"field": "label", "type": "nominal"}}
    spec = {
        "data": {"values": list(rows)},
        "width": "container",
        "height": 320,
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.7}, "encoding": line},
            {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 1}, "encoding": dots},
            {"mark": {"type": "text", "align": "left", "dx": 7, "dy": -7, "fontSize": 11}, "encoding": text},
        ],
    }
    return Plot(caption, spec)


def rates(rows: Rows) -> Plot:
    """The request rates of audits side by side: `audit` (with its session if there are several), `phase`, `rate`."""
    spec = _view(
        rows,
        {"type": "bar", "tooltip": True},
        height=20 * len(rows) + 10,
        y={"field": "audit", "type": "nominal", "title": None, "axis": {"labelLimit": 260}, "sort": None},
        yOffset={"field": "phase", "type": "nominal", "sort": None},
        x=_axis("rate", "requests per second", scale={"zero": True}, ticks=8),
        color=_legend("phase"),
        tooltip=_tips("audit", "phase", "rate"),
    )
    return Plot("Request rates of the phases that each audit compares.", spec)


def scores(rows: Rows, *, several: bool) -> Plot:
    """Scores of one eval across concurrencies: `session`, `metric`, `series`, `concurrency`, `score`, `low`, `high`."""
    concurrencies = sorted({row["concurrency"] for row in rows}, key=lambda value: (len(value), value))
    x = {
        "field": "concurrency",
        "type": "ordinal",
        "title": "requests in flight",
        "sort": concurrencies,
        "axis": {"labelAngle": 0},
    }
    offset = {"xOffset": {"field": "series", "type": "nominal"}}
    scale = {"zero": False, "nice": True}
    colour = {
        "color": _legend("metric"),
        "tooltip": _tips("session", "metric", "concurrency", "score", "low", "high"),
    }
    shape = {"shape": _legend("session")} if several else {}
    spec = {
        "data": {"values": list(rows)},
        "width": "container",
        "height": 260,
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "encoding": {
                    "x": x,
                    **offset,
                    "y": _axis("low", "score", scale=scale),
                    "y2": {"field": "high"},
                    **colour,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
                "encoding": {"x": x, **offset, "y": _axis("score", "score", scale=scale), **colour, **shape},
            },
        ],
    }
    return Plot("Score of each metric with its confidence interval, by requests in flight.", spec)


def _view(rows: Rows, mark: Spec, *, height: Any, **encoding: Any) -> Spec:
    return {
        "data": {"values": list(rows)},
        "width": "container",
        "height": height,
        "mark": mark,
        "encoding": encoding,
    }


def _axis(field: str, title: str, *, scale: Spec, ticks: int | None = None) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": scale,
        **({"axis": {"tickCount": ticks}} if ticks else {}),
    }


def _time_axis(span: Span | None) -> Spec:
    scale = {"nice": False, "zero": False, **({} if span is None else {"domain": list(span)})}
    return _axis("t", "seconds from the start of the measured phase", scale=scale)


def _legend(field: str) -> Spec:
    return {
        "field": field,
        "type": "nominal",
        "sort": None,
        "legend": {
            "orient": "top",
            "title": None,
            "labelLimit": 400,
            "columns": {"signal": "width < 420 ? 1 : 4"},
        },
    }


def _tips(*fields: str) -> list[Spec]:
    return [{"field": field} for field in fields]
