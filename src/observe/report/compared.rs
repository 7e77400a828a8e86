//! The versions of a model beside each other, as an operator looks at them while a canary has a part
//! of the requests. Pure.

#[cfg(test)]
mod tests;

use crate::core::count::counted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The quantile of the normal distribution for intervals of 95 %.
const Z95: f64 = 1.959_963_985;

/// One version among others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedVersion {
    /// Number of the version.
    pub version: u64,
    /// Aliases that point at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Share of the requests that name no version, in percent.
    #[serde(default)]
    pub traffic: u32,
    /// Requests since the server started.
    pub requests: u64,
    /// Share of them that failed. Absent without requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_share: Option<f64>,
    /// Milliseconds within which half of its requests were answered, and 99 %. Absent without requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<[f64; 2]>,
    /// Open incidents of drift.
    pub open_incidents: usize,
    /// Rows of the last days with a label.
    pub labelled_rows: u64,
    /// Accuracy, or mean absolute error, by labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<ComparedMeasure>,
    /// The version that it is compared with: the champion. Absent from that version itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<u64>,
    /// The same minus that of the champion, of the rows since both have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<ComparedMeasure>,
    /// The hour from which on both have rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference_since: Option<String>,
    /// Labelled rows of this version and of the champion since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference_rows: Option<[u64; 2]>,
}

/// A measure with its interval of 95 %, as if rows were independent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedMeasure {
    /// `accuracy` or `mae`.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// The lower and the upper bound.
    pub interval: [f64; 2],
}

/// What is known of a version.
#[derive(Default)]
pub(crate) struct VersionFacts<'f> {
    pub version: u64,
    pub aliases: Vec<String>,
    pub traffic: u32,
    /// Requests, and those that failed.
    pub requests: (u64, u64),
    /// Upper bounds in seconds, and the requests up to each.
    pub times: &'f [(f64, u64)],
    pub open_incidents: usize,
    /// Labelled rows of the last days.
    pub labelled: Option<CountedLabels<'f>>,
    /// Labelled rows of the version and of the champion since both have some.
    pub pair: Option<LabelledPair>,
}

/// Labelled rows of a version and of the champion, of the same time.
pub(crate) struct LabelledPair {
    /// The hour from which on both have rows.
    pub since: String,
    pub own: (u64, BTreeMap<String, f64>),
    pub base: (u64, BTreeMap<String, f64>),
}

/// How well the labelled rows of a version were predicted.
#[derive(Clone, Copy)]
pub(crate) struct CountedLabels<'f> {
    pub count: u64,
    pub measures: &'f BTreeMap<String, f64>,
}

/// Compares versions with the champion; nothing if there is only one.
pub(crate) fn compare(all: &[VersionFacts<'_>], champion: Option<u64>) -> Vec<ComparedVersion> {
    if all.len() < 2 {
        return Vec::new();
    }
    let one = |facts: &VersionFacts<'_>| {
        let is_champion = Some(facts.version) == champion;
        let (requests, failed) = facts.requests;
        let pair = facts.pair.as_ref().filter(|_| !is_champion);
        ComparedVersion {
            version: facts.version,
            aliases: facts.aliases.clone(),
            traffic: facts.traffic,
            requests,
            failed_share: (requests > 0).then(|| failed as f64 / requests as f64),
            latency_ms: latency(facts.times),
            open_incidents: facts.open_incidents,
            labelled_rows: facts.labelled.map_or(0, |rows| rows.count),
            measured: facts.labelled.and_then(measure),
            compared_with: champion.filter(|_| !is_champion),
            difference: pair.and_then(|pair| difference(rows(&pair.own), rows(&pair.base))),
            difference_since: pair.map(|pair| pair.since.clone()),
            difference_rows: pair.map(|pair| [pair.own.0, pair.base.0]),
        }
    };
    all.iter().map(one).collect()
}

fn rows((count, measures): &(u64, BTreeMap<String, f64>)) -> CountedLabels<'_> {
    CountedLabels {
        count: *count,
        measures,
    }
}

/// Returns the bounds of half and of 99 % of the requests, in milliseconds.
fn latency(times: &[(f64, u64)]) -> Option<[f64; 2]> {
    times.last().filter(|(_, all)| *all > 0)?;
    Some([bound_ms(times, 0.5)?, bound_ms(times, 0.99)?])
}

/// Returns the bound below which a share of the requests stays, in milliseconds; none beyond the last.
pub(crate) fn bound_ms(times: &[(f64, u64)], share: f64) -> Option<f64> {
    let (_, all) = times.last()?;
    let wanted = (*all as f64 * share).ceil() as u64;
    let (bound, _) = times.iter().find(|(_, n)| *n >= wanted)?;
    Some(bound * 1e3).filter(|bound| bound.is_finite())
}

