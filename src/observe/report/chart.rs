//! Charts as SVG: bars side by side, lines over time, and intervals. Owns scales,
//! ticks and labels; knows nothing of what is drawn.

use maud::{Markup, html};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 26.0;
const TOP: f64 = 8.0;
const RIGHT: f64 = 8.0;
/// The area that is drawn in.
const INNER_WIDTH: f64 = WIDTH - LEFT - RIGHT;
const INNER_HEIGHT: f64 = HEIGHT - TOP - BOTTOM;

/// A line of a chart.
pub struct ChartSeries<'s> {
    /// Name, shown as a tooltip.
    pub name: &'s str,
    /// One of the page's colours.
    pub class: &'s str,
    /// Points in order of x.
    pub points: Vec<(f64, f64)>,
    /// Whether points are marked instead of joined.
    pub is_dots: bool,
}

/// Writes a number with the digits that a person reads.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        // The edge below 0 is the number next to it.
        s if s < 1e-30 => "0".to_owned(),
        _ if !value.is_finite() => value.to_string(),
        s if !(1e-3..1e6).contains(&s) => format!("{value:.1e}"),
        s if s >= 100.0 => format!("{value:.0}"),
        s if s >= 1.0 => format!("{}", (value * 100.0).round() / 100.0),
        _ => format!("{}", (value * 10_000.0).round() / 10_000.0),
    }
}

/// Draws shares of rows cell by cell, before and now.
pub fn bars(title: &str, labels: &[String], before: &[f64], now: &[f64]) -> Markup {
    let shares = before.iter().chain(now).copied();
    let top = shares.fold(0.0, f64::max).max(1e-9);
    let step = INNER_WIDTH / labels.len().max(1) as f64;
    // As many labels as there is room for.
    let every = labels.len().div_ceil(5).max(1);

    let body = html! {
        (axis(0.0, top))
        @for (at, label) in labels.iter().enumerate() {
            @let x = LEFT + at as f64 * step;
            (bar(&Bar { class: "before", x: x + 0.08 * step, width: 0.42 * step, share: share_of(before, at) }, label, top))
            (bar(&Bar { class: "now", x: x + 0.5 * step, width: 0.42 * step, share: share_of(now, at) }, label, top))
            @if at % every == 0 {
                text class="middle" x=(coordinate_text(x + 0.5 * step)) y=(HEIGHT - 8.0) { (cut(label)) }
            }
        }
    };

    frame(title, &body)
}

/// Cuts a label to the room that it has.
fn cut(label: &str) -> String {
    const MOST: usize = 13;
    if label.chars().count() <= MOST {
        return label.to_owned();
    }
    let kept: String = label.chars().take(MOST - 1).collect();
    format!("{}…", kept.trim_end())
}

fn share_of(shares: &[f64], at: usize) -> f64 {
    shares.get(at).copied().unwrap_or(0.0)
}

/// Draws lines over the same axis; `left` and `right` name its ends, and `level`
/// is a threshold.
pub fn lines(
    title: &str,
    series: &[ChartSeries<'_>],
    left: &str,
    right: &str,
    level: Option<f64>,
) -> Markup {
    let Some(scale) = AxisScale::of(series, level) else {
        return frame(title, &html! { text x="60" y="90" { "no data" } });
    };

    let body = html! {
        (axis(scale.low, scale.high))
        @if let Some(level) = level {
            @let y = coordinate_text(scale.y(level));
            line class="level" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
        }
        @for one in series { (line(one, &scale)) }
        text x=(LEFT) y=(HEIGHT - 8.0) { (left) }
        text class="end" x=(WIDTH - RIGHT) y=(HEIGHT - 8.0) { (right) }
    };

    frame(title, &body)
}

fn line(series: &ChartSeries<'_>, scale: &AxisScale) -> Markup {
    let path: Vec<String> = series
        .points
        .iter()
        .map(|(x, y)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y)))
        .collect();

    html! {
        @if series.is_dots || series.points.len() == 1 {
            @for (x, y) in &series.points {
                circle class=(series.class) cx=(coordinate_text(scale.x(*x))) cy=(coordinate_text(scale.y(*y))) r="3" {
                    title { (series.name) ": " (number(*y)) }
                }
            }
        } @else {
            polyline class=(series.class) points=(path.join(" ")) { title { (series.name) } }
        }
    }
}

