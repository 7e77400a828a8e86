//! The log in its store: reads entries in order, commits an entry by creating the
//! next number, writes checkpoints. If the answer of a create is lost, the number
//! is read back, and the nonce tells whose entry it holds.

#[cfg(test)]
mod tests;

use super::entry::{ENTRY_BYTES_MAX, Entry, Evidence, FORMAT, Op};
use super::fold::NamespaceState;
use super::sign::PrivateKey;
use super::{entry, text};
use crate::core::error::{Error, Kind, Result};
use crate::core::hash::Digest;
use crate::storage::store::{Created, Store};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A checkpoint is written at every multiple of this entry number.
pub(crate) const CHECKPOINT_EVERY: u64 = 64;
/// The largest checkpoint.
const CHECKPOINT_BYTES_MAX: u64 = 1 << 30;
/// The most entries read at once while catching up.
const AHEAD_MAX: usize = 32;
/// Entry numbers tried before a writer gives up because others commit faster.
const ATTEMPTS_MAX: u32 = 1_000;

/// The log of one namespace.
#[derive(Clone)]
pub struct Log {
    pub store: Store,
    namespace: String,
}

/// Who changes the registry, and why.
#[derive(Clone, Debug)]
pub struct Author {
    pub actor: String,
    pub reason: String,
}

/// A committed change.
#[derive(Debug)]
pub(crate) struct Committed {
    /// The state right after it.
    pub state: NamespaceState,
    /// Its number; `None` if there was nothing to change.
    pub seq: Option<u64>,
}

/// Operations of a change, decided again on each state that it is tried on.
pub(crate) struct Change {
    pub ops: Vec<Op>,
    pub evidence: Vec<Evidence>,
}

impl From<Vec<Op>> for Change {
    fn from(ops: Vec<Op>) -> Self {
        Self {
            ops,
            evidence: Vec::new(),
        }
    }
}

/// A stored state: derived from the log, and verifiable against it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    format: u32,
    pub state: NamespaceState,
}

impl Checkpoint {
    /// Writes a state.
    pub(crate) fn write(state: &NamespaceState) -> Vec<u8> {
        #[derive(Serialize)]
        struct Borrowed<'s> {
            format: u32,
            state: &'s NamespaceState,
        }

        text::write(&Borrowed {
            format: FORMAT,
            state,
        })
    }

    /// Reads one. Refuses other formats.
    pub(crate) fn read(bytes: &[u8], what: &str) -> Result<NamespaceState> {
        let read: Self = text::read(bytes, what)?;
        if read.format != FORMAT {
            return Err(Error::precondition(format!(
                "{what} is of format {}; this ortus reads format {FORMAT}",
                read.format
            )));
        }

        Ok(read.state)
    }
}

