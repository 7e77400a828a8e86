//! The evidence page of a run as HTML: data, metrics beside those of the champion,
//! gates and plots. One file without external resources. Computes no curve.

mod swarm;
#[cfg(test)]
mod tests;

use crate::explanation::summary::ContributionSummary;
use crate::gate::Verdict;
use crate::record::{Importance, RunRecord, text_of};
use maud::{Markup, html};
use ortus::core::count::counted;
use ortus::observe::report::chart::{ChartSeries, bars, intervals, lines, number};
use ortus::observe::report::document;

/// The most features that are drawn.
const FEATURES_MAX: usize = 25;

/// The points of a plot.
pub(crate) type Points = Vec<(f64, f64)>;

/// A line or a scatter of a plot.
#[derive(Debug)]
pub(crate) struct PlotSeries {
    pub name: String,
    pub is_joined: bool,
    pub points: Points,
}

/// A plot.
#[derive(Debug, Default)]
pub(crate) struct Figure {
    pub title: String,
    pub lines: Vec<PlotSeries>,
    /// The labels of the left and the right end.
    pub ends: (String, String),
}

/// The difference of loss to the champion on a slice.
#[derive(Debug)]
pub(crate) struct SliceDifference {
    pub name: String,
    pub rows: usize,
    /// The lower bound, the mean and the upper bound.
    pub worse: (f64, f64, f64),
}

/// The content of a page.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub record: RunRecord,
    pub figures: Vec<Figure>,
    /// For regression: the shares of errors by size, with the middle of each bin.
    pub errors: Vec<(String, f64)>,
    /// All rows first, then the slices.
    pub parts: Vec<SliceDifference>,
    /// What features contribute to the scores, if the model can be explained.
    pub contributions: Option<ContributionSummary>,
}

/// A colour of the plots, in the order of series.
struct Colour {
    /// The class of the style sheet.
    class: &'static str,
    /// The colour of the class, for the key.
    code: &'static str,
    /// What the series of this colour are.
    what: &'static str,
}

const COLOURS: [Colour; 3] = [
    Colour {
        class: "now",
        code: "#2f6db5",
        what: "this model",
    },
    Colour {
        class: "before",
        code: "#8a97a5",
        what: "the champion, or a perfect model",
    },
    Colour {
        class: "other",
        code: "#d98324",
        what: "another",
    },
];

/// Renders the page.
pub(crate) fn render(run: &Run) -> String {
    let record = &run.record;
    let model = text_of(&record.model);
    let body = html! {
        h1 { (model) }
        p class="quiet" { "run " code { (text_of(&record.run)) } }
        (verdict(record))
        (facts(record))
        (gates(record))
        (rows_changed(record))
        (metrics(record))
        (comparison(&run.parts))
        (plots(run))
        (importances(record))
        @if let Some(summary) = &run.contributions { (swarm::section(summary)) }
        (notes(record))
    };
    document(&format!("{model}: training run"), &body)
}

fn verdict(record: &RunRecord) -> Markup {
    let (class, text) = match record.verdict.value() {
        Some(Verdict::Pass) if record.held.value().is_some() => (
            "verdict bad",
            "All gates passed, but the rows may be wrong: a person decides.",
        ),
        Some(Verdict::Pass) => ("verdict good", "All gates passed."),
        Some(Verdict::Fail) => ("verdict bad", "A gate failed: nothing was published."),
        _ => (
            "verdict bad",
            "A gate was inconclusive: nothing was published.",
        ),
    };
    html! { p class=(class) { (text) } }
}

fn facts(record: &RunRecord) -> Markup {
    let facts = [
        ("trigger", text_of(&record.trigger)),
        ("algorithm", record.algorithm_and_objective()),
        ("training, stopping and test rows", record.split_rows()),
        ("split by", record.split_by()),
        ("data", text_of(&record.data_digest)),
        ("compared with version", text_of(&record.parent)),
    ];
    html! {
        table {
            @for (name, fact) in &facts { tr { td { (name) } td { (fact) } } }
        }
    }
}

