//! The charts of the page of experiments as SVG: dots, curves and parallel coordinates. Knows nothing of
//! what is drawn.

use super::axis::Axis;
use maud::{Markup, html};
use ortus::observe::report::chart::number;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// The distance of two parallel axes, and the height of them.
const STEP: f64 = 170.0;
const TALL: f64 = 300.0;
/// The most marks of an axis, and the most characters of one.
const MARKS_MAX: usize = 9;
const CHARACTERS_MAX: usize = 18;

/// A dot with what is said of it.
pub(super) struct Dot {
    pub x: f64,
    pub y: f64,
    pub is_best: bool,
    pub text: String,
}

/// A curve.
pub(super) struct LossCurve<'c> {
    pub points: &'c [(f64, f64)],
    pub is_best: bool,
    pub text: String,
}

/// A run across parallel axes; it passes those where it has no value.
pub(super) struct Path {
    pub places: Vec<Option<f64>>,
    pub is_best: bool,
    pub text: String,
}

fn class(is_best: bool) -> &'static str {
    if is_best { "now" } else { "before" }
}

/// The range of points, with a little room.
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            low = low.min(value);
            high = high.max(value);
        }
        let room = if high > low {
            0.05 * (high - low)
        } else {
            0.05 * high.abs().max(1e-9)
        };
        (low.is_finite() && high.is_finite()).then_some(Self {
            low: low - room,
            high: high + room,
        })
    }

    fn place(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

fn x_of(place: f64) -> String {
    format!("{:.1}", LEFT + place * (WIDTH - LEFT - RIGHT))
}

fn y_of(place: f64) -> String {
    format!("{:.1}", TOP + (1.0 - place) * (HEIGHT - TOP - BOTTOM))
}

fn frame(title: &str, range: &Range, left: &str, right: &str, body: &Markup) -> Markup {
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
                @for place in [0.0, 0.5, 1.0] {
                    line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y_of(place)) y2=(y_of(place)) {}
                    text class="end" x=(LEFT - 4.0) y=(y_of(place)) { (number(range.low + place * (range.high - range.low))) }
                }
                (body)
                text x=(LEFT) y=(HEIGHT - 8.0) { (short(left)) }
                text class="end" x=(WIDTH - RIGHT) y=(HEIGHT - 8.0) { (short(right)) }
            }
            figcaption { (title) }
        }
    }
}

/// Draws dots; the ends of the horizontal axis have names.
pub(super) fn dots(title: &str, all: &[Dot], left: &str, right: &str) -> Markup {
    let ranges = Range::of(all.iter().map(|dot| dot.x)).zip(Range::of(all.iter().map(|dot| dot.y)));
    let Some((across, up)) = ranges else {
        return html! {};
    };
    let body = html! {
        @for dot in all {
            circle class=(class(dot.is_best)) cx=(x_of(across.place(dot.x))) cy=(y_of(up.place(dot.y))) r="3" {
                title { (dot.text) }
            }
        }
    };
    frame(title, &up, left, right, &body)
}

/// Draws curves by round, the best one last.
pub(super) fn curves(title: &str, all: &[LossCurve<'_>]) -> Markup {
    let points = || all.iter().flat_map(|curve| curve.points);
    let ranges = Range::of(points().map(|p| p.0)).zip(Range::of(points().map(|p| p.1)));
    let Some((across, up)) = ranges else {
        return html! {};
    };
    let line = |curve: &LossCurve<'_>| {
        let place =
            |(x, y): &(f64, f64)| format!("{},{}", x_of(across.place(*x)), y_of(up.place(*y)));
        let path: Vec<String> = curve.points.iter().map(place).collect();
        html! { polyline class=(class(curve.is_best)) points=(path.join(" ")) { title { (curve.text) } } }
    };
    let last = points().map(|p| p.0).fold(0.0, f64::max);
    let body = html! {
        @for curve in all.iter().filter(|curve| !curve.is_best) { (line(curve)) }
        @for curve in all.iter().filter(|curve| curve.is_best) { (line(curve)) }
    };
    frame(title, &up, "round 1", &format!("round {last}"), &body)
}

/// Draws runs across parallel axes.
pub(super) fn parallel(axes: &[Axis], lines: &[Path]) -> Markup {
    let width = STEP * axes.len() as f64;
    let x = |axis: usize| STEP * (axis as f64 + 0.5);
    let y = |place: f64| 34.0 + (1.0 - place) * (TALL - 60.0);
    html! {
        svg viewBox=(format!("0 0 {width} {TALL}")) style=(format!("width:{width}px;max-width:none")) role="img" aria-label="settings of runs" {
            @for (at, axis) in axes.iter().enumerate() {
                line class="grid" x1=(x(at)) x2=(x(at)) y1=(y(0.0)) y2=(y(1.0)) {}
                text class="middle" x=(x(at)) y="14" { (short(&axis.name)) title { (axis.name) } }
            }
            @for line in lines {
                @let points: Vec<String> = present(&line.places).map(|(at, place)| format!("{:.1},{:.1}", x(at), y(place))).collect();
                polyline class=(class(line.is_best)) points=(points.join(" ")) { title { (line.text) } }
            }
            @for (at, axis) in axes.iter().enumerate() {
                @for (place, text) in axis.marks.iter().step_by(axis.marks.len().div_ceil(MARKS_MAX).max(1)) {
                    text x=(x(at) + 4.0) y=(format!("{:.1}", y(*place) + 3.0)) { (short(text)) }
                }
            }
        }
    }
}

/// Returns the axes on which a run has a place.
fn present(places: &[Option<f64>]) -> impl Iterator<Item = (usize, f64)> {
    places
        .iter()
        .enumerate()
        .filter_map(|(at, place)| Some((at, (*place)?)))
}

fn short(text: &str) -> String {
    if text.chars().count() <= CHARACTERS_MAX {
        return text.to_owned();
    }
    // The end of a dotted name tells more than its beginning.
    let skipped = text.chars().count() - CHARACTERS_MAX + 1;
    format!("…{}", text.chars().skip(skipped).collect::<String>())
}