/// How values become places.
struct AxisScale {
    first: f64,
    last: f64,
    low: f64,
    high: f64,
}

impl AxisScale {
    /// Fits all points; `None` where there are none.
    fn of(series: &[ChartSeries<'_>], level: Option<f64>) -> Option<Self> {
        let points = || series.iter().flat_map(|s| &s.points);
        let first = points().map(|p| p.0).fold(f64::INFINITY, f64::min);
        let last = points().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max);
        let low = points().map(|p| p.1).fold(0.0, f64::min);
        let high = points().map(|p| p.1).fold(level.unwrap_or(0.0), f64::max);

        first.is_finite().then(|| Self {
            first,
            last,
            low,
            high: high.max(1e-9) * 1.05,
        })
    }

    fn x(&self, value: f64) -> f64 {
        if self.last > self.first {
            LEFT + (value - self.first) / (self.last - self.first) * INNER_WIDTH
        } else {
            LEFT + INNER_WIDTH / 2.0
        }
    }

    fn y(&self, value: f64) -> f64 {
        TOP + INNER_HEIGHT - (value - self.low) / (self.high - self.low) * INNER_HEIGHT
    }
}

/// Draws intervals (low, mean, high) one below another around zero, each with its
/// name.
pub fn intervals(title: &str, rows: &[(String, (f64, f64, f64))]) -> Markup {
    const ROW: f64 = 20.0;
    const NAMES: f64 = 260.0;
    const WIDE: f64 = 820.0;

    let finite = || {
        rows.iter()
            .flat_map(|(_, (low, _, high))| [*low, *high])
            .filter(|v| v.is_finite())
    };

    let (low, high) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
    let span = (high - low).max(1e-9) * 1.1;
    let inner = WIDE - NAMES - 10.0;
    let x =
        |v: f64| coordinate_text(NAMES + (v.clamp(low, high) - low + span * 0.045) / span * inner);
    let tall = ROW * rows.len() as f64 + 24.0;

    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDE} {tall}")) style=(format!("max-width:{WIDE}px"))
                role="img" aria-label=(title) {
                line class="level" x1=(x(0.0)) x2=(x(0.0)) y1="0" y2=(coordinate_text(tall - 20.0)) {}
                @for (at, (name, (low, mean, high))) in rows.iter().enumerate() {
                    @let y = ROW * (at as f64 + 0.6);
                    text x="0" y=(coordinate_text(y + 4.0)) { (name) }
                    polyline class="now" points=(format!("{},{y:.1} {},{y:.1}", x(*low), x(*high))) {}
                    circle class="now" cx=(x(*mean)) cy=(coordinate_text(y)) r="3.5" {
                        title { (number(*mean)) " from " (number(*low)) " to " (number(*high)) }
                    }
                }
                text x=(NAMES) y=(coordinate_text(tall - 4.0)) { (number(low)) }
                text class="end" x=(WIDE) y=(coordinate_text(tall - 4.0)) { (number(high)) }
            }
            figcaption { (title) }
        }
    }
}

/// A bar of a chart: where it stands, and the share that it shows.
struct Bar {
    class: &'static str,
    x: f64,
    width: f64,
    share: f64,
}

fn bar(bar: &Bar, label: &str, top: f64) -> Markup {
    let height = bar.share / top * INNER_HEIGHT;

    html! {
        rect class=(bar.class) x=(coordinate_text(bar.x)) y=(coordinate_text(TOP + INNER_HEIGHT - height))
            width=(coordinate_text(bar.width)) height=(coordinate_text(height)) {
            title { (label) ": " (number(bar.share * 100.0)) " %" }
        }
    }
}

fn frame(title: &str, body: &Markup) -> Markup {
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) { (body) }
            figcaption { (title) }
        }
    }
}

/// Draws the left axis with three ticks.
fn axis(low: f64, top: f64) -> Markup {
    html! {
        @for share in [0.0, 0.5, 1.0] {
            @let y = TOP + INNER_HEIGHT * (1.0 - share);
            line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(coordinate_text(y)) y2=(coordinate_text(y)) {}
            text class="end" x=(LEFT - 4.0) y=(coordinate_text(y + 4.0)) { (number(low + (top - low) * share)) }
        }
    }
}

/// Writes a coordinate.
fn coordinate_text(value: f64) -> String {
    format!("{value:.1}")
}
