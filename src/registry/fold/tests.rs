//! What holds and what is void, and that a void entry leaves nothing behind.

use super::*;
use crate::core::hash::Digest;
use crate::registry::commands::conformance::{name, version};

fn entry(state: &State, actor: &str, ops: Vec<Op>) -> Entry {
    Entry {
        format: FORMAT,
        seq: state.seq + 1,
        prev: state.hash,
        nonce: uuid::Uuid::nil(),
        time: DateTime::UNIX_EPOCH,
        writer: "test".to_owned(),
        actor: actor.to_owned(),
        reason: String::new(),
        ops,
        evidence: Vec::new(),
    }
}

/// Applies ops by `actor`; returns why they are void, if they are.
fn apply(state: &mut State, actor: &str, ops: Vec<Op>) -> Option<String> {
    let entry = entry(state, actor, ops);
    let seq = entry.seq;
    let hash = Digest::of(&seq.to_le_bytes());
    state
        .apply(Read {
            entry,
            signatures: Vec::new(),
            hash,
        })
        .expect("the chain holds");
    state.void.get(&seq).cloned()
}

/// The same, signed by keys.
fn apply_signed(state: &mut State, actor: &str, keys: &[&str], ops: Vec<Op>) -> Option<String> {
    let entry = entry(state, actor, ops);
    let seq = entry.seq;
    let signatures = keys
        .iter()
        .map(|key| Signed {
            key: (*key).to_owned(),
            value: String::new(),
        })
        .collect();
    state
        .apply(Read {
            entry,
            signatures,
            hash: Digest::of(&seq.to_le_bytes()),
        })
        .expect("the chain holds");
    state.void.get(&seq).cloned()
}

fn push(number: u64, blobs: &[Blob]) -> Op {
    let manifest = Digest::of(&number.to_be_bytes());
    Op::Version {
        model: name("m"),
        version: version(number),
        manifest,
        blobs: blobs.to_vec(),
        signatures: Vec::new(),
        run: None,
    }
}

fn promote(to: u64, from: Option<u64>) -> Op {
    Op::Promote {
        model: name("m"),
        version: version(to),
        from: from.map(version),
    }
}

fn blob(what: &str, generation: u32) -> Blob {
    Blob {
        digest: Digest::of(what.as_bytes()),
        bytes: 1,
        generation,
    }
}

#[test]
fn a_void_entry_changes_nothing_but_its_number() {
    let mut state = State::default();
    assert_eq!(
        apply(&mut state, "ann", vec![push(1, &[]), promote(1, None)]),
        None
    );
    let before = state.models.clone();
    let why = apply(&mut state, "ann", vec![push(2, &[]), promote(2, None)]).expect("void");
    assert!(
        why.contains("the champion is version 1 now, not none"),
        "{why}"
    );
    assert_eq!((state.seq, &state.models), (2, &before));
    assert!(
        apply(&mut state, "ann", vec![push(3, &[])])
            .is_some_and(|why| why.contains("next version of 'm' is 2"))
    );
    assert_eq!(
        apply(&mut state, "ann", vec![push(2, &[]), promote(2, Some(1))]),
        None
    );
}

#[test]
fn an_entry_of_another_chain_is_an_error_and_not_void() {
    let mut state = State::default();
    apply(&mut state, "ann", vec![push(1, &[])]);
    for (seq, prev) in [(2, None), (3, state.hash), (1, None)] {
        let entry = Entry {
            seq,
            prev,
            ..entry(&state, "ann", vec![push(2, &[])])
        };
        let before = state.clone();
        assert!(
            state
                .apply(Read {
                    entry,
                    signatures: Vec::new(),
                    hash: Digest::of(b"x")
                })
                .is_err()
        );
        assert_eq!(state, before);
    }
}

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
fn a_deleted_blob_must_be_uploaded_again_before_it_is_named() {
    let mut state = State::default();
    apply(&mut state, "ann", vec![push(1, &[blob("used", 0)])]);
    let bury = |what: &str, generation| Op::Tombstone {
        blobs: vec![blob(what, generation)],
    };
    assert!(
        apply(&mut state, "gc", vec![bury("used", 0)]).is_some_and(|w| w.contains("is in use"))
    );
    assert_eq!(apply(&mut state, "gc", vec![bury("old", 0)]), None);
    assert!(
        apply(&mut state, "gc", vec![bury("old", 0)]).is_some_and(|w| w.contains("deleted before"))
    );
    assert!(
        apply(&mut state, "ann", vec![push(2, &[blob("old", 0)])])
            .is_some_and(|w| w.contains("upload it again"))
    );
    assert_eq!(state.generation(&blob("old", 0).digest), 1);
    assert_eq!(
        apply(&mut state, "ann", vec![push(2, &[blob("old", 1)])]),
        None
    );
    assert!(state.referenced().contains(&blob("old", 1).digest));
}

