//! Which approvals and signatures count, and which changes require them.

use super::*;

/// A push of a version whose manifest is signed by `key`.
fn signed_push(number: u64, key: &str) -> Op {
    let mut op = push(number, &[]);
    if let Op::Version { signatures, .. } = &mut op {
        signatures.push(Signed {
            key: key.to_owned(),
            value: String::new(),
        });
    }

    op
}

fn verdict(to: u64, approve: bool) -> Op {
    Op::Verdict {
        model: name("m"),
        version: version(to),
        approve,
    }
}

/// A policy of one approval.
fn policy(signatures: Policy, owners: &[&str]) -> Op {
    Op::Policy {
        approvals: 1,
        signatures,
        owners: owners.iter().map(|key| (*key).to_owned()).collect(),
    }
}

/// A namespace where version 1 is champion and key `a` required signatures.
fn signed_namespace() -> NamespaceState {
    let mut state = NamespaceState::default();
    apply(&mut state, "ann", vec![push(1, &[]), promote(1, None)]);

    let required = vec![policy(Policy::Require, &[])];
    assert_eq!(apply_signed(&mut state, "ann", &["a"], required), None);
    state
}

#[test]
fn promotion_needs_approvals_by_others_and_a_rejection_blocks_it() {
    let mut state = NamespaceState::default();
    apply(
        &mut state,
        "ann",
        vec![
            push(1, &[]),
            Op::Policy {
                approvals: 2,
                signatures: Policy::None,
                owners: Vec::new(),
            },
        ],
    );

    assert!(
        apply(&mut state, "ann", vec![promote(1, None)])
            .is_some_and(|w| w.contains("0 of the 2 approvals"))
    );
    assert!(
        apply(&mut state, "ann", vec![verdict(1, true)])
            .is_some_and(|w| w.contains("cannot approve it"))
    );
    for actor in ["bob", "bob"] {
        assert_eq!(apply(&mut state, actor, vec![verdict(1, true)]), None);
    }
    assert!(
        apply(&mut state, "ann", vec![promote(1, None)])
            .is_some_and(|w| w.contains("1 of the 2 approvals"))
    );
    apply(&mut state, "cyd", vec![verdict(1, true)]);
    apply(&mut state, "dan", vec![verdict(1, false)]);
    assert!(
        apply(&mut state, "ann", vec![promote(1, None)])
            .is_some_and(|w| w.contains("rejected by dan"))
    );
    apply(&mut state, "dan", vec![verdict(1, true)]);
    assert_eq!(apply(&mut state, "ann", vec![promote(1, None)]), None);
}

#[test]
fn a_policy_that_requires_signatures_must_be_signed_itself() {
    let mut state = NamespaceState::default();
    let unsigned = apply(&mut state, "ann", vec![policy(Policy::Require, &[])]);
    assert!(unsigned.is_some_and(|why| why.contains("signs this one too")));
}

#[test]
fn where_signatures_are_required_no_unsigned_change_holds() {
    let mut state = signed_namespace();
    // Not even the end of the rule.
    for op in [push(2, &[]), policy(Policy::None, &[]), verdict(1, true)] {
        let refused = apply(&mut state, "eve", vec![op]);
        assert!(refused.is_some_and(|why| why.contains("asks for signed changes")));
    }

    let unsigned_version = apply_signed(&mut state, "ann", &["a"], vec![push(2, &[])]);
    assert!(unsigned_version.is_some_and(|why| why.contains("asks for signed versions")));
}

#[test]
fn only_a_key_that_owns_the_policy_changes_it_and_may_name_another_owner() {
    let mut state = signed_namespace();
    let no_approvals = Op::Policy {
        approvals: 0,
        signatures: Policy::Require,
        owners: Vec::new(),
    };
    for op in [policy(Policy::None, &[]), no_approvals] {
        let refused = apply_signed(&mut state, "eve", &["e"], vec![op]);
        assert!(refused.is_some_and(|why| why.contains("owns the policy")));
    }

    let new_owner = vec![policy(Policy::Require, &["b"])];
    assert_eq!(apply_signed(&mut state, "ann", &["a"], new_owner), None);

    let end = || vec![policy(Policy::None, &[])];
    assert!(apply_signed(&mut state, "ann", &["a"], end()).is_some());
    assert_eq!(apply_signed(&mut state, "bob", &["b"], end()), None);
}

#[test]
fn where_signatures_are_required_keys_approve_and_not_the_key_of_the_push() {
    let mut state = signed_namespace();
    let pushed = vec![signed_push(2, "a")];
    assert_eq!(apply_signed(&mut state, "ann", &["a"], pushed), None);

    // Another actor with the same key does not count.
    let own = apply_signed(&mut state, "bob", &["a"], vec![verdict(2, true)]);
    assert!(own.is_some_and(|why| why.contains("the key that signed version 2")));
    let early = apply_signed(&mut state, "ann", &["a"], vec![promote(2, Some(1))]);
    assert!(early.is_some_and(|why| why.contains("0 of the 1 approvals by keys")));
    let mut rejected = state.clone();

    let approval = || vec![verdict(2, true)];
    assert_eq!(apply_signed(&mut state, "bob", &["b"], approval()), None);
    let promotion = || vec![promote(2, Some(1))];
    assert_eq!(apply_signed(&mut state, "ann", &["a"], promotion()), None);

    let rejection = vec![verdict(2, false)];
    assert_eq!(apply_signed(&mut rejected, "cyd", &["c"], rejection), None);
    assert_eq!(apply_signed(&mut rejected, "bob", &["b"], approval()), None);
    let refused = apply_signed(&mut rejected, "ann", &["a"], promotion());
    assert!(refused.is_some_and(|why| why.contains("was rejected by c")));
}

#[test]
fn a_version_without_approvals_gets_no_traffic_weight() {
    let mut state = NamespaceState::default();
    let alias = |to: u64, from: Option<u64>| Op::Alias {
        model: name("m"),
        alias: Alias::parse("challenger").expect("legal"),
        version: Some(version(to)),
        from: from.map(version),
    };

    let split = |to: &str| Op::Traffic {
        model: name("m"),
        weights: [("champion".into(), 90), (to.into(), 10)].into(),
    };

    apply(
        &mut state,
        "ann",
        vec![
            push(1, &[]),
            promote(1, None),
            push(2, &[]),
            push(3, &[]),
            alias(2, None),
        ],
    );

    apply(&mut state, "ann", vec![policy(Policy::None, &[])]);

    for to in ["challenger", "2"] {
        assert!(
            apply(&mut state, "ann", vec![split(to)])
                .is_some_and(|why| why.contains("0 of the 1 approvals"))
        );
    }

    assert_eq!(apply(&mut state, "bob", vec![verdict(2, true)]), None);
    assert_eq!(apply(&mut state, "ann", vec![split("challenger")]), None);
    // Nor through an alias that has a traffic weight.
    assert!(
        apply(&mut state, "ann", vec![alias(3, Some(2))])
            .is_some_and(|why| why.contains("0 of the 1 approvals"))
    );

    assert_eq!(apply(&mut state, "bob", vec![verdict(3, true)]), None);
    assert_eq!(apply(&mut state, "ann", vec![alias(3, Some(2))]), None);
}
