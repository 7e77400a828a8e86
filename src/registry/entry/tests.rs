//! The formats as they were published: files under `golden/` are never edited,
//! only added to, and every version of the program reads them all.

use super::*;
use crate::core::hash::Digest;
use crate::registry::commands::conformance::{name, version};
use crate::registry::fold::NamespaceState;
use crate::registry::log::Checkpoint;
use crate::registry::manifest::{File, Manifest, Role};

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

fn blob(n: u8, generation: u32) -> Blob {
    Blob {
        digest: digest(n),
        bytes: u64::from(n),
        generation,
    }
}

/// An entry with one of every operation.
fn entry() -> Entry {
    let mut ops = vec![push_op()];
    ops.extend(champion_ops());
    ops.extend(alias_ops());
    ops.push(Op::Retire {
        model: name("fraud"),
        version: version(2),
    });
    ops.extend(tag_ops());
    ops.extend(namespace_ops());

    Entry {
        format: 1,
        seq: 42,
        prev: Some(digest(1)),
        nonce: uuid::Uuid::from_u128(7),
        time: DateTime::from_timestamp_millis(1_772_540_645_123).expect("a time"),
        writer: "ortus 0.1.0".to_owned(),
        actor: "ann".to_owned(),
        reason: "better".to_owned(),
        ops,
        evidence: vec![Evidence {
            kind: "measured".to_owned(),
            values: [("load_ms".to_owned(), 1.5.into())].into_iter().collect(),
        }],
    }
}

fn push_op() -> Op {
    Op::Version {
        model: name("fraud"),
        version: version(7),
        manifest: digest(2),
        blobs: vec![blob(2, 0), blob(3, 1)],
        signatures: vec![Signed {
            key: "ed25519:AAAA".to_owned(),
            value: "BBBB".to_owned(),
        }],
        run: None,
    }
}

fn champion_ops() -> [Op; 3] {
    let promote = |to, from: Option<u64>| Op::Promote {
        model: name("fraud"),
        version: version(to),
        from: from.map(version),
    };

    [
        promote(7, Some(6)),
        promote(1, None),
        Op::Rollback {
            model: name("fraud"),
            version: version(5),
            from: version(7),
        },
    ]
}

fn alias_ops() -> [Op; 3] {
    let alias = |to: Option<u64>, from: Option<u64>| Op::Alias {
        model: name("fraud"),
        alias: Alias::parse("challenger").expect("legal"),
        version: to.map(version),
        from: from.map(version),
    };

    [
        alias(Some(7), None),
        alias(None, Some(7)),
        Op::Traffic {
            model: name("fraud"),
            weights: [("champion".to_owned(), 90), ("7".to_owned(), 10)].into(),
        },
    ]
}

fn tag_ops() -> [Op; 2] {
    let tag = |to: Option<u64>, value: Option<&str>| Op::Tag {
        model: name("fraud"),
        version: to.map(version),
        key: "team".to_owned(),
        value: value.map(str::to_owned),
    };

    [tag(Some(7), Some("risk")), tag(None, None)]
}

fn namespace_ops() -> [Op; 3] {
    [
        Op::Verdict {
            model: name("fraud"),
            version: version(7),
            approve: true,
        },
        Op::Policy {
            approvals: 2,
            signatures: Policy::None,
            owners: Vec::new(),
        },
        Op::Tombstone {
            blobs: vec![blob(9, 0)],
        },
    ]
}

fn manifest() -> Manifest {
    let graph =
        crate::onnx::graph::Graph::read(crate::testing::graphs::lookup().into()).expect("a graph");
    let mut manifest = Manifest::of(&name("fraud"), &graph);
    manifest.files = vec![
        File {
            path: "README.md".to_owned(),
            role: Role::Card,
            digest: digest(4),
            bytes: 10,
        },
        File {
            path: "model.onnx".to_owned(),
            role: Role::Model,
            digest: digest(3),
            bytes: 20,
        },
    ];

    manifest.features = vec!["amount".to_owned()];
    manifest.licence = "MIT".to_owned();
    manifest.parent = Some(version(6));
    manifest.lineage = [("code".to_owned(), "c0de".into())].into_iter().collect();
    manifest
}

fn state() -> NamespaceState {
    let mut state = NamespaceState::default();
    let first = Entry {
        seq: 1,
        prev: None,
        ops: vec![
            Op::Version {
                model: name("fraud"),
                version: version(1),
                manifest: digest(2),
                blobs: vec![Blob {
                    digest: digest(2),
                    bytes: 2,
                    generation: 0,
                }],
                signatures: Vec::new(),
                run: None,
            },
            Op::Promote {
                model: name("fraud"),
                version: version(1),
                from: None,
            },
        ],
        ..entry()
    };

    state
        .apply(ReadEntry {
            entry: first,
            signatures: Vec::new(),
            hash: digest(5),
        })
        .expect("the chain holds");
    state
}

#[test]
fn every_format_ever_written_is_read_and_the_newest_is_written_the_same() {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    assert_eq!(
        text(&entry().write(None)),
        include_str!("../golden/entry-1.json")
    );
    let read = Entry::read(include_bytes!("../golden/entry-1.json"), 42).expect("read");
    assert_eq!(read.entry, entry());
    assert_eq!(
        text(&manifest().write()),
        include_str!("../golden/manifest-1.json")
    );
    assert_eq!(
        Manifest::read(include_bytes!("../golden/manifest-1.json")).expect("read"),
        manifest()
    );
    assert_eq!(
        text(&Checkpoint::write(&state())),
        include_str!("../golden/checkpoint-1.json")
    );
    assert_eq!(
        Checkpoint::read(include_bytes!("../golden/checkpoint-1.json"), "golden").expect("read"),
        state()
    );
}

#[test]
fn a_policy_names_its_signatures_only_where_it_requires_some() {
    let op = |signatures| {
        serde_json::to_string(&Op::Policy {
            approvals: 1,
            signatures,
            owners: Vec::new(),
        })
        .expect("text")
    };

    assert_eq!(op(Policy::None), r#"{"op":"policy","approvals":1}"#);
    assert_eq!(
        op(Policy::Require),
        r#"{"op":"policy","approvals":1,"signatures":"require"}"#
    );
}

#[test]
fn invalid_manifests_are_refused() {
    let good = String::from_utf8(manifest().write()).expect("text");
    for (from, to, part) in [
        ("\"format\":1", "\"format\":2", "is of format 2"),
        ("\"features\"", "\"feathers\"", "unknown field"),
        ("README.md", "../README.md", "leaves the version's folder"),
        ("README.md", "/etc/passwd", "leaves the version's folder"),
        ("README.md", "a//b", "leaves the version's folder"),
        ("README.md", "manifest.json", "under its own name"),
        (
            "\"role\":\"model\"",
            "\"role\":\"other\"",
            "exactly one model.onnx",
        ),
        ("sha256:03", "sha256:0G", "a digest is"),
    ] {
        let error = Manifest::read(good.replace(from, to).as_bytes()).expect_err(to);
        assert!(error.message.contains(part), "{to}: {error}");
    }

    assert!(
        Manifest::read(b"").is_err() && Manifest::read(&good.as_bytes()[..good.len() / 2]).is_err()
    );
}