impl Log {
    /// Opens the log of a namespace, whose name follows the rules of model names.
    pub(crate) fn new(store: Store, namespace: &str) -> Result<Self> {
        crate::core::model::ModelName::parse(namespace)
            .map_err(|e| Error::invalid(e.message.replace("model name", "namespace")))?;
        Ok(Self {
            store,
            namespace: namespace.to_owned(),
        })
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A key below the namespace.
    pub(crate) fn key(&self, below: &str) -> String {
        format!("ns/{}/{below}", self.namespace)
    }

    pub(crate) fn entry_key(&self, seq: u64) -> String {
        self.key(&format!("log/{seq:020}.json"))
    }

    fn checkpoint_key(&self, seq: u64) -> String {
        self.key(&format!("checkpoint/{seq:020}.json"))
    }

    /// Tells whether there is an entry after `state`: one request.
    pub(crate) async fn has_next(&self, state: &NamespaceState) -> Result<bool> {
        Ok(self
            .store
            .head(&self.entry_key(state.seq + 1))
            .await?
            .is_some())
    }

    /// Reads the entry after `state`, if there is one, and folds it: one GET.
    pub(crate) async fn advance(&self, state: &mut NamespaceState) -> Result<bool> {
        let seq = state.seq + 1;
        let Some(bytes) = self
            .store
            .get(&self.entry_key(seq), ENTRY_BYTES_MAX)
            .await?
        else {
            return Ok(false);
        };

        state.apply(Entry::read(&bytes, seq)?)?;
        Ok(true)
    }

    /// Folds every entry after `state`.
    pub(crate) async fn catch_up(&self, state: &mut NamespaceState) -> Result<()> {
        // Usually there is nothing new, and one GET shows it; if there is much,
        // more and more entries are read at once.
        let mut window = 1;
        while self.advance(state).await? {
            window = (window * 2).min(AHEAD_MAX);
            let next = state.seq + 1;
            let ahead = stream::iter(next..next + window as u64).map(|seq| async move {
                let key = self.entry_key(seq);
                (seq, self.store.get(&key, ENTRY_BYTES_MAX).await)
            });
            let mut ahead = ahead.buffered(window);
            while let Some((seq, read)) = ahead.next().await {
                match read? {
                    Some(bytes) => state.apply(Entry::read(&bytes, seq)?)?,
                    None => return Ok(()),
                }
            }
        }

        Ok(())
    }

    /// Folds the whole log, from the newest readable checkpoint.
    pub(crate) async fn load(&self) -> Result<NamespaceState> {
        let mut state = self.checkpoint().await?.unwrap_or_default();
        self.catch_up(&mut state).await?;
        Ok(state)
    }

    async fn checkpoint(&self) -> Result<Option<NamespaceState>> {
        // The hint saves a listing; it may be wrong or old.
        let hint = self.store.get(&self.key("hint"), 64).await.ok().flatten();
        let hinted = hint.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse().ok());
        if let Some(state) = match hinted {
            Some(seq) => self.checkpoint_at(seq).await,
            None => None,
        } {
            return Ok(Some(state));
        }

        let mut found = Vec::new();
        let folder = self.key("checkpoint");
        let mut listed = self.store.list(&folder);
        while let Some(object) = listed.next().await {
            let (key, _) = object?;
            let name = key
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .strip_suffix(".json");
            found.extend(name.and_then(|n| n.parse::<u64>().ok()));
        }

        found.sort_unstable();
        for seq in found.into_iter().rev().take(3) {
            if let Some(state) = self.checkpoint_at(seq).await {
                return Ok(Some(state));
            }
        }

        Ok(None)
    }

    /// Reads a checkpoint; `None` if it is damaged or does not fit its entry.
    async fn checkpoint_at(&self, seq: u64) -> Option<NamespaceState> {
        let key = self.checkpoint_key(seq);
        let bytes = self.store.get(&key, CHECKPOINT_BYTES_MAX).await.ok()??;
        let state = Checkpoint::read(&bytes, &key)
            .inspect_err(|e| tracing::warn!(%e, "checkpoint is unreadable, and ignored"))
            .ok()?;
        let entry = self
            .store
            .get(&self.entry_key(seq), ENTRY_BYTES_MAX)
            .await
            .ok()??;
        (state.seq == seq && state.hash == Some(Digest::of(&entry))).then_some(state)
    }

    /// Commits the change that `decide` returns for the newest state. If another
    /// writer commits first, `decide` is called again with the new state. An empty
    /// change commits nothing. `Unavailable` if it is unknown whether the entry
    /// was written.
    pub(crate) async fn commit(
        &self,
        mut state: NamespaceState,
        author: &Author,
        key: Option<&PrivateKey>,
        decide: &(dyn Fn(&NamespaceState) -> Result<Change> + Sync),
    ) -> Result<Committed> {
        Entry::check_words(&author.actor, &author.reason)?;
        for attempt in 0..ATTEMPTS_MAX {
            self.catch_up(&mut state).await?;
            let Change { ops, evidence } = decide(&state)?;
            if ops.is_empty() {
                return Ok(Committed { state, seq: None });
            }
            let entry = Entry {
                format: FORMAT,
                seq: state.seq + 1,
                prev: state.hash,
                nonce: uuid::Uuid::new_v4(),
                time: now(),
                writer: concat!("ortus ", env!("CARGO_PKG_VERSION")).to_owned(),
                actor: author.actor.clone(),
                reason: author.reason.clone(),
                ops,
                evidence,
            };
            state.check(&entry, key.map(PrivateKey::public).as_slice())?;
            let bytes = entry.write(key);
            if bytes.len() as u64 > ENTRY_BYTES_MAX {
                return Err(Error::too_large(format!(
                    "the entry is over {ENTRY_BYTES_MAX} bytes"
                )));
            }
            if self.create_entry(&entry, bytes).await? {
                self.advance(&mut state).await?;
                self.keep(&state).await;
                return Ok(Committed {
                    seq: Some(entry.seq),
                    state,
                });
            }
            // Another writer's entry has the number: decide again on the new state.
            back_off(attempt).await;
        }

        Err(Error::unavailable(
            "other writers keep committing first; retry",
        ))
    }

