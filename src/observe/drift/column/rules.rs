//! Which tests a column gets, by its kind and by what the operator set for it. Pure.

use crate::observe::drift::alarm::{self, Against, CERTAIN_PART, Metric};
use crate::observe::drift::baseline::{BaselineColumn, Cells, ValueDistribution};
use crate::observe::drift::distance::{LIKELY, Sizes};
use crate::observe::drift::kind::ColumnKind;
use crate::observe::drift::settings::MonitorSettings;

/// What the operator set for a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnRule {
    /// The kind, in place of the one that the baseline shows.
    pub kind: Option<ColumnKind>,
    /// The smallest Kolmogorov-Smirnov distance, or change of a category's share, that raises an
    /// alarm. The other metrics follow in proportion.
    pub threshold: Option<f64>,
}

/// The smallest difference from the same hour of last week that matters for a cyclic column.
const CYCLIC_MIN: f64 = 0.25;

/// Returns the metrics by which a column is compared with something.
pub(super) fn metrics(kind: ColumnKind, cells: &Cells, against: Against) -> &'static [Metric] {
    let of_numbers = matches!(cells, Cells::Numbers(_));
    match (kind, against) {
        (ColumnKind::Stationary, _) if of_numbers => &Metric::NUMBERS,
        (ColumnKind::Stationary, _) => &Metric::WORDS,
        (ColumnKind::Cyclic | ColumnKind::Unsteady, _) if of_numbers => {
            &[Metric::Ks, Metric::Missing]
        }
        (ColumnKind::Cyclic | ColumnKind::Unsteady, _) => &[Metric::Largest, Metric::Missing],
        (ColumnKind::Trending | ColumnKind::Constant | ColumnKind::Identifier, _) => {
            &[Metric::Missing]
        }
    }
}

/// Returns the smallest distance of a column that raises an alarm.
pub(super) fn threshold(
    settings: &MonitorSettings,
    kind: ColumnKind,
    rule: &ColumnRule,
    (metric, against): (Metric, Against),
) -> f64 {
    let general = alarm::threshold(settings, metric);
    let own = match (metric, rule.threshold) {
        (Metric::Missing | Metric::Step | Metric::Stuck, _) | (_, None) => general,
        (Metric::Largest, Some(own)) => own,
        (_, Some(own)) if settings.ks > 0.0 => general * own / settings.ks,
        (_, Some(own)) => own,
    };
    let is_by_week = kind == ColumnKind::Cyclic && against == Against::LastWeek;
    if is_by_week && metric != Metric::Missing {
        own.max(CYCLIC_MIN)
    } else {
        own
    }
}

/// Returns the smallest distance that can raise an alarm with any number of live rows. `alpha` is
/// the significance level of a test of an hour.
pub(crate) fn smallest(
    baseline: &BaselineColumn,
    (kind, rule): (ColumnKind, &ColumnRule),
    settings: &MonitorSettings,
    alpha: f64,
) -> Option<f64> {
    let rows = baseline.counts().iter().sum::<u64>() as f64;
    let (metric, against) = match (kind, &baseline.values) {
        (ColumnKind::Stationary, ValueDistribution::Numbers(_)) => (Metric::Ks, Against::Training),
        (ColumnKind::Stationary, ValueDistribution::Words(_)) => {
            (Metric::Largest, Against::Training)
        }
        _ => return None,
    };
    let threshold = threshold(settings, kind, rule, (metric, against));
    let by_chance = |alpha: f64| {
        Sizes {
            window: f64::INFINITY,
            baseline: (rows / baseline.design_effect).max(1.0),
            alpha,
        }
        .ks()
    };
    let likely = threshold + by_chance(LIKELY);
    let certain = threshold * CERTAIN_PART + by_chance(alpha);
    // No distance is greater than 1.
    Some(likely.max(certain).min(1.0))
}
