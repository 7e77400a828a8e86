//! Lines over an axis as SVG. Knows nothing of what is drawn.

use super::number;
use maud::{Markup, html};
use serde_json::{Value, json};

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;
const TICKS: u32 = 4;

pub(crate) struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

pub(crate) struct Plot {
    pub title: String,
    pub x: &'static str,
    pub y: &'static str,
    /// Whether the axis of x is logarithmic.
    pub is_log: bool,
    pub series: Vec<Series>,
    /// A limit, drawn across.
    pub level: Option<f64>,
}

/// From values to places.
struct Scale {
    is_log: bool,
    low: f64,
    high: f64,
    top: f64,
}

impl Scale {
    fn of(plot: &Plot) -> Option<Self> {
        let points = || plot.series.iter().flat_map(|s| &s.points);
        let is_shown = |v: &f64| v.is_finite() && (!plot.is_log || *v > 0.0);
        let xs = || points().map(|p| p.0).filter(is_shown);
        let ys = points().map(|p| p.1).filter(|y| y.is_finite());
        let top = ys.chain(plot.level).fold(0.0, f64::max) * 1.05;
        let scale = Self {
            is_log: plot.is_log,
            low: xs().fold(f64::INFINITY, f64::min),
            high: xs().fold(f64::NEG_INFINITY, f64::max),
            top,
        };
        (scale.low <= scale.high && top > 0.0).then_some(scale)
    }

    fn x(&self, x: f64) -> f64 {
        let warp = |v: f64| if self.is_log { v.ln() } else { v };
        let span = (warp(self.high) - warp(self.low)).max(1e-9);
        LEFT + (WIDTH - LEFT - RIGHT) * (warp(x) - warp(self.low)) / span
    }

    fn y(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y / self.top).clamp(0.0, 1.0)
    }
}

fn place(value: f64) -> String {
    format!("{value:.1}")
}

impl Plot {
    pub(super) fn json(&self) -> Value {
        let series: Vec<Value> = self
            .series
            .iter()
            .map(|s| json!({"name": s.name, "points": s.points}))
            .collect();
        json!({"title": self.title, "x": self.x, "y": self.y, "series": series, "level": self.level})
    }

    pub(super) fn svg(&self) -> Markup {
        let scale = Scale::of(self);
        html! {
            figure {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" {
                    @if let Some(scale) = scale { (self.inside(&scale)) }
                    @else { text x="60" y="90" { "no data" } }
                }
                p.key {
                    @for (at, series) in self.series.iter().enumerate() {
                        span class=(format!("c{}", at % 6)) { "■ " (series.name) }
                    }
                }
            }
        }
    }

    fn inside(&self, scale: &Scale) -> Markup {
        let floor = HEIGHT - BOTTOM;
        html! {
            @for tick in 0..=TICKS {
                @let value = scale.top * f64::from(tick) / f64::from(TICKS);
                @let y = place(scale.y(value));
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                text.end x=(LEFT - 6.0) y=(y) { (number(value)) }
            }
            @for x in self.marks() {
                text.middle x=(place(scale.x(x))) y=(floor + 16.0) { (number(x)) }
            }
            text.middle x=(WIDTH / 2.0) y=(HEIGHT - 6.0) { (self.x) }
            text x="2" y="10" { (self.y) }
            @if let Some(level) = self.level {
                @let y = place(scale.y(level));
                line.level x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
            }
            @for (at, series) in self.series.iter().enumerate() {
                @let class = format!("c{}", at % 6);
                polyline class=(class) points=(path(series, scale)) {}
                @if series.points.len() <= 40 {
                    @for (x, y) in series.points.iter().filter(|p| p.1.is_finite()) {
                        circle class=(class) cx=(place(scale.x(*x))) cy=(place(scale.y(*y))) r="3" {
                            title { (series.name) ": " (number(*x)) ", " (number(*y)) }
                        }
                    }
                }
            }
        }
    }

    /// Where the axis of x is labelled: at its points, where they are few.
    fn marks(&self) -> Vec<f64> {
        let mut all: Vec<f64> = self
            .series
            .iter()
            .flat_map(|s| &s.points)
            .map(|p| p.0)
            .collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        let every = all.len().div_ceil(8).max(1);
        all.into_iter().step_by(every).collect()
    }
}

fn path(series: &Series, scale: &Scale) -> String {
    let points = series.points.iter().filter(|p| p.1.is_finite());
    let places = points.map(|(x, y)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y)));
    places.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>, is_log: bool) -> Plot {
        Plot {
            title: "t".to_owned(),
            x: "x",
            y: "y",
            is_log,
            series: vec![Series {
                name: "s".to_owned(),
                points,
            }],
            level: None,
        }
    }

    #[test]
    fn ends_of_the_axis_lie_at_its_ends() {
        let plot = plot(vec![(1.0, 0.0), (8.0, 1.0), (64.0, 2.0)], true);
        let scale = Scale::of(&plot).unwrap();
        assert_eq!(scale.x(1.0), LEFT);
        assert!((scale.x(64.0) - (WIDTH - RIGHT)).abs() < 1e-9);
        assert!((scale.x(8.0) - f64::midpoint(LEFT, WIDTH - RIGHT)).abs() < 1e-9);
        assert_eq!(scale.y(0.0), HEIGHT - BOTTOM);
    }

    #[test]
    fn nothing_to_draw_is_said() {
        for points in [vec![], vec![(1.0, f64::NAN)]] {
            let svg = plot(points, false).svg().into_string();
            assert!(svg.contains("no data"), "{svg}");
        }
    }
}
