//! Tests of `pointers`.

use super::*;
use crate::core::hash::Digest;
use crate::registry::commands::conformance::{name, version};
use crate::registry::sign::PrivateKey;

/// A model whose champions, oldest first, have these verdicts by trusted (a, b) and
/// unknown (x) keys. Returns the champion, the previous champion, and the champion
/// that is refused.
fn check(verdicts: &[&[(&str, bool)]], own: u32) -> (Option<u64>, Option<u64>, Option<u64>) {
    let keys =
        ["a", "b", "x"].map(|name| (name, PrivateKey::generate().expect("a key").0.public()));
    let public = |name: &str| {
        keys.iter()
            .find(|(n, _)| *n == name)
            .expect("a key")
            .1
            .clone()
    };

    let mut trust = Trust {
        format: 1,
        ..Trust::default()
    };

    for name in ["a", "b"] {
        trust.add(&public(name), name).expect("trusted");
    }
    let mut model = RegisteredModel::default();
    for (i, verdicts) in verdicts.iter().enumerate() {
        let number = version(i as u64 + 1);
        let record = serde_json::json!({
            "manifest": Digest::of(b"m"), "blobs": [], "seq": 1, "time": "2026-01-01T00:00:00Z", "actor": "ann",
            "vouched": verdicts.iter().map(|(key, yes)| (public(key), *yes)).collect::<std::collections::BTreeMap<_, _>>(),
        });
        model
            .versions
            .insert(number, serde_json::from_value(record).expect("a record"));
        model.champions.push(number);
    }

    let approvers = Approvers::of(
        &NamespaceState::default(),
        own,
        &trust,
        const { &BTreeSet::new() },
    );
    let (pointers, refused) = pointers(&name("m"), &model, None, &approvers);
    let number = |v: Option<Version>| v.map(Version::number);
    let alias = |name: &str| pointers.aliases.get(name).copied();
    assert_eq!(pointers.champion, alias("champion"));
    (
        number(pointers.champion),
        number(alias("previous")),
        number(refused),
    )
}

#[test]
fn champion_and_previous_must_be_approved_by_trusted_keys() {
    let (yes, no, strange): (&[_], &[_], &[_]) = (&[("a", true)], &[], &[("x", true)]);
    assert_eq!(
        check(&[yes, no], 0),
        (Some(2), Some(1), None),
        "no approvals are required"
    );

    assert_eq!(check(&[yes, strange], 1), (Some(1), None, Some(2)));
    assert_eq!(check(&[yes, strange, no], 1), (Some(1), None, Some(3)));
    // The target of a rollback, and what replaces a champion that does not load.
    assert_eq!(check(&[yes, strange, yes], 1), (Some(3), Some(1), None));
    assert_eq!(check(&[strange, no], 1), (None, None, Some(2)));
    assert_eq!(check(&[yes, yes], 2), (None, None, Some(2)));
    // A rejection by a trusted key outweighs any approval; one by an unknown key
    // does not count.
    assert_eq!(
        check(&[yes, &[("a", true), ("b", false)]], 1),
        (Some(1), None, Some(2))
    );

    assert_eq!(
        check(&[yes, &[("a", true), ("x", false)]], 1),
        (Some(2), Some(1), None)
    );
}
