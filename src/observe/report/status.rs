//! What the tests of a column say, in words: an alarm, nothing, or why they are quiet. Pure.

use super::chart::number;
use super::column::{BaselineSource, DriftTest};
use super::drift::{ColumnDrift, VersionDrift};
use super::story;
use crate::core::count::counted;
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::kind::ColumnKind;

/// The smallest distance from which on it is worth saying that a baseline cannot show less.
pub(crate) const COARSE: f64 = 0.1;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnStanding {
    Alarm,
    /// There are not enough rows for a verdict.
    Unknown,
    Calm,
    /// No test of the distribution is made.
    Untested,
}

/// Returns how a column stands.
pub(crate) fn standing(column: &ColumnDrift) -> ColumnStanding {
    if column.alarms() > 0 {
        return ColumnStanding::Alarm;
    }
    if column.ignored {
        return ColumnStanding::Untested;
    }
    if column.tests.is_empty() {
        return match column.kind {
            ColumnKind::Stationary => ColumnStanding::Unknown,
            _ => ColumnStanding::Untested,
        };
    }
    match main_test(column) {
        Some(test) if is_unsure(test) => ColumnStanding::Unknown,
        _ => ColumnStanding::Calm,
    }
}

/// Tells whether a distance beyond the threshold is not certain enough for an alarm.
fn is_unsure(test: &DriftTest) -> bool {
    !test.alarm && test.value > test.threshold * 1.5
}

/// Returns the test that tells most: of those in alarm the clearest one, else that of the
/// distribution over the most of the last eight windows, or over the fewest if all have more.
pub(crate) fn main_test(column: &ColumnDrift) -> Option<&DriftTest> {
    let excess = |t: &DriftTest| t.lower / t.threshold.max(f64::MIN_POSITIVE);
    let raised = column.tests.iter().filter(|test| test.alarm);
    let raised = raised.max_by(|a, b| excess(a).total_cmp(&excess(b)));
    raised.or_else(|| {
        let is_main = |test: &&DriftTest| {
            matches!(test.metric, Metric::Ks | Metric::Largest)
                && matches!(test.against, Against::Training | Against::Band)
        };
        // Eight windows of few rows are too few for a test; longer spans may be tested nevertheless.
        let of_distribution = column.tests.iter().filter(is_main);
        of_distribution.max_by_key(|test| match test.span {
            span @ 0..=8 => (true, i64::from(span)),
            span => (false, -i64::from(span)),
        })
    })
}

/// Describes how a column stands.
pub(crate) fn text(column: &ColumnDrift, drift: &VersionDrift) -> String {
    if let Some(sentence) = story::sentence(column) {
        let about = sentence.strip_prefix(&format!("{} ", column.described()));
        return about.unwrap_or(&sentence).to_owned();
    }
    if column.ignored {
        return "not monitored: ignored in the configuration".to_owned();
    }
    if drift.baseline == BaselineSource::Gathering {
        return "no baseline yet".to_owned();
    }
    match column.kind {
        ColumnKind::Identifier => {
            return "identifier: only missing values are tested".to_owned();
        }
        ColumnKind::Constant => return "constant: other values are tested".to_owned(),
        ColumnKind::Trending => {
            return "trending: its range, jumps and missing values are tested".to_owned();
        }
        ColumnKind::Cyclic | ColumnKind::Unsteady | ColumnKind::Stationary => {}
    }

    let few = column.smallest.filter(|smallest| *smallest > COARSE);
    // A part has fewer rows than the whole.
    let rows = column.then.as_ref().map(|then| then.rows);
    let coarse = few.map_or_else(String::new, |smallest| {
        format!(
            "; with {}, differences under {} cannot be shown",
            counted(rows.unwrap_or(drift.baseline_rows), "baseline row"),
            number(smallest)
        )
    });
    match main_test(column) {
        None if column.tests.is_empty() && column.kind == ColumnKind::Stationary => {
            format!("not enough rows for a verdict{coarse}")
        }
        None => format!(
            "{}: its values, one value for too long, and missing values are tested",
            column.kind.name()
        ),
        Some(test) if is_unsure(test) => {
            format!("not sure yet after {}{coarse}", counted(test.rows, "row"))
        }
        Some(test) if test.against == Against::Band => {
            "within the levels that the baseline had".to_owned()
        }
        Some(_) => format!("as in the baseline{coarse}"),
    }
}

/// Share of missing rows from which the rows of an own baseline are doubted.
const MISSING_DOUBTED: f64 = 0.5;

/// Says what is doubtful about a baseline of the first rows that a server saw: if they were bad, bad
/// rows became the norm.
pub(crate) fn doubts(drift: &VersionDrift) -> Vec<String> {
    if drift.baseline == BaselineSource::Training {
        return Vec::new();
    }
    let one = |column: &ColumnDrift| {
        let name = &column.name;
        let counted = (column.contract.nan + column.contract.empty) as f64;
        let so_far = counted / drift.rows.max(1) as f64;
        let missing = column.then.as_ref().map_or(so_far, |then| then.missing);
        if missing >= MISSING_DOUBTED {
            return Some(format!(
                "{name} is missing in {} of the first rows that this version served",
                story::percent(missing)
            ));
        }
        (column.kind == ColumnKind::Constant).then(|| {
            format!("{name} has one value in all of the first rows that this version served")
        })
    };
    let mut found: Vec<String> = drift.columns.iter().filter_map(one).collect();
    found.extend(drift.differences.iter().cloned());
    found
}

/// Says how many of the rows that make the version's own baseline are gathered; none while it gathers
/// none.
pub(crate) fn gathering(drift: &VersionDrift) -> Option<String> {
    let (gathered, own) = drift.gathered_rows.zip(drift.own_rows)?;
    let (gathered, own) = (story::grouped(gathered as f64), story::grouped(own as f64));
    Some(format!("{gathered} of {own} rows gathered"))
}

/// Names the columns whose baseline cannot show differences that matter, with the smallest that it
/// could show; the least telling first.
pub(crate) fn coarse(drift: &VersionDrift) -> Vec<(&str, f64)> {
    let mut found: Vec<(&str, f64)> = drift
        .columns
        .iter()
        .filter_map(|column| Some((column.name.as_str(), column.smallest?)))
        .filter(|(_, smallest)| *smallest > COARSE)
        .collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found
}
