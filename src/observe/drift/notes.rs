//! What a person should know of a baseline before it is used: which columns are not stationary, and which
//! differences it is too small to show. Pure.

use super::alarm::significance;
use super::baseline::{Baseline, BaselineColumn};
use super::column::rules::{ColumnRule, smallest};
use super::kind::ColumnKind;
use super::settings::MonitorSettings;
use super::slice::choice::PART_ROWS_MIN;
use crate::core::count::{agreed, counted};
use crate::observe::report::chart::number;
use crate::observe::report::status::COARSE;
use crate::observe::report::story::{grouped, named};
use std::time::Duration;

/// Columns that a note names.
const NAMED_MAX: usize = 5;

/// Says what follows from a baseline.
pub(crate) fn notes(baseline: &Baseline, settings: &MonitorSettings) -> Vec<String> {
    let mut said = Vec::new();
    if baseline.unordered {
        said.push("The rows are sorted by their labels, so their order was not used.".to_owned());
    }
    let moves = |column: &&BaselineColumn| column.kind != ColumnKind::Stationary;
    let of_kind = |column: &BaselineColumn| {
        let kind = column.kind.name();
        format!("{}: {kind}, {}", column.name, column.reason)
    };
    said.extend(columns(baseline).filter(moves).map(of_kind));
    said.extend(sliced(baseline));
    said.extend(coarse(baseline, settings));
    said
}

/// Says by which columns a baseline is sliced; none if it is not.
fn sliced(baseline: &Baseline) -> Option<String> {
    let slices = baseline.slices();
    let parts = counted(baseline.parts.len(), "part");
    let own = agreed(baseline.parts.len(), "has", "have");
    (!slices.is_empty()).then(|| {
        format!(
            "Sliced by {}: {parts} with at least {PART_ROWS_MIN} rows {own} distributions of their own.",
            named(&slices, NAMED_MAX)
        )
    })
}

/// Says which differences a baseline is too small to show; none if it shows those that matter.
pub(crate) fn coarse(baseline: &Baseline, settings: &MonitorSettings) -> Option<String> {
    let alpha = significance(
        settings,
        columns(baseline).count(),
        Duration::from_secs(3600),
    );
    let one = |column: &'_ BaselineColumn| {
        let rule = (column.kind, &ColumnRule::default());
        let smallest = smallest(column, rule, settings, alpha)?;
        (smallest > COARSE).then(|| (column.name.clone(), smallest))
    };
    let found: Vec<(String, f64)> = columns(baseline).filter_map(one).collect();
    let (_, most) = found.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;

    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    Some(format!(
        "{} cannot show every difference that matters ({} and more): those under {} stay unseen in {}. Use more rows{}.",
        counted(baseline.rows, "row"),
        number(settings.ks),
        number(*most),
        named(&names, NAMED_MAX),
        needed(baseline.rows, *most, settings.ks),
    ))
}

/// Says how many rows would show what these do not, if there is a number: what chance hides shrinks with
/// the root of their number.
fn needed(rows: u64, smallest: f64, threshold: f64) -> String {
    let (hidden, wanted) = (smallest - threshold, COARSE - threshold);
    if wanted <= 0.0 || hidden <= wanted {
        return String::new();
    }
    let rows = rows as f64 * (hidden / wanted).powi(2);
    let digits = 10.0_f64.powf(rows.log10().floor() - 1.0).max(1.0);
    let rows = grouped((rows / digits).ceil() * digits);
    format!("; about {rows} would show those of {}", number(COARSE))
}

fn columns(baseline: &Baseline) -> impl Iterator<Item = &BaselineColumn> {
    baseline.inputs.iter().chain(&baseline.outputs)
}
