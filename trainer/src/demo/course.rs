//! The course of the demonstration: the accuracy before the pattern of payments
//! changes, at its lowest, and after a new version answers.

use super::stream::{Stream, StreamTotals};
use super::{LATEST, PATIENCE, Teller};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Requests before the pattern of payments changes.
const CALM: usize = 150;
/// The loss of accuracy that is accepted at the end.
const SLACK: f64 = 0.04;

/// The accuracy of the stream, before and after the pattern of payments changed.
pub(super) struct Course {
    /// The accuracy before the change.
    before: f64,
    /// The lowest accuracy after it.
    worst: f64,
    /// The time from the change until a new version answered.
    swapped: Option<Duration>,
    /// The time from the change until the accuracy was restored.
    recovered: Option<Duration>,
}

impl Course {
    /// Returns whether the accuracy fell, was restored, and no request failed.
    fn held(&self, seen: &StreamTotals) -> bool {
        self.recovered.is_some() && seen.lost == 0 && self.worst < self.before - 2.0 * SLACK
    }
}

/// Sends payments, changes their pattern, and goes on until a new version predicts
/// as well as the first one did, or time is over.
pub(super) async fn run(stream: &mut Stream, teller: &Teller) -> Course {
    for _ in 0..CALM {
        stream.step().await;
    }
    let mut course = Course {
        before: stream.seen.accuracy(),
        worst: f64::INFINITY,
        swapped: None,
        recovered: None,
    };
    teller.say(&format!(
        "{} payments predicted, {:.1} % right; now large payments appear, which are not in the training data",
        stream.seen.rows,
        course.before * 100.0
    ));

    stream.world.has_changed = true;
    stream.seen.latest.clear();
    let changed = Instant::now();
    while course.recovered.is_none() && changed.elapsed() < PATIENCE {
        stream.step().await;
        let seen = &stream.seen;
        let newest = seen.versions.keys().map(|(version, _)| *version).max();
        let newest = newest.unwrap_or(1);
        if newest > 1 && course.swapped.is_none() {
            course.swapped = Some(changed.elapsed());
            teller.say(&format!(
                "{:.1} s: version {newest} answers",
                changed.elapsed().as_secs_f64()
            ));
        }
        if seen.latest.len() < LATEST {
            continue;
        }
        course.worst = course.worst.min(seen.accuracy());
        if newest > 1 && seen.accuracy() >= course.before - SLACK {
            course.recovered = Some(changed.elapsed());
        }
    }
    course
}

pub(super) fn report(seen: &StreamTotals, course: &Course, teller: &Teller) {
    teller.say(&format!(
        "accuracy of the last {} payments: {:.1} %; at worst {:.1} %",
        seen.latest.len(),
        seen.accuracy() * 100.0,
        course.worst * 100.0
    ));
    for ((version, changed), (rows, right)) in &seen.versions {
        let when = if *changed { "after" } else { "before" };
        teller.say(&format!(
            "  version {version}, {when} the change: {rows} rows, {:.1} % right",
            *right as f64 / *rows as f64 * 100.0
        ));
    }
    teller.say(&format!("{} requests failed", seen.lost));
}

pub(super) fn in_json(seen: &StreamTotals, course: &Course) -> Value {
    let versions = seen.versions.iter().map(|((version, changed), (rows, right))| {
        json!({"version": version, "after_change": changed, "rows": rows, "right": right})
    });
    json!({
        "held": course.held(seen),
        "rows": seen.rows,
        "lost": seen.lost,
        "accuracy": {"before": course.before, "worst": course.worst, "after": seen.accuracy()},
        "seconds": {
            "swap": course.swapped.map(|time| time.as_secs_f64()),
            "recovery": course.recovered.map(|time| time.as_secs_f64()),
        },
        "versions": versions.collect::<Vec<_>>(),
        "prediction": seen.last_id,
    })
}