/// Returns the accuracy or the mean absolute error, with the half widths of its interval.
fn bounded(rows: CountedLabels<'_>) -> Option<(&'static str, f64, [f64; 2])> {
    let n = rows.count as f64;
    if rows.count < 2 {
        return None;
    }
    let of = |name: &str| rows.measures.get(name).copied();
    if let Some(p) = of("accuracy") {
        // Wilson's interval: it never leaves 0 to 1.
        let z = Z95 * Z95 / n;
        let middle = (p + z / 2.0) / (1.0 + z);
        let half = Z95 * (p * (1.0 - p) / n + z / (4.0 * n)).sqrt() / (1.0 + z);
        return Some(("accuracy", p, [p - (middle - half), middle + half - p]));
    }
    // The squared error is the square of the absolute one, so both means give its variance.
    let (mae, rmse) = (of("mae")?, of("rmse")?);
    let half = Z95 * ((rmse * rmse - mae * mae).max(0.0) / (n - 1.0)).sqrt();
    Some(("mae", mae, [half, half]))
}

fn measure(rows: CountedLabels<'_>) -> Option<ComparedMeasure> {
    let (name, value, [below, above]) = bounded(rows)?;
    Some(ComparedMeasure {
        name: name.to_owned(),
        value,
        interval: [value - below, value + above],
    })
}

/// Returns a measure minus the champion's. The interval is Newcombe's.
fn difference(own: CountedLabels<'_>, base: CountedLabels<'_>) -> Option<ComparedMeasure> {
    let (name, value, [below, above]) = bounded(own)?;
    let (base_name, base_value, [base_below, base_above]) = bounded(base)?;
    let by = value - base_value;
    (name == base_name).then(|| ComparedMeasure {
        name: name.to_owned(),
        value: by,
        interval: [by - below.hypot(base_above), by + above.hypot(base_below)],
    })
}

/// The headings of a table of versions.
pub(crate) const HEADINGS: [&str; 9] = [
    "version",
    "serves",
    "requests",
    "failed",
    "half within",
    "99 % within",
    "open incidents",
    "labelled rows",
    "measured",
];

/// Returns the cells of a version.
pub(crate) fn cells(version: &ComparedVersion) -> [String; 9] {
    let mut serves = version.aliases.clone();
    if version.traffic > 0 {
        serves.push(format!("{} % of requests", version.traffic));
    }
    let absent = || "-".to_owned();
    let time = |at: usize| {
        let latency = version.latency_ms.map(|latency| latency[at]);
        latency.map_or_else(absent, |ms| format!("{ms:.3} ms"))
    };
    let measured = version.measured.as_ref().map_or_else(absent, |measured| {
        let [low, high] = measured.interval;
        format!(
            "{} {:.4} ({low:.4} to {high:.4})",
            measured.name, measured.value
        )
    });
    [
        version.version.to_string(),
        serves.join(", "),
        version.requests.to_string(),
        version
            .failed_share
            .map_or_else(absent, |share| format!("{:.2} %", 100.0 * share)),
        time(0),
        time(1),
        version.open_incidents.to_string(),
        version.labelled_rows.to_string(),
        measured,
    ]
}

/// Says how each other version stands to the champion.
pub(crate) fn sentences(all: &[ComparedVersion]) -> Vec<String> {
    let one = |own: &ComparedVersion| {
        let base = own.compared_with?;
        let labelled = |of: u64| {
            all.iter()
                .find(|v| v.version == of)
                .map_or(0, |v| v.labelled_rows)
        };
        let [rows, base_rows] = own
            .difference_rows
            .unwrap_or([own.labelled_rows, labelled(base)]);
        let rows = format!("{} and {base_rows}", counted(rows, "labelled row"));
        let since = own.difference_since.as_ref();
        let since = since.map_or_else(String::new, |since| format!(" since {since}"));
        let Some(difference) = &own.difference else {
            return Some(format!(
                "version {} cannot be compared with version {base} by labels: {rows}{since}",
                own.version
            ));
        };
        let [low, high] = difference.interval;
        let is_error = difference.name == "mae";
        let stands = match (low > 0.0, high < 0.0) {
            (false, false) => "no difference to",
            (is_more, _) if is_more != is_error => "better than",
            _ => "worse than",
        };
        Some(format!(
            "version {}: {stands} version {base} by labels: {} {:+.4} ({low:+.4} to {high:+.4}, 95 %), {rows}{since}",
            own.version, difference.name, difference.value
        ))
    };
    all.iter().filter_map(one).collect()
}
