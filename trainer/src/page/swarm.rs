//! The summary plot of contributions as SVG: a row of dots for each feature, a dot for each row of the sample, coloured by
//! the value of the feature. Computes no contribution.

use crate::explanation::summary::{ContributionSummary, Swarm, SwarmDot, SwarmFeature};
use maud::{Markup, html};
use ortus::core::count::counted;
use ortus::observe::report::chart::number;

const WIDE: f64 = 820.0;
/// Room for the names.
const NAMES: f64 = 200.0;
/// The height of a feature.
const ROW: f64 = 26.0;
/// How far dots may lie from the middle of their feature.
const REACH: f64 = 11.0;
/// Dots that are closer than this are laid beside each other.
const COLUMN: f64 = 2.5;
/// The colours from the lowest to the highest value.
const COLOURS: [&str; 8] = [
    "#2f6db5", "#4f7fbf", "#7a8fc0", "#a19bb8", "#bf90a0", "#c97383", "#c95565", "#c4382e",
];
/// The colour of a missing value, and of every category.
const PLAIN: &str = "#8a97a5";
/// The longest name that is shown whole.
const NAME_CHARS_MAX: usize = 30;

/// Renders the plots.
pub(super) fn section(summary: &ContributionSummary) -> Markup {
    html! {
        h2 { "What features contribute" }
        p class="quiet" {
            "Shapley values of " (counted(summary.rows, "test row")) ": how much each feature moved the score of a row "
            "away from the mean. Right of the line it raised the score. Features are ordered by the mean size."
        }
        @for swarm in &summary.swarms { (plot(swarm)) }
        p class="key quiet" {
            @for (colour, what) in [(COLOURS[0], "low value"), (COLOURS[7], "high value"), (PLAIN, "category, or missing")] {
                span style=(format!("background:{colour}")) {} (what)
            }
        }
    }
}

fn plot(swarm: &Swarm) -> Markup {
    let title = match &swarm.class {
        Some(class) => format!("Contributions to the {}: {class}", swarm.scale),
        None => format!("Contributions to the {}", swarm.scale),
    };
    let all = || swarm.features.iter().flat_map(|feature| &feature.dots);
    let finite = || {
        all()
            .map(|dot| dot.contribution)
            .filter(|value| value.is_finite())
    };
    let scale = DotScale {
        low: finite().fold(0.0, f64::min),
        high: finite().fold(0.0, f64::max),
    };
    let tall = ROW * swarm.features.len() as f64 + 20.0;

    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDE} {tall}")) style=(format!("max-width:{WIDE}px"))
                role="img" aria-label=(title) {
                line class="grid" x1=(place(scale.x(0.0))) x2=(place(scale.x(0.0))) y1="0" y2=(place(tall - 18.0)) {}
                @for (at, feature) in swarm.features.iter().enumerate() {
                    (row(feature, ROW * (at as f64 + 0.5), &scale))
                }
                text x=(NAMES) y=(place(tall - 4.0)) { (number(scale.low)) }
                text class="end" x=(WIDE) y=(place(tall - 4.0)) { (number(scale.high)) }
            }
            figcaption { (title) }
        }
    }
}

fn row(feature: &SwarmFeature, middle: f64, scale: &DotScale) -> Markup {
    let paths = paths(&feature.dots, middle, scale);
    html! {
        text x="0" y=(place(middle + 4.0)) { (cut(&feature.name)) }
        @for (colour, path) in &paths {
            // A dot is a line of no length with round ends: the shortest way to write it.
            path d=(path) stroke=(colour) stroke-width="3" stroke-linecap="round" fill="none" {
                title { (feature.name) ": " (number(feature.mean)) " on average" }
            }
        }
    }
}

/// Where contributions lie.
struct DotScale {
    low: f64,
    high: f64,
}

impl DotScale {
    fn x(&self, value: f64) -> f64 {
        let span = (self.high - self.low).max(1e-12);
        let inner = WIDE - NAMES - 10.0;
        NAMES + 5.0 + (value.clamp(self.low, self.high) - self.low) / span * inner
    }
}

/// Returns a path of dots for each colour, the plain one last. Dots of nearly the same place spread up and down.
fn paths(dots: &[SwarmDot], middle: f64, scale: &DotScale) -> Vec<(&'static str, String)> {
    let column = |dot: &SwarmDot| ((scale.x(dot.contribution) - NAMES) / COLUMN) as usize;
    let columns = ((WIDE - NAMES) / COLUMN) as usize + 1;
    let mut counts = vec![0_usize; columns];
    let drawn = || dots.iter().filter(|dot| dot.contribution.is_finite());
    drawn().for_each(|dot| counts[column(dot).min(columns - 1)] += 1);
    let most = counts.iter().copied().max().unwrap_or(0);
    let step = (REACH * 2.0 / most.max(1) as f64).min(2.0);

    counts.fill(0);
    let mut paths: Vec<(&'static str, String)> = COLOURS
        .into_iter()
        .chain([PLAIN])
        .map(|colour| (colour, String::new()))
        .collect();
    for dot in drawn() {
        let count = &mut counts[column(dot).min(columns - 1)];
        let away = count.div_ceil(2) as f64 * step;
        let y = if count.is_multiple_of(2) {
            middle + away
        } else {
            middle - away
        };
        *count += 1;
        let colour = dot.rank.map_or(COLOURS.len(), |rank| {
            ((rank * COLOURS.len() as f64) as usize).min(COLOURS.len() - 1)
        });
        let text = format!("M{} {}h0", place(scale.x(dot.contribution)), place(y));
        paths[colour].1.push_str(&text);
    }
    paths.retain(|(_, path)| !path.is_empty());
    paths
}

/// Cuts a name to the room that it has.
fn cut(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    let kept: String = name.chars().take(NAME_CHARS_MAX - 1).collect();
    format!("{kept}…")
}

/// Writes a coordinate.
fn place(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_have_the_colour_of_their_value_and_stay_in_their_row() {
        let dot = |contribution, rank| SwarmDot { contribution, rank };
        let scale = DotScale {
            low: -1.0,
            high: 1.0,
        };
        let many: Vec<SwarmDot> = (0..500)
            .map(|_| dot(0.0, None))
            .chain([
                dot(1.0, Some(1.0)),
                dot(-1.0, Some(0.0)),
                dot(f64::NAN, None),
            ])
            .collect();
        let paths = paths(&many, 50.0, &scale);
        let colours: Vec<&str> = paths.iter().map(|(colour, _)| *colour).collect();
        assert_eq!(colours, [COLOURS[0], COLOURS[7], PLAIN]);
        assert_eq!(paths[0].1, "M205.0 50.0h0");
        assert_eq!(paths[1].1, "M815.0 50.0h0");
        let ys = paths[2].1.split('M').skip(1).map(|one| {
            let y = one.split(' ').nth(1).and_then(|y| y.strip_suffix("h0"));
            y.expect("a dot").parse::<f64>().expect("a number")
        });
        let ys: Vec<f64> = ys.collect();
        assert_eq!(ys.len(), 500);
        assert!(ys.iter().all(|y| (y - 50.0).abs() <= REACH + 0.1));
        assert!(ys.iter().any(|y| *y < 45.0) && ys.iter().any(|y| *y > 55.0));
    }
}
