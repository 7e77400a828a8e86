//! Plots as SVG: bars side by side, and lines over time. Scales, ticks and
//! labels; text is escaped by whoever gives it.

use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 26.0;
const TOP: f64 = 8.0;
const RIGHT: f64 = 8.0;

/// A line of a plot.
pub struct Series<'s> {
    /// Name, shown in the legend.
    pub name: &'s str,
    /// One of the page's colours.
    pub class: &'s str,
    /// Points in order of x.
    pub points: Vec<(f64, f64)>,
    /// Whether points are marked, and not joined.
    pub is_dots: bool,
}

/// A number as people read it.
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

fn frame(title: &str, body: &str) -> String {
    format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{body}</svg><figcaption>{title}</figcaption></figure>"
    )
}

/// Shares of rows, cell by cell, before and now.
pub fn bars(title: &str, labels: &[String], before: &[f64], now: &[f64]) -> String {
    let top = before
        .iter()
        .chain(now)
        .copied()
        .fold(0.0, f64::max)
        .max(1e-9);
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let step = width / labels.len().max(1) as f64;
    let mut body = axis(0.0, top);
    for (at, label) in labels.iter().enumerate() {
        let x = LEFT + at as f64 * step;
        for (share, class, shift) in [(before.get(at), "before", 0.08), (now.get(at), "now", 0.5)] {
            let share = share.copied().unwrap_or(0.0);
            let tall = share / top * height;
            let _ = write!(
                body,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{label}: {} %</title></rect>",
                x + shift * step,
                TOP + height - tall,
                step * 0.42,
                number(share * 100.0)
            );
        }
        // As many labels as there is room for.
        if at % labels.len().div_ceil(6).max(1) == 0 {
            let short: String = label.chars().take(12).collect();
            let _ = write!(
                body,
                "<text x=\"{x:.1}\" y=\"{}\">{short}</text>",
                HEIGHT - 8.0
            );
        }
    }
    frame(title, &body)
}

/// Lines over the same axis; `ends` name what is at its left and right.
pub fn lines(
    title: &str,
    series: &[Series<'_>],
    (left, right): (&str, &str),
    level: Option<f64>,
) -> String {
    let all = || series.iter().flat_map(|s| &s.points);
    let fold = |of: fn(&(f64, f64)) -> f64, start, pick: fn(f64, f64) -> f64| {
        all().map(of).fold(start, pick)
    };
    let (x0, x1) = (
        fold(|p| p.0, f64::INFINITY, f64::min),
        fold(|p| p.0, f64::NEG_INFINITY, f64::max),
    );
    let top = fold(|p| p.1, level.unwrap_or(0.0), f64::max).max(1e-9) * 1.05;
    let low = fold(|p| p.1, 0.0, f64::min);
    if !x0.is_finite() {
        return frame(title, "<text x=\"60\" y=\"90\">nothing yet</text>");
    }
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let x = |v: f64| {
        LEFT + if x1 > x0 {
            (v - x0) / (x1 - x0) * width
        } else {
            width / 2.0
        }
    };
    let y = |v: f64| TOP + height - (v - low) / (top - low) * height;
    let mut body = axis(low, top);
    if let Some(level) = level {
        let at = y(level);
        let _ = write!(
            body,
            "<line class=\"level\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
            WIDTH - RIGHT
        );
    }
    for Series {
        name,
        class,
        points,
        is_dots,
    } in series
    {
        if *is_dots || points.len() == 1 {
            for (px, py) in points {
                let _ = write!(
                    body,
                    "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{name}: {}</title></circle>",
                    x(*px),
                    y(*py),
                    number(*py)
                );
            }
            continue;
        }
        let path: Vec<String> = points
            .iter()
            .map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py)))
            .collect();
        let _ = write!(
            body,
            "<polyline class=\"{class}\" points=\"{}\"><title>{name}</title></polyline>",
            path.join(" ")
        );
    }
    let _ = write!(
        body,
        "<text x=\"{LEFT}\" y=\"{0}\">{left}</text><text class=\"end\" x=\"{1}\" y=\"{0}\">{right}</text>",
        HEIGHT - 8.0,
        WIDTH - RIGHT
    );
    frame(title, &body)
}

/// Intervals one below another around naught, each with its name.
pub fn intervals(title: &str, rows: &[(String, (f64, f64, f64))]) -> String {
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
    let x =
        |v: f64| NAMES + (v.clamp(low, high) - low + span * 0.045) / span * (WIDE - NAMES - 10.0);
    let tall = ROW * rows.len() as f64 + 24.0;
    let mut body = format!(
        "<line class=\"level\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"0\" y2=\"{1:.1}\"/>",
        x(0.0),
        tall - 20.0
    );
    for (at, (name, (low, mean, high))) in rows.iter().enumerate() {
        let y = ROW * (at as f64 + 0.6);
        let _ = write!(
            body,
            "<text x=\"0\" y=\"{:.1}\">{name}</text><polyline class=\"now\" points=\"{:.1},{y:.1} {:.1},{y:.1}\"/><circle class=\"now\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{} from {} to {}</title></circle>",
            y + 4.0,
            x(*low),
            x(*high),
            x(*mean),
            number(*mean),
            number(*low),
            number(*high)
        );
    }
    let _ = write!(
        body,
        "<text x=\"{NAMES}\" y=\"{0:.1}\">{1}</text><text class=\"end\" x=\"{WIDE}\" y=\"{0:.1}\">{2}</text>",
        tall - 4.0,
        number(low),
        number(high)
    );
    format!(
        "<figure><svg viewBox=\"0 0 {WIDE} {tall}\" style=\"max-width:{WIDE}px\" role=\"img\" aria-label=\"{title}\">{body}</svg><figcaption>{title}</figcaption></figure>"
    )
}

/// The left axis with three ticks.
fn axis(low: f64, top: f64) -> String {
    let height = HEIGHT - TOP - BOTTOM;
    let mut body = String::new();
    for part in 0..3 {
        let share = f64::from(part) / 2.0;
        let y = TOP + height * (1.0 - share);
        let _ = write!(
            body,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 4.0,
            y + 4.0,
            number(low + (top - low) * share)
        );
    }
    body
}