    /// Creates an entry; returns whether it holds its number.
    async fn create_entry(&self, entry: &Entry, bytes: bytes::Bytes) -> Result<bool> {
        let key = self.entry_key(entry.seq);
        for attempt in 0..ANSWERS_MAX {
            let answer = self.store.create(&key, bytes.clone()).await;
            if matches!(answer, Ok(Created::Yes)) {
                return Ok(true);
            }
            if let Err(error) = &answer
                && matches!(error.kind, Kind::PermissionDenied | Kind::InvalidArgument)
            {
                return answer.map(|_| false);
            }
            // A lost response and a refusal look the same until the number is read
            // back.
            match self.store.get(&key, ENTRY_BYTES_MAX).await {
                Ok(Some(found)) if found == bytes => return Ok(true),
                Ok(Some(found)) => {
                    return Ok(Entry::read(&found, entry.seq)
                        .is_ok_and(|read| read.entry.nonce == entry.nonce));
                }
                Ok(None) => back_off(attempt).await,
                Err(error) => {
                    return Err(Error::unavailable(format!(
                        "it is unknown whether entry {} was written; check the history before you retry",
                        entry.seq
                    ))
                    .with_source(error));
                }
            }
        }

        Err(Error::unavailable(format!(
            "the store neither accepts entry {} nor has it; retry",
            entry.seq
        )))
    }

    /// Writes a checkpoint at intervals; a failure only slows the next load.
    async fn keep(&self, state: &NamespaceState) {
        if !state.seq.is_multiple_of(CHECKPOINT_EVERY) {
            return;
        }
        if let Err(error) = self.checkpoint_now(state).await {
            tracing::debug!(%error, seq = state.seq, "checkpoint not written");
        }
    }

    /// Writes a checkpoint of `state`.
    pub(crate) async fn checkpoint_now(&self, state: &NamespaceState) -> Result<()> {
        self.store
            .overwrite(
                &self.checkpoint_key(state.seq),
                Checkpoint::write(state).into(),
            )
            .await?;
        self.store
            .overwrite(&self.key("hint"), state.seq.to_string().into_bytes().into())
            .await
    }

    /// Reads one entry; `None` if it does not exist.
    pub(crate) async fn entry(&self, seq: u64) -> Result<Option<entry::ReadEntry>> {
        let bytes = self
            .store
            .get(&self.entry_key(seq), ENTRY_BYTES_MAX)
            .await?;
        bytes.map(|bytes| Entry::read(&bytes, seq)).transpose()
    }

    /// Returns the hash of one entry's bytes, without parsing them.
    pub(crate) async fn entry_hash(&self, seq: u64) -> Result<Option<Digest>> {
        let bytes = self
            .store
            .get(&self.entry_key(seq), ENTRY_BYTES_MAX)
            .await?;
        Ok(bytes.map(|bytes| Digest::of(&bytes)))
    }
}

/// Attempts to create one number that the store neither accepts nor holds.
const ANSWERS_MAX: u32 = 8;

/// Waits a random part of a time that doubles, up to a quarter of a second.
async fn back_off(attempt: u32) {
    let longest_ms = (1 << attempt.min(8)).min(250);
    tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=longest_ms))).await;
}

/// The time to the millisecond, which is what entries carry.
pub(crate) fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
}
