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
    /// The source lists it: its files are there, complete or not.
    pub listed: bool,
    /// Its files are complete.
    pub present: bool,
    /// It was there before and was not seen at the last look.
    pub missing: bool,
    /// It is loaded and serves.
    pub serving: bool,
    /// These files were refused before.
    pub refused: bool,
    /// It serves, and its files hold other bytes now, which are to replace those that serve.
    pub revised: bool,
}

/// The next thing to do for one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Loads a version that does not serve, or the new bytes of one that does.
    Load(Version),
    Unload(Version),
    Nothing,
}

/// Decides for one model. A version is unloaded only once everything wanted serves. One whose files
/// are gone serves until another version of the model does. Where no other is there, it is unloaded
/// once a second look has not seen it either. One that a new policy leaves out serves as long as
/// nothing that the policy asks for does. New bytes of a version that serves come last, since
/// nobody waits for them.
pub(crate) fn next(known: &BTreeMap<Version, KnownVersion>, policy: &VersionPolicy) -> Action {
    let wanted = wanted(known, policy);
    if let Some(missing) = wanted.iter().rev().find(|v| !known[v].serving) {
        return Action::Load(*missing);
    }

    let mut spare = known
        .iter()
        .filter(|(v, k)| k.serving && !wanted.contains(v));
    let has_hope = !hoped_for(known, policy).is_empty();
    let asks_for_none = matches!(policy, VersionPolicy::Specific(list) if list.is_empty());
    let leaves = |k: &KnownVersion| {
        if !wanted.is_empty() || asks_for_none {
            return true;
        }
        // Nothing takes its place: what the policy asks for is refused, still written, or not there.
        !k.listed && !has_hope && !k.missing
    };
    if let Some((version, _)) = spare.find(|(_, k)| leaves(k)) {
        return Action::Unload(*version);
    }

    let revised = wanted.iter().rev().find(|v| known[v].revised);
    revised.map_or(Action::Nothing, |version| Action::Load(*version))
}

/// Returns the versions that the policy selects among those that can serve.
fn wanted(known: &BTreeMap<Version, KnownVersion>, policy: &VersionPolicy) -> BTreeSet<Version> {
    select(known, policy, |k| k.present && (!k.refused || k.serving))
}

/// Returns the versions that serve, or will serve if the files that are still being written turn out
/// well. The others are not wanted by the policy, or were refused.
pub(crate) fn expected(
    known: &BTreeMap<Version, KnownVersion>,
    policy: &VersionPolicy,
) -> BTreeSet<Version> {
    let mut all = wanted(known, policy);
    all.extend(select(known, policy, |k| {
        k.listed && (!k.refused || k.serving)
    }));
    all
}

/// Tells whether a policy names versions, and the source has none of them although it has others.
pub(crate) fn is_void(known: &BTreeMap<Version, KnownVersion>, policy: &VersionPolicy) -> bool {
    let asks = matches!(policy, VersionPolicy::Specific(list) if !list.is_empty());
    asks && known.values().any(|k| k.listed) && hoped_for(known, policy).is_empty()
}

/// Returns the versions that may still take the place of one that is gone: those that the policy
/// accepts, even where they were refused, since a corrected configuration or a retry may help.
fn hoped_for(known: &BTreeMap<Version, KnownVersion>, policy: &VersionPolicy) -> BTreeSet<Version> {
    select(known, policy, |k| k.listed)
}

fn select(
    known: &BTreeMap<Version, KnownVersion>,
    policy: &VersionPolicy,
    is_candidate: impl Fn(&KnownVersion) -> bool,
) -> BTreeSet<Version> {
    let newest_first = known
        .iter()
        .rev()
        .filter(|(_, k)| is_candidate(k))
        .map(|(version, _)| *version);

    match policy {
        VersionPolicy::Latest(n) => newest_first.take(*n as usize).collect(),
        VersionPolicy::All => newest_first.collect(),
        VersionPolicy::Specific(list) => newest_first.filter(|v| list.contains(v)).collect(),
    }
}
