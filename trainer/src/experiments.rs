//! Runs beside each other as one HTML page without external resources: what they were set to, how good
//! they are, and how they learned. Reads records; fits nothing.

mod axis;
mod plot;
#[cfg(test)]
mod tests;

use crate::history::{RecordedRun, RunStatus};
use crate::record::RunRecord;
use axis::Axis;
use maud::{Markup, html};
use ortus::core::count::counted;
use ortus::observe::report::chart::number;
use ortus::observe::report::document;
use std::collections::{BTreeMap, BTreeSet};

/// The most runs of a page: the newest, or the best.
pub(crate) const RUNS_MAX: usize = 500;
/// The most settings that are drawn.
const SETTINGS_MAX: usize = 12;
/// The most learning curves: those of the best runs.
const CURVES_MAX: usize = 12;
/// Measures by which runs are compared, the first that they have.
const MEASURES: [&str; 3] = ["log_loss", "mae", "rmse"];

/// What a page shows.
pub(crate) struct ExperimentsPage<'p> {
    pub title: String,
    /// Sentences below the title.
    pub said: Vec<String>,
    /// The measure of which less is better.
    pub measure: &'p str,
    /// Whether the runs were judged by the same rows, so that one is the best.
    pub is_comparable: bool,
    /// Whether runs follow each other in time, and are drawn so.
    pub in_time: bool,
    pub experiments: Vec<Experiment>,
}

/// One run of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Experiment {
    /// The first characters of its key.
    pub name: String,
    pub began: String,
    pub result: String,
    /// Settings by their full names.
    pub settings: BTreeMap<String, String>,
    /// The measure; none if the run has none.
    pub value: Option<f64>,
    /// The loss on the stopping rows by round.
    pub curve: Vec<(f64, f64)>,
}

/// Returns the first characters of the key of a run.
pub(crate) fn short_key(ran: &RecordedRun) -> String {
    let key = ran.key().trim_start_matches("sha256:");
    key.chars().take(12).collect()
}

/// Returns the settings of a run, by their full names.
pub(crate) fn settings(record: &RunRecord) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let spec = record.spec.value();
    let table = spec.and_then(|text| text.parse::<toml::Table>().ok());
    flatten("", &table.unwrap_or_default(), &mut all);
    all
}

/// Adds the values of a table and of its inner tables, with dotted names.
fn flatten(prefix: &str, table: &toml::Table, all: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            toml::Value::Table(inner) => flatten(&name, inner, all),
            toml::Value::String(text) => drop(all.insert(name, text.clone())),
            other => drop(all.insert(name, other.to_string())),
        }
    }
}

/// Returns the measure by which runs are compared: that of their gates, if they have it.
pub(crate) fn measure_of(all: &[RecordedRun]) -> String {
    let has = |name: &str| {
        let mut metrics = all.iter().filter_map(|ran| ran.record.metrics.value());
        metrics.any(|metrics| metrics.value(name).is_some())
    };
    let mut set = all
        .iter()
        .rev()
        .filter_map(|ran| settings(&ran.record).remove("gates.measure"));
    let known = set.find(|name| has(name));
    let known = known.or_else(|| {
        MEASURES
            .into_iter()
            .find(|name| has(name))
            .map(str::to_owned)
    });
    known.unwrap_or_else(|| MEASURES[0].to_owned())
}

impl Experiment {
    /// Takes from a record what a page shows.
    pub(crate) fn of(ran: &RecordedRun, measure: &str) -> Self {
        let record = &ran.record;
        let result = match record.version.value() {
            Some(version) => format!("version {version}"),
            None => ran.status.key().to_owned(),
        };
        let metric = record
            .metrics
            .value()
            .and_then(|metrics| metrics.value(measure));
        // A trial is compared by its own loss, which is of other rows than a run's metrics.
        let value = match ran.status {
            RunStatus::Tried => record.loss.value().copied(),
            _ => metric,
        };
        let curve = record.curve.value().into_iter().flatten();
        Self {
            name: short_key(ran),
            began: ran.began.format("%Y-%m-%d %H:%M").to_string(),
            result,
            settings: settings(record),
            value: value.filter(|value| value.is_finite()),
            curve: curve.map(|(round, loss)| (*round as f64, *loss)).collect(),
        }
    }
}

