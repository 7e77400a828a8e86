//! Decides what to load and what to unload. Pure: a function of the versions that the source has
//! and those that serve.

#[cfg(test)]
mod tests;

use crate::core::model::Version;
use crate::registry::version_policy::VersionPolicy;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownVersion {
    /// Its files are complete.
    pub present: bool,
    /// It is loaded and serves.
    pub serving: bool,
    /// These files were refused before.
    pub refused: bool,
}

/// The next thing to do for one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Load(Version),
    Unload(Version),
    Nothing,
}

/// Decides for one model. A version is unloaded only once everything wanted serves, or at once if
/// its files are gone.
pub(crate) fn next(known: &BTreeMap<Version, KnownVersion>, policy: &VersionPolicy) -> Action {
    let usable = |(version, k): (&Version, &KnownVersion)| {
        (k.present && (!k.refused || k.serving)).then_some(*version)
    };
    let newest_first = known.iter().rev().filter_map(usable);
    let wanted: BTreeSet<Version> = match policy {
        VersionPolicy::Latest(n) => newest_first.take(*n as usize).collect(),
        VersionPolicy::All => newest_first.collect(),
        VersionPolicy::Specific(list) => newest_first.filter(|v| list.contains(v)).collect(),
    };

    if let Some(gone) = known.iter().find(|(_, k)| k.serving && !k.present) {
        return Action::Unload(*gone.0);
    }
    if let Some(missing) = wanted.iter().rev().find(|v| !known[v].serving) {
        return Action::Load(*missing);
    }
    match known.iter().find(|(v, k)| k.serving && !wanted.contains(v)) {
        Some((spare, _)) => Action::Unload(*spare),
        None => Action::Nothing,
    }
}
