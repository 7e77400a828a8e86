//! Approvals and signatures: whose count, and what they gate.

use super::*;

#[test]
fn approvals_by_others_are_needed_and_a_rejection_stands() {
    let verdict = |approve| Op::Verdict {
        model: name("m"),
        version: version(1),
        approve,
    };

    let mut state = State::default();
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
        apply(&mut state, "ann", vec![verdict(true)])
            .is_some_and(|w| w.contains("cannot approve it"))
    );
    for actor in ["bob", "bob"] {
        assert_eq!(apply(&mut state, actor, vec![verdict(true)]), None);
    }
    assert!(
        apply(&mut state, "ann", vec![promote(1, None)])
            .is_some_and(|w| w.contains("1 of the 2 approvals"))
    );
    apply(&mut state, "cyd", vec![verdict(true)]);
    apply(&mut state, "dan", vec![verdict(false)]);
    assert!(
        apply(&mut state, "ann", vec![promote(1, None)])
            .is_some_and(|w| w.contains("rejected by dan"))
    );
    apply(&mut state, "dan", vec![verdict(true)]);
    assert_eq!(apply(&mut state, "ann", vec![promote(1, None)]), None);
}

#[test]
fn where_signatures_are_asked_for_only_keys_approve_and_not_the_pushers_own() {
    let signed_push = |number: u64, key: &str| {
        let Op::Version {
            model,
            version,
            manifest,
            blobs,
            ..
        } = push(number, &[])
        else {
            panic!("a push")
        };
        let signatures = vec![Signed {
            key: key.to_owned(),
            value: String::new(),
        }];
        Op::Version {
            model,
            version,
            manifest,
            blobs,
            signatures,
            run: None,
        }
    };

    let verdict = |to: u64, approve| Op::Verdict {
        model: name("m"),
        version: version(to),
        approve,
    };

    let policy = |signatures| Op::Policy {
        approvals: 1,
        signatures,
        owners: Vec::new(),
    };

    let mut state = State::default();
    apply(&mut state, "ann", vec![push(1, &[]), promote(1, None)]);
    let bare = apply(&mut state, "ann", vec![policy(Policy::Require)]);
    assert!(bare.is_some_and(|why| why.contains("signs this one too")));
    assert_eq!(
        apply_signed(&mut state, "ann", &["a"], vec![policy(Policy::Require)]),
        None
    );
    // Nothing that is not signed holds any more: not even the end of the rule.
    for ops in [
        vec![push(2, &[])],
        vec![policy(Policy::None)],
        vec![verdict(1, true)],
    ] {
        assert!(
            apply(&mut state, "eve", ops)
                .is_some_and(|why| why.contains("asks for signed changes"))
        );
    }

    // Any key does for a change, but not for what is asked for.
    for ops in [
        vec![policy(Policy::None)],
        vec![Op::Policy {
            approvals: 0,
            signatures: Policy::Require,
            owners: Vec::new(),
        }],
    ] {
        assert!(
            apply_signed(&mut state, "eve", &["e"], ops)
                .is_some_and(|why| why.contains("owns the policy"))
        );
    }

    let hand_over = Op::Policy {
        approvals: 1,
        signatures: Policy::Require,
        owners: vec!["b".to_owned()],
    };

    let mut handed = state.clone();
    assert_eq!(
        apply_signed(&mut handed, "ann", &["a"], vec![hand_over]),
        None
    );
    assert!(apply_signed(&mut handed, "ann", &["a"], vec![policy(Policy::None)]).is_some());
    assert_eq!(
        apply_signed(&mut handed, "bob", &["b"], vec![policy(Policy::None)]),
        None
    );
    let unsigned = apply_signed(&mut state, "ann", &["a"], vec![push(2, &[])]);
    assert!(unsigned.is_some_and(|why| why.contains("asks for signed versions")));
    assert_eq!(
        apply_signed(&mut state, "ann", &["a"], vec![signed_push(2, "a")]),
        None
    );
    // Another name is no other key.
    let own = apply_signed(&mut state, "bob", &["a"], vec![verdict(2, true)]);
    assert!(own.is_some_and(|why| why.contains("the key that signed version 2")));
    let early = apply_signed(&mut state, "ann", &["a"], vec![promote(2, Some(1))]);
    assert!(early.is_some_and(|why| why.contains("0 of the 1 approvals by keys")));
    let mut rejected = state.clone();
    assert_eq!(
        apply_signed(&mut rejected, "cyd", &["c"], vec![verdict(2, false)]),
        None
    );
    assert_eq!(
        apply_signed(&mut state, "bob", &["b"], vec![verdict(2, true)]),
        None
    );
    assert_eq!(
        apply_signed(&mut state, "ann", &["a"], vec![promote(2, Some(1))]),
        None
    );
    assert_eq!(
        apply_signed(&mut rejected, "bob", &["b"], vec![verdict(2, true)]),
        None
    );
    let refused = apply_signed(&mut rejected, "ann", &["a"], vec![promote(2, Some(1))]);
    assert!(refused.is_some_and(|why| why.contains("was rejected by c")));
}

#[test]
fn what_is_not_approved_has_no_share_of_the_traffic() {
    let mut state = State::default();
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

    let verdict = |to: u64| Op::Verdict {
        model: name("m"),
        version: version(to),
        approve: true,
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

    apply(
        &mut state,
        "ann",
        vec![Op::Policy {
            approvals: 1,
            signatures: Policy::None,
            owners: Vec::new(),
        }],
    );

    for to in ["challenger", "2"] {
        assert!(
            apply(&mut state, "ann", vec![split(to)])
                .is_some_and(|why| why.contains("0 of the 1 approvals"))
        );
    }

    assert_eq!(apply(&mut state, "bob", vec![verdict(2)]), None);
    assert_eq!(apply(&mut state, "ann", vec![split("challenger")]), None);
    // Nor by way of an alias that has a share.
    assert!(
        apply(&mut state, "ann", vec![alias(3, Some(2))])
            .is_some_and(|why| why.contains("0 of the 1 approvals"))
    );

    assert_eq!(apply(&mut state, "bob", vec![verdict(3)]), None);
    assert_eq!(apply(&mut state, "ann", vec![alias(3, Some(2))]), None);
}