/// Returns the names of the settings that have several values. A setting that some runs do not have tells
/// nothing by that: another setting, such as the algorithm, says why.
fn varied(all: &[Experiment]) -> Vec<&str> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in all.iter().flat_map(|experiment| &experiment.settings) {
        values.entry(name).or_default().insert(value);
    }
    let several = values.into_iter().filter(|(_, values)| values.len() > 1);
    several.map(|(name, _)| name).collect()
}

/// Returns the rank of each run, the best first; none without a value.
fn ranks(all: &[Experiment]) -> Vec<Option<usize>> {
    let mut order: Vec<(f64, usize)> = all
        .iter()
        .enumerate()
        .filter_map(|(at, experiment)| Some((experiment.value?, at)))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut ranks = vec![None; all.len()];
    for (rank, (_, at)) in order.into_iter().enumerate() {
        ranks[at] = Some(rank);
    }
    ranks
}

/// Renders the page.
pub(crate) fn render(page: &ExperimentsPage<'_>) -> String {
    let all = &page.experiments;
    let names = varied(all);
    let ranks = ranks(all);
    let drawn = Drawn {
        page,
        names: &names[..names.len().min(SETTINGS_MAX)],
        ranks: &ranks,
    };
    let body = html! {
        h1 { (page.title) }
        @for text in &page.said { p class="quiet" { (text) } }
        @if all.is_empty() { p { "There are no runs." } } @else {
            @if page.is_comparable { (best(page, &ranks)) }
            @if page.in_time { (drawn.over_time()) }
            (drawn.parallel())
            (drawn.by_setting())
            (drawn.curves())
            (table(page, &names, &ranks))
        }
    };
    document(&page.title, &body)
}

fn best(page: &ExperimentsPage<'_>, ranks: &[Option<usize>]) -> Markup {
    let at = ranks.iter().position(|rank| *rank == Some(0));
    let Some((at, value)) = at.and_then(|at| Some((at, page.experiments[at].value?))) else {
        return html! { p class="verdict bad" { "No run has the measure " (page.measure) "." } };
    };
    let best = &page.experiments[at];
    html! {
        p class="verdict calm" {
            "The lowest " (page.measure) " is " b { (number(value)) } ", of run " code { (best.name) }
            " of " (best.began) " (" (best.result) "). Less is better."
        }
    }
}

/// The charts of a page.
struct Drawn<'d> {
    page: &'d ExperimentsPage<'d>,
    names: &'d [&'d str],
    ranks: &'d [Option<usize>],
}

