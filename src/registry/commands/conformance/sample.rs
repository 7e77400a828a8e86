//! A large log for measurements.

use super::{name, version};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::registry::entry::{Blob, Entry, Op};
use crate::registry::fold::NamespaceState;
use crate::registry::log::Log;
use crate::storage::store::Store;

/// Writes a log of `entries` entries over `models` models, each with its
/// champion, into a folder.
pub fn many_models(url: &str, models: usize, entries: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let log =
            Log::new(Store::open(url, true).expect("a store"), "default").expect("a namespace");
        let mut state = NamespaceState::default();
        for at in 0..entries {
            let model = name(&format!("model-{}", at % models));
            let next = version((at / models + 1) as u64);
            let ops = push_and_promote(at, &model, next);
            // Writes what a commit would write, without syncing it to disk: this
            // log is only for measurements.
            let entry = Entry {
                format: 1,
                seq: state.seq + 1,
                prev: state.hash,
                nonce: uuid::Uuid::nil(),
                time: crate::registry::log::now(),
                writer: "bench".to_owned(),
                actor: "bench".to_owned(),
                reason: String::new(),
                ops,
                evidence: Vec::new(),
            };
            let bytes = entry.write(None);
            let path = std::path::Path::new(url).join(log.entry_key(entry.seq));
            if at == 0 {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            }
            std::fs::write(path, &bytes).expect("written");
            let read = Entry::read(&bytes, entry.seq).expect("just written");
            state.apply(read).expect("the chain holds");
        }
        log.checkpoint_now(&state).await.expect("a checkpoint");
    });
}

fn push_and_promote(at: usize, model: &ModelName, version: Version) -> Vec<Op> {
    let manifest = Digest::of(&at.to_le_bytes());
    let blob = Blob {
        digest: manifest,
        bytes: 1,
        generation: 0,
    };

    vec![
        Op::Version {
            model: model.clone(),
            version,
            manifest,
            blobs: vec![blob],
            signatures: Vec::new(),
            run: None,
        },
        Op::Promote {
            model: model.clone(),
            version,
            from: version.number().checked_sub(1).and_then(Version::new),
        },
    ]
}