fn gates(record: &RunRecord) -> Markup {
    html! {
        h2 { "Gates" }
        table {
            @for gate in record.gates() {
                tr {
                    td { (gate.name.replace('_', " ")) }
                    td { (gate.verdict.word().replace('_', " ")) }
                    td { (gate.reason) }
                }
            }
        }
    }
}

fn rows_changed(record: &RunRecord) -> Markup {
    let changed = record.rows_changed();
    html! {
        @if !changed.is_empty() {
            h2 { "Rows against those of version " (text_of(&record.parent)) }
            @if let Some(held) = record.held.value() { p { (held) } }
            ul { @for text in &changed { li { (text) } } }
        }
    }
}

fn metrics(record: &RunRecord) -> Markup {
    let champion = record.champion_metrics.value();
    html! {
        h2 { "Metrics on the test rows" }
        @if let Some(class) = record.positive.value() {
            p class="quiet" {
                "Precision, recall, F1, average precision and the curves are of the class '" (class) "'. Its log odds are explained."
            }
        }
        table {
            tr { th { "metric" } th { "this model" } th { "the champion" } }
            @for (name, value) in record.metrics() {
                tr {
                    td { (name) }
                    td class="n" { (number_or_dash(Some(value))) }
                    td class="n" { (number_or_dash(champion.and_then(|all| all.value(name)))) }
                }
            }
        }
    }
}

fn number_or_dash(value: Option<f64>) -> String {
    value
        .filter(|value| !value.is_nan())
        .map_or_else(|| "-".to_owned(), number)
}

fn comparison(parts: &[SliceDifference]) -> Markup {
    let drawn: Vec<(String, (f64, f64, f64))> = parts
        .iter()
        .map(|part| {
            (
                format!("{} ({})", part.name, counted(part.rows, "row")),
                part.worse,
            )
        })
        .collect();
    html! {
        @if !parts.is_empty() {
            h2 { "Comparison with the champion" }
            p class="quiet" {
                "Loss of this model minus loss of the champion, row by row, with the confidence "
                "bounds that gates use. Below 0 is better."
            }
            (intervals("difference of loss", &drawn))
        }
    }
}

fn plots(run: &Run) -> Markup {
    html! {
        div class="plots" {
            @for figure in &run.figures { (plot(figure)) }
            @if !run.errors.is_empty() {
                @let (labels, shares) = labelled(&run.errors);
                (bars("Prediction errors, as shares of rows", &labels, &[], &shares))
            }
            @if !run.record.importances().is_empty() {
                @let (labels, shares) = labelled(&largest_importances(&run.record));
                (bars("Feature importance", &labels, &[], &shares))
            }
        }
        p class="key quiet" {
            @for colour in &COLOURS {
                span style=(format!("background:{}", colour.code)) {} (colour.what)
            }
        }
    }
}

fn plot(figure: &Figure) -> Markup {
    let series: Vec<ChartSeries<'_>> = figure
        .lines
        .iter()
        .zip(&COLOURS)
        .map(|(line, colour)| ChartSeries {
            name: &line.name,
            class: colour.class,
            points: line.points.clone(),
            is_dots: !line.is_joined,
        })
        .collect();
    let (left, right) = &figure.ends;
    lines(&figure.title, &series, left, right, None)
}

/// Separates labels from shares.
fn labelled(all: &[(String, f64)]) -> (Vec<String>, Vec<f64>) {
    all.iter().cloned().unzip()
}

/// Returns the features with the largest importance, and their shares.
fn largest_importances(record: &RunRecord) -> Vec<(String, f64)> {
    let shown = record.importances().iter().take(FEATURES_MAX);
    shown
        .map(|Importance(feature, share)| (feature.clone(), *share))
        .collect()
}

fn importances(record: &RunRecord) -> Markup {
    let shown = largest_importances(record);
    html! {
        @if !shown.is_empty() {
            h3 { "Feature importance" }
            table {
                @for (feature, share) in &shown {
                    tr { td { (feature) } td class="n" { (number(*share)) } }
                }
            }
        }
    }
}

fn notes(record: &RunRecord) -> Markup {
    let notes = record.notes();
    html! {
        @if !notes.is_empty() {
            h3 { "Notes" }
            ul { @for note in notes { li { (note) } } }
        }
    }
}
