//! Tests of `plan`.

use super::*;

/// One word per version: its number, then l(isted), p(resent and listed), m(issing),
/// s(erving), r(efused), n(ew bytes).
fn known(words: &str) -> BTreeMap<Version, KnownVersion> {
    let known = words.split_whitespace().map(|word| {
        let digits = word.trim_end_matches(|c: char| c.is_alphabetic());
        let has = |flag| word.contains(flag);
        let known = KnownVersion {
            listed: has('p') || has('l'),
            present: has('p'),
            missing: has('m'),
            serving: has('s'),
            refused: has('r'),
            revised: has('n'),
        };
        (version(digits.parse().expect("a number")), known)
    });

    known.collect()
}

fn check(words: &str, policy: &VersionPolicy, expected: Action) {
    assert_eq!(next(&known(words), policy), expected, "{words}");
}

fn version(number: u64) -> Version {
    Version::new(number).expect("legal")
}

#[test]
fn the_newest_version_is_loaded_before_the_old_one_is_unloaded() {
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
fn a_refused_version_unloads_nothing() {
    check("1ps 2pr", &VersionPolicy::Latest(1), Action::Nothing);
    check(
        "1p 2pr",
        &VersionPolicy::Latest(1),
        Action::Load(version(1)),
    );

    check("2psr", &VersionPolicy::Latest(1), Action::Nothing);
}

#[test]
fn a_version_whose_files_are_gone_serves_until_another_does() {
    let latest = VersionPolicy::Latest(1);
    check("1s", &latest, Action::Unload(version(1)));
    // Nothing else is there; a second look decides.
    check("1sm", &latest, Action::Nothing);
    check("1p 2s", &latest, Action::Load(version(1)));
    check("1p 2sm", &latest, Action::Load(version(1)));
    check("1s 2p", &latest, Action::Load(version(2)));
    check("1ps 2s", &latest, Action::Unload(version(2)));
    check("1ps 2sm", &latest, Action::Unload(version(2)));
    // The other one is still being copied, or was refused.
    check("1l 2s", &latest, Action::Nothing);
    check("1s 2l", &latest, Action::Nothing);
    check("1lr 2s", &latest, Action::Nothing);
    check("1pr 2s", &latest, Action::Nothing);
    check("1pr 2p 3s", &latest, Action::Load(version(2)));
}

#[test]
fn a_version_that_the_policy_does_not_accept_is_no_successor() {
    let specific = VersionPolicy::Specific(vec![version(2)]);
    check("1p 2s", &specific, Action::Unload(version(2)));
    check("1l 2s", &specific, Action::Unload(version(2)));
    check("1p 2sm", &specific, Action::Nothing);
    check("1p 2s", &VersionPolicy::All, Action::Load(version(1)));
    check("1pr 2s", &VersionPolicy::All, Action::Nothing);
}

#[test]
fn versions_that_the_policy_does_not_want_are_not_expected() {
    let check = |words: &str, policy: &VersionPolicy, expected_numbers: &[u64]| {
        let numbers: Vec<u64> = expected(&known(words), policy)
            .iter()
            .map(|v| v.number())
            .collect();
        assert_eq!(numbers, expected_numbers, "{words}");
    };
    let latest = VersionPolicy::Latest(1);
    check("1p 2ps", &latest, &[2]);
    check("1l 2ps", &latest, &[2]);
    // Version 2 replaces version 1 if its files turn out well.
    check("1ps 2l", &latest, &[1, 2]);
    check("1p 2pr", &latest, &[1]);
    check(
        "1p 2p 3ps",
        &VersionPolicy::Specific(vec![version(3)]),
        &[3],
    );
}

#[test]
fn the_policies_all_and_specific_select_their_versions() {
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

#[test]
fn new_bytes_of_a_version_are_loaded_once_the_versions_are_as_wanted() {
    let latest = VersionPolicy::Latest(1);
    check("1psn", &latest, Action::Load(version(1)));
    check("1psn 2p", &latest, Action::Load(version(2)));
    check("1psn 2ps", &latest, Action::Unload(version(1)));
    check("1ps 2psn", &latest, Action::Unload(version(1)));
    check("2psn", &latest, Action::Load(version(2)));
    check("1psn 2pr", &latest, Action::Load(version(1)));
    check("1psn 2psn", &VersionPolicy::All, Action::Load(version(2)));
    let specific = VersionPolicy::Specific(vec![version(1)]);
    check("1psn 2p", &specific, Action::Load(version(1)));
}

#[test]
fn a_policy_that_nothing_fulfils_unloads_nothing() {
    let named = |numbers: &[u64]| {
        VersionPolicy::Specific(numbers.iter().map(|number| version(*number)).collect())
    };
    check("1ps", &named(&[9]), Action::Nothing);
    check("1ps 2pr", &named(&[2]), Action::Nothing);
    check("1ps 2l", &named(&[2]), Action::Nothing);
    check("1ps 2p", &named(&[2]), Action::Load(version(2)));
    check("1ps 2ps", &named(&[2]), Action::Unload(version(1)));
    check("1ms 2p", &named(&[9]), Action::Nothing);
    check("1s 2p", &named(&[9]), Action::Unload(version(1)));
    // Nothing is asked for, as by a registry whose aliases are gone.
    check("1ps", &named(&[]), Action::Unload(version(1)));

    assert!(is_void(&known("1ps"), &named(&[9])));
    assert!(!is_void(&known("1ps 9l"), &named(&[9])));
    assert!(!is_void(&known("1ps"), &named(&[])));
    assert!(!is_void(&known("1ps"), &VersionPolicy::Latest(1)));
    assert!(!is_void(&known("1m"), &named(&[9])));
}
