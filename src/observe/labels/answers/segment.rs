//! The format of answer segments: the predictions of some seconds with what labels need of them, sorted
//! by id, in a file that is written once. Owns no store and no clock.
//!
//! Little-endian: 8 bytes that name the format, its version (u32), the length of the head (u32), the
//! head in JSON, an index with the id and the place (u32) of each prediction, the predictions, and a
//! checksum (u64) of all bytes before it.

mod body;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::model::task::Task;
use crate::observe::capture::file::TaskNote;
use crate::observe::capture::find::FoundPrediction;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::labels::prediction::RecentPrediction;
use crate::observe::quality::answer::RowAnswer;
use body::{Words, read_prediction, write_prediction};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;
use uuid::Uuid;

/// The format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"ortusans";
/// Bytes before the head.
const HEAD_AT: usize = 16;
/// Bytes of a prediction in the index: its id, and where it begins.
const INDEX_BYTES: usize = 20;
const CHECK_BYTES: usize = 8;

/// The head of a segment.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentHead {
    predictions: usize,
    /// The versions that predicted.
    subjects: Vec<SubjectNote>,
    /// The parts of slices.
    words: Vec<String>,
}

/// A version that predicted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectNote {
    model: String,
    version: u64,
    digest: String,
    task: TaskNote,
    slices: Vec<String>,
}

/// A segment that is being filled.
#[derive(Default)]
pub(in crate::observe::labels) struct SegmentBuilder {
    subjects: Vec<(Arc<WatchSubject>, TaskNote)>,
    words: Words,
    index: Vec<(Uuid, usize)>,
    body: Vec<u8>,
}

impl SegmentBuilder {
    /// Adds the answers of a prediction, with the part of each row in each slice. Returns false if the
    /// task of the model is unknown or the segment is full.
    pub(in crate::observe::labels) fn add(
        &mut self,
        subject: &Arc<WatchSubject>,
        id: Uuid,
        answers: &[Option<RowAnswer>],
        parts: &[Vec<String>],
    ) -> bool {
        let Some(task) = &subject.task else {
            return false;
        };
        if u32::try_from(self.body.len()).is_err() {
            return false;
        }
        let known = |(own, _): &(Arc<WatchSubject>, TaskNote)| Arc::ptr_eq(own, subject);
        let at = self.subjects.iter().position(known).unwrap_or_else(|| {
            self.subjects
                .push((Arc::clone(subject), TaskNote::of(task)));
            self.subjects.len() - 1
        });

        self.index.push((id, self.body.len()));
        let of = (at, subject.slices.len());
        write_prediction(&mut self.body, &mut self.words, of, answers, parts);
        true
    }

    /// Returns about how many bytes the segment has.
    pub(in crate::observe::labels) fn bytes(&self) -> usize {
        self.body.len() + self.index.len() * INDEX_BYTES
    }

    /// Returns how many predictions the segment has.
    pub(in crate::observe::labels) fn predictions(&self) -> usize {
        self.index.len()
    }

    /// Returns about how many bytes of memory it takes.
    pub(in crate::observe::labels) fn memory_bytes(&self) -> usize {
        self.body.len() + self.index.len() * size_of::<(Uuid, usize)>()
    }

    /// Returns the id of a prediction, by its number.
    pub(in crate::observe::labels) fn id(&self, at: usize) -> Uuid {
        self.index[at].0
    }

    /// Returns a prediction, by its number.
    pub(in crate::observe::labels) fn read(&self, at: usize) -> Option<RecentPrediction> {
        let start = self.index.get(at)?.1;
        let end = self
            .index
            .get(at + 1)
            .map_or(self.body.len(), |next| next.1);
        let of = |(subject, _): &(Arc<WatchSubject>, TaskNote)| {
            let classes = subject.task.as_ref().map_or(0, classes);
            (classes, subject.slices.len())
        };
        let widths: Vec<(usize, usize)> = self.subjects.iter().map(of).collect();
        let read = read_prediction(&self.body[start..end], &self.words.list, &widths).ok()?;
        Some(RecentPrediction {
            subject: Arc::clone(&self.subjects[read.subject].0),
            answers: read.answers,
            parts: read.parts,
        })
    }

