//! Adds up the counts of servers. Pure.

use crate::observe::drift::sketch::{Sketch, SketchCounts};
use crate::observe::drift::watch::WatchSubject;
use std::collections::BTreeMap;

/// Names the version that counts belong to. The model is part of the name, because two models may
/// have the same bytes.
pub(super) fn name_of(sketch: &Sketch) -> String {
    name(&sketch.model, sketch.version, &sketch.digest)
}

/// Names a served version as [`name_of`] names its counts.
pub(super) fn name_of_subject(subject: &WatchSubject) -> String {
    name(
        subject.model.as_str(),
        subject.version.number(),
        &subject.digest.to_string(),
    )
}

/// Names a version.
fn name(model: &str, version: u64, digest: &str) -> String {
    format!("{model}:{version} {digest}")
}

/// Adds a server's counts to those of the others. Skips columns whose cells differ.
pub(super) fn add(versions: &mut BTreeMap<String, Sketch>, sketch: Sketch) {
    let Some(sum) = versions.get_mut(&name_of(&sketch)) else {
        versions.insert(name_of(&sketch), sketch);
        return;
    };

    sum.rows += sketch.rows;
    for (into, from) in sum.columns.iter_mut().zip(&sketch.columns) {
        let is_same = into.name == from.name && into.counts.len() == from.counts.len();
        if is_same {
            add_column(into, from);
        }
    }
}

fn add_column(into: &mut SketchCounts, from: &SketchCounts) {
    for (sum, count) in into.counts.iter_mut().zip(&from.counts) {
        *sum = sum.saturating_add(*count);
    }

    for (sum, more) in into.sums.iter_mut().zip(&from.sums) {
        *sum += more;
    }
    into.missing = into.missing.saturating_add(from.missing);
    into.ends = match (into.ends, from.ends) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    };
}
