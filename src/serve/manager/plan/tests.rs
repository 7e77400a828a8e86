//! Tests of `plan`.

use super::*;

/// One word per version: its number, then p(resent), s(erving), r(efused).
fn check(words: &str, policy: &VersionPolicy, expected: Action) {
    let known = words.split_whitespace().map(|word| {
        let digits = word.trim_end_matches(|c: char| c.is_alphabetic());
        let has = |flag| word.contains(flag);
        let known = KnownVersion {
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
fn a_version_whose_files_are_gone_is_unloaded() {
    check("1s", &VersionPolicy::Latest(1), Action::Unload(version(1)));
    check(
        "1p 2s",
        &VersionPolicy::Latest(1),
        Action::Unload(version(2)),
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
