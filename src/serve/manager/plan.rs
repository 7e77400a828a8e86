//! Decides what to load and what to unload. Pure: a function of what is there
//! and what serves; executes nothing.

use crate::core::model::Version;
use crate::registry::version_policy::VersionPolicy;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its files are there, and no longer being written.
    pub present: bool,
    /// It serves.
    pub serving: bool,
    /// These very bytes were refused before.
    pub refused: bool,
}

/// The next thing to do for one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Load(Version),
    Unload(Version),
    Nothing,
}

/// Decides for one model. A version leaves only once everything wanted serves,
/// unless its files are gone: then it leaves at once.
pub(crate) fn next(known: &BTreeMap<Version, Known>, policy: &VersionPolicy) -> Action {
    let usable = |(version, k): (&Version, &Known)| {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One word per version: its number, then p(resent), s(erving), r(efused).
    fn check(words: &str, policy: &VersionPolicy, expected: Action) {
        let known = words.split_whitespace().map(|word| {
            let digits = word.trim_end_matches(|c: char| c.is_alphabetic());
            let has = |flag| word.contains(flag);
            let known = Known {
                present: has('p'),
                serving: has('s'),
                refused: has('r'),
            };
            (version(digits.parse().expect("a number")), known)
        });
        assert_eq!(next(&known.collect(), policy), expected, "{words}");
    }

    fn version(number: u64) -> Version {
        Version::new(number).expect("legal")
    }

    #[test]
    fn newest_is_loaded_before_the_old_leaves() {
        let latest = VersionPolicy::Latest(1);
        check("", &latest, Action::Nothing);
        check("1p", &latest, Action::Load(version(1)));
        check("1ps", &latest, Action::Nothing);
        check("1ps 2", &latest, Action::Nothing);
        check("1ps 2p", &latest, Action::Load(version(2)));
        check("1ps 2ps", &latest, Action::Unload(version(1)));
        check("1p 2ps", &latest, Action::Nothing);
    }

    #[test]
    fn a_refused_version_changes_nothing_that_serves() {
        check("1ps 2pr", &VersionPolicy::Latest(1), Action::Nothing);
        check(
            "1p 2pr",
            &VersionPolicy::Latest(1),
            Action::Load(version(1)),
        );
        check("2psr", &VersionPolicy::Latest(1), Action::Nothing);
    }

    #[test]
    fn a_version_whose_files_are_gone_leaves() {
        check("1s", &VersionPolicy::Latest(1), Action::Unload(version(1)));
        check(
            "1p 2s",
            &VersionPolicy::Latest(1),
            Action::Unload(version(2)),
        );
    }

    #[test]
    fn all_and_specific_mean_what_they_say() {
        check("1ps 2p 3p", &VersionPolicy::All, Action::Load(version(3)));
        check("1ps 2ps 3ps", &VersionPolicy::All, Action::Nothing);
        let specific = VersionPolicy::Specific(vec![version(1)]);
        check("1p 2p", &specific, Action::Load(version(1)));
        check("1ps 2ps", &specific, Action::Unload(version(2)));
        check(
            "1ps 2ps 3p",
            &VersionPolicy::Latest(2),
            Action::Load(version(3)),
        );
        check(
            "1ps 2ps 3ps",
            &VersionPolicy::Latest(2),
            Action::Unload(version(1)),
        );
    }
}
