//! Which entries are valid and which are void; a void entry changes nothing.

mod approvals;

use super::*;
use crate::core::hash::Digest;
use crate::registry::commands::conformance::{name, version};

fn entry(state: &NamespaceState, actor: &str, ops: Vec<Op>) -> Entry {
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
fn apply(state: &mut NamespaceState, actor: &str, ops: Vec<Op>) -> Option<String> {
    let entry = entry(state, actor, ops);
    let seq = entry.seq;
    let hash = Digest::of(&seq.to_le_bytes());
    state
        .apply(ReadEntry {
            entry,
            signatures: Vec::new(),
            hash,
        })
        .expect("the chain holds");
    state.void.get(&seq).cloned()
}

/// The same, signed by keys.
fn apply_signed(
    state: &mut NamespaceState,
    actor: &str,
    keys: &[&str],
    ops: Vec<Op>,
) -> Option<String> {
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
        .apply(ReadEntry {
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
    let mut state = NamespaceState::default();
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
    let mut state = NamespaceState::default();
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
                .apply(ReadEntry {
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
fn a_deleted_blob_must_be_uploaded_again_before_it_is_named() {
    let mut state = NamespaceState::default();
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
fn traffic_weights_name_existing_targets_and_add_up_to_100() {
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

    let mut state = NamespaceState::default();
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
fn champion_and_previous_cannot_be_set_as_aliases() {
    let mut state = NamespaceState::default();
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
fn a_version_is_a_rollback_target_only_once() {
    let rollback = |to: u64, from: u64| Op::Rollback {
        model: name("m"),
        version: version(to),
        from: version(from),
    };

    let mut state = NamespaceState::default();
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

    let mut state = NamespaceState::default();
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