    /// Writes the segment.
    pub(super) fn write(&self) -> Vec<u8> {
        let note = |(subject, task): &(Arc<WatchSubject>, TaskNote)| SubjectNote {
            model: subject.model.to_string(),
            version: subject.version.number(),
            digest: subject.digest.to_string(),
            task: task.clone(),
            slices: subject.slices.clone(),
        };
        let head = SegmentHead {
            predictions: self.index.len(),
            subjects: self.subjects.iter().map(note).collect(),
            words: self.words.list.clone(),
        };
        let head = serde_json::to_vec(&head).expect("plain data is JSON");

        let mut bytes = Vec::with_capacity(HEAD_AT + head.len() + self.bytes() + CHECK_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&head);
        self.write_sorted(&mut bytes);
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Writes the index and the predictions, both by id.
    fn write_sorted(&self, bytes: &mut Vec<u8>) {
        let ends = self.index.iter().skip(1).map(|(_, start)| *start);
        let ends = ends.chain([self.body.len()]);
        let mut sorted: Vec<(Uuid, &[u8])> = self
            .index
            .iter()
            .zip(ends)
            .map(|((id, start), end)| (*id, &self.body[*start..end]))
            .collect();
        sorted.sort_unstable_by_key(|(id, _)| *id);

        let mut at = 0_u32;
        for (id, written) in &sorted {
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(&at.to_le_bytes());
            at += written.len() as u32;
        }
        for (_, written) in &sorted {
            bytes.extend_from_slice(written);
        }
    }
}

/// A segment that was read.
pub(super) struct AnswerSegment {
    subjects: Vec<(SubjectNote, Task)>,
    words: Vec<String>,
    /// Index and predictions.
    index: Bytes,
    body: Bytes,
}

impl AnswerSegment {
    /// Reads a segment. Refuses one that is damaged or of another format.
    pub(super) fn read(bytes: &Bytes) -> Result<Self> {
        if bytes.len() < HEAD_AT + CHECK_BYTES || &bytes[..8] != MAGIC {
            return Err(damaged("it does not begin as one"));
        }
        let format = number(bytes, 8)?;
        if format != FORMAT {
            return Err(Error::precondition(format!(
                "the answer segment is of format {format}; this version of Ortus reads format {FORMAT}"
            )));
        }
        let (all, check) = bytes.split_at(bytes.len() - CHECK_BYTES);
        if checksum(all).to_le_bytes() != check {
            return Err(damaged("its checksum differs"));
        }

        let head_end = HEAD_AT.saturating_add(number(bytes, 12)? as usize);
        let head = all.get(HEAD_AT..head_end).ok_or_else(short)?;
        let head: SegmentHead = serde_json::from_slice(head)
            .map_err(|e| damaged("its head is malformed").with_source(e))?;
        let index_bytes = head.predictions.saturating_mul(INDEX_BYTES);
        let index_end = head_end.saturating_add(index_bytes);
        if index_end > all.len() {
            return Err(short());
        }

        let task = |note: SubjectNote| {
            let task = note.task.task();
            (note, task)
        };
        Ok(Self {
            subjects: head.subjects.into_iter().map(task).collect(),
            words: head.words,
            index: bytes.slice(head_end..index_end),
            body: bytes.slice(index_end..all.len()),
        })
    }

    /// Returns about how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.index.len() + self.body.len()
    }

    /// Finds a prediction. Refuses a damaged one.
    pub(super) fn find(&self, id: Uuid) -> Result<Option<FoundPrediction>> {
        let (entries, _) = self.index.as_chunks::<INDEX_BYTES>();
        let Ok(at) = entries.binary_search_by(|entry| entry[..16].cmp(id.as_bytes())) else {
            return Ok(None);
        };
        let start = number(&entries[at], 16)? as usize;
        let end = entries.get(at + 1).map_or(Ok(self.body.len()), |next| {
            number(next, 16).map(|n| n as usize)
        })?;

        let bytes = self.body.get(start..end).ok_or_else(short)?;
        let widths: Vec<(usize, usize)> = self.subjects.iter().map(widths).collect();
        let read = read_prediction(bytes, &self.words, &widths)?;
        let (note, task) = &self.subjects[read.subject];
        Ok(Some(FoundPrediction {
            model: note.model.clone(),
            version: note.version,
            digest: note.digest.clone(),
            task: task.clone(),
            answers: read.answers,
            slices: note.slices.clone(),
            parts: read.parts,
        }))
    }
}

/// Returns how many classes and slices a version has.
fn widths((note, task): &(SubjectNote, Task)) -> (usize, usize) {
    (classes(task), note.slices.len())
}

/// Returns how many scores a row has.
fn classes(task: &Task) -> usize {
    match task {
        Task::Classification(task) => task.classes.len(),
        Task::Regression(_) => 0,
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    found.map(|n| u32::from_le_bytes(*n)).ok_or_else(short)
}

/// Finds damage by accident; it is no proof against forgery.
fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

fn damaged(why: &str) -> Error {
    Error::precondition(format!("the answer segment is damaged: {why}"))
}

fn short() -> Error {
    damaged("it ends too early")
}