#[test]
fn traffic_goes_to_what_is_there_and_adds_up() {
    let split = |pairs: &[(&str, u32)]| Op::Traffic {
        model: name("m"),
        weights: pairs
            .iter()
            .map(|(target, percent)| ((*target).to_owned(), *percent))
            .collect(),
    };
    let challenger = |to: Option<u64>, from: Option<u64>| Op::Alias {
        model: name("m"),
        alias: Alias::parse("challenger").expect("legal"),
        version: to.map(version),
        from: from.map(version),
    };
    let mut state = State::default();
    apply(
        &mut state,
        "ann",
        vec![push(1, &[]), promote(1, None), push(2, &[])],
    );
    assert!(
        apply(
            &mut state,
            "ann",
            vec![split(&[("champion", 90), ("challenger", 10)])]
        )
        .is_some()
    );
    assert_eq!(
        apply(&mut state, "ann", vec![challenger(Some(2), None)]),
        None
    );
    assert!(
        apply(&mut state, "ann", vec![split(&[("champion", 90)])])
            .is_some_and(|w| w.contains("add up to 90"))
    );
    assert_eq!(
        apply(
            &mut state,
            "ann",
            vec![split(&[("champion", 90), ("challenger", 10)])]
        ),
        None
    );
    assert!(
        apply(&mut state, "ann", vec![challenger(None, Some(2))])
            .is_some_and(|w| w.contains("traffic goes to"))
    );
    let retire = Op::Retire {
        model: name("m"),
        version: version(2),
    };
    assert!(
        apply(&mut state, "ann", vec![retire.clone()])
            .is_some_and(|w| w.contains("challenger, traffic challenger"))
    );
    // A promotion ends the split in the same entry.
    assert_eq!(apply(&mut state, "ann", vec![promote(2, Some(1))]), None);
    assert!(state.models["m"].traffic.is_empty());
    assert_eq!(
        apply(
            &mut state,
            "ann",
            vec![challenger(None, Some(2)), split(&[])]
        ),
        None
    );
}

#[test]
fn champion_and_previous_are_no_plain_aliases() {
    let mut state = State::default();
    apply(&mut state, "ann", vec![push(1, &[])]);
    for alias in [Alias::champion(), Alias::previous()] {
        let op = Op::Alias {
            model: name("m"),
            alias,
            version: Some(version(1)),
            from: None,
        };
        assert!(
            apply(&mut state, "ann", vec![op])
                .is_some_and(|w| w.contains("by promote and rollback alone"))
        );
    }
}

#[test]
fn a_version_stands_once_among_the_champions_to_go_back_to() {
    let rollback = |to: u64, from: u64| Op::Rollback {
        model: name("m"),
        version: version(to),
        from: version(from),
    };
    let mut state = State::default();
    apply(
        &mut state,
        "ann",
        vec![push(1, &[]), promote(1, None), push(2, &[])],
    );
    apply(&mut state, "ann", vec![promote(2, Some(1))]);
    apply(&mut state, "ann", vec![promote(1, Some(2))]);
    assert_eq!(state.models["m"].champions, [version(2), version(1)]);
    assert_eq!(apply(&mut state, "ann", vec![rollback(2, 1)]), None);
    assert!(
        apply(&mut state, "ann", vec![rollback(1, 2)])
            .is_some_and(|w| w.contains("no champion before"))
    );
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

#[test]
fn a_training_run_has_one_version() {
    let of = |number: u64, run: u8| {
        let Op::Version {
            model,
            version,
            manifest,
            blobs,
            signatures,
            ..
        } = push(number, &[])
        else {
            panic!("a push")
        };
        Op::Version {
            model,
            version,
            manifest,
            blobs,
            signatures,
            run: Some(Digest([run; 32])),
        }
    };
    let mut state = State::default();
    assert_eq!(apply(&mut state, "ann", vec![of(1, 7)]), None);
    assert!(
        apply(&mut state, "ann", vec![of(2, 7)])
            .is_some_and(|w| w.contains("already published version 1"))
    );
    assert_eq!(
        apply(
            &mut state,
            "ann",
            vec![Op::Retire {
                model: name("m"),
                version: version(1)
            }]
        ),
        None
    );
    assert!(
        apply(&mut state, "ann", vec![of(2, 7)]).is_some(),
        "retired or not"
    );
    assert_eq!(apply(&mut state, "ann", vec![of(2, 8)]), None);
}