impl Drawn<'_> {
    fn experiments(&self) -> &[Experiment] {
        &self.page.experiments
    }

    /// The measure from run to run.
    fn over_time(&self) -> Markup {
        let points: Vec<plot::Dot> = self
            .experiments()
            .iter()
            .enumerate()
            .filter_map(|(at, experiment)| {
                Some(plot::Dot {
                    x: at as f64,
                    y: experiment.value?,
                    is_best: self.is_best(at),
                    text: self.told(at),
                })
            })
            .collect();
        let ends = self.experiments().first().zip(self.experiments().last());
        let (left, right) = ends.map_or(("", ""), |(first, last)| (&first.began, &last.began));
        html! {
            h2 { "From run to run" }
            div class="plots" { (plot::dots(self.page.measure, &points, left, right)) }
        }
    }

    /// A line for each run through its settings to its measure.
    fn parallel(&self) -> Markup {
        let measured: Vec<usize> = (0..self.experiments().len())
            .filter(|at| self.ranks[*at].is_some())
            .collect();
        if self.names.is_empty() || measured.len() < 2 {
            return html! {};
        }
        let mut axes: Vec<Axis> = self
            .names
            .iter()
            .map(|name| {
                let values = self
                    .experiments()
                    .iter()
                    .map(|e| e.settings.get(*name).map(String::as_str));
                Axis::of(name, &values.collect::<Vec<_>>())
            })
            .collect();
        let values: Vec<Option<f64>> = self.experiments().iter().map(|e| e.value).collect();
        axes.push(Axis::of_numbers(self.page.measure, &values));
        // The best are drawn last, above the others.
        let mut order = measured;
        order.sort_by_key(|at| std::cmp::Reverse(self.ranks[*at]));
        let lines: Vec<plot::Path> = order
            .into_iter()
            .map(|at| plot::Path {
                places: axes.iter().map(|axis| axis.places[at]).collect(),
                is_best: self.is_best(at),
                text: self.told(at),
            })
            .collect();
        html! {
            h2 { "Settings and " (self.page.measure) }
            p class="quiet" {
                "A line for each run, through its settings to its " (self.page.measure)
                " on the right, where less is better. The best tenth is dark."
            }
            div class="wide" { (plot::parallel(&axes, &lines)) }
        }
    }

    /// The measure by each setting.
    fn by_setting(&self) -> Markup {
        let charts = self.names.iter().map(|name| {
            let values = self
                .experiments()
                .iter()
                .map(|e| e.settings.get(*name).map(String::as_str));
            let axis = Axis::of(name, &values.collect::<Vec<_>>());
            let points: Vec<plot::Dot> = self
                .experiments()
                .iter()
                .enumerate()
                .filter_map(|(at, experiment)| {
                    Some(plot::Dot {
                        x: axis.places[at]?,
                        y: experiment.value?,
                        is_best: self.is_best(at),
                        text: self.told(at),
                    })
                })
                .collect();
            let (left, right) = axis.ends();
            plot::dots(
                &format!("{} by {name}", self.page.measure),
                &points,
                left,
                right,
            )
        });
        html! {
            @if !self.names.is_empty() {
                h2 { (self.page.measure) " by setting" }
                div class="plots" { @for chart in charts { (chart) } }
            }
        }
    }

    /// The learning curves of the best runs.
    fn curves(&self) -> Markup {
        let mut order: Vec<usize> = (0..self.experiments().len())
            .filter(|at| self.experiments()[*at].curve.len() > 1)
            .collect();
        order.sort_by_key(|at| self.ranks[*at].unwrap_or(usize::MAX));
        let (count, first) = (order.len(), order.first().copied());
        let lines: Vec<plot::LossCurve<'_>> = order
            .into_iter()
            .take(CURVES_MAX)
            .map(|at| plot::LossCurve {
                points: &self.experiments()[at].curve,
                is_best: Some(at) == first,
                text: self.told(at),
            })
            .collect();
        html! {
            @if !lines.is_empty() {
                h2 { "Learning curves" }
                p class="quiet" {
                    "The loss on the stopping rows after each round"
                    @if count > CURVES_MAX { ", of the best " (CURVES_MAX) " of " (counted(count, "run")) }
                    ". The best of them is dark."
                }
                div class="plots" { (plot::curves("loss by round", &lines)) }
            }
        }
    }

    fn is_best(&self, at: usize) -> bool {
        let measured = self.ranks.iter().flatten().count();
        self.ranks[at].is_some_and(|rank| rank < measured.div_ceil(10))
    }

    /// What is said of a run beside its line or dot.
    fn told(&self, at: usize) -> String {
        let experiment = &self.experiments()[at];
        let value = experiment.value.map_or_else(|| "-".to_owned(), number);
        let set: Vec<String> = self
            .names
            .iter()
            .filter_map(|name| Some(format!("{name} = {}", experiment.settings.get(*name)?)))
            .collect();
        format!(
            "{}: {} {value}; {}",
            experiment.name,
            self.page.measure,
            set.join(", ")
        )
    }
}

fn table(page: &ExperimentsPage<'_>, names: &[&str], ranks: &[Option<usize>]) -> Markup {
    html! {
        h2 { "Runs" }
        div class="wide" {
            table {
                tr {
                    th { "rank" } th { "run" } th { "began" } th { "result" } th { (page.measure) }
                    @for name in names { th { (name) } }
                }
                @for (at, experiment) in page.experiments.iter().enumerate() {
                    tr {
                        td class="n" { (ranks[at].map_or_else(|| "-".to_owned(), |rank| (rank + 1).to_string())) }
                        td style="white-space:nowrap" { code style="overflow-wrap:normal" { (experiment.name) } }
                        td style="white-space:nowrap" { (experiment.began) }
                        td { (experiment.result) }
                        td class="n" { (experiment.value.map_or_else(|| "-".to_owned(), |v| format!("{v:.6}"))) }
                        @for name in names {
                            td { (experiment.settings.get(*name).map_or("-", String::as_str)) }
                        }
                    }
                }
            }
        }
    }
}
