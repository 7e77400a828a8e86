//! Decides whether a label is accepted, and joins it with its prediction if that is in memory.

use super::{LabelState, hour_of};
use crate::core::count::counted;
use crate::core::error::{Error, Result};
use crate::core::request::id::{Mint, minted_at};
use crate::observe::labels::given::Given;
use crate::observe::labels::line::{FORMAT, Joined, LabelLine};
use crate::observe::labels::prediction::RecentPrediction;
use crate::observe::labels::{LabelOptions, UNDER_WAY};
use crate::observe::quality::answer::Label;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, HashMap};
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// How far a client's clock may be ahead of the server's.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// The decision about a label.
pub(in crate::observe::labels) enum LabelVerdict {
    /// It is new, and must be written to the log.
    New(Box<LabelLine>),
    /// The same label was accepted before.
    Known,
}

impl LabelState {
    /// Tells whether a label's prediction is so recent that the monitor may not have passed it on
    /// yet.
    pub(in crate::observe::labels) fn is_under_way(&self, given: &[Result<Given>]) -> bool {
        given.iter().flatten().any(|given| {
            let age = minted_at(given.id).and_then(|time| time.elapsed().ok());
            age.is_some_and(|age| age < UNDER_WAY) && !self.recent.has(given.id)
        })
    }

    /// Decides about a label. Refuses one whose prediction id is unknown, whose time is too old or
    /// in the future, that does not fit the model, or that was corrected too often. `request` are
    /// the labels before it in its request.
    pub(in crate::observe::labels) fn judge(
        &mut self,
        mint: &Mint,
        given: &Given,
        request: &mut RequestRows,
        options: &LabelOptions,
    ) -> Result<LabelVerdict> {
        let now = request.now;
        if !mint.is_of_fleet(given.id) {
            return Err(Error::not_found(format!(
                "prediction_id '{}' is not of a prediction of this fleet",
                given.id
            )));
        }
        check_time(given, now, options)?;

        let joined = self.join(given.id, given.row, &given.label)?;
        let key = (given.id, given.row);
        let is_known = match (request.rows.get(&key), &joined) {
            (Some((last, _)), _) => *last == given.label,
            (None, Some(joined)) => self.is_known(given, joined, options)?,
            (None, None) => {
                let pending = self.pending.get(&key);
                pending.is_some_and(|pending| pending.label == given.label)
            }
        };
        if is_known {
            return Ok(LabelVerdict::Known);
        }
        request.note(given, options.settings.corrections_max)?;

        Ok(LabelVerdict::New(Box::new(LabelLine {
            format: FORMAT,
            prediction_id: given.id,
            row: given.row,
            label: given.label.clone(),
            time: self.next_time(now),
            joined,
        })))
    }

    /// Returns a time that no other label has: of two labels for one row, the later one counts.
    fn next_time(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.last = (self.last + TimeDelta::microseconds(1)).max(now);
        self.last
    }

    /// Tells whether the row has this label already. Refuses one correction too many.
    fn is_known(&self, given: &Given, joined: &Joined, options: &LabelOptions) -> Result<bool> {
        let key = (given.id, given.row);
        let open = joined.key().ok().and_then(|key| self.books.get(&key));
        let known = open.and_then(|open| open.book.row(hour_of(given.id), key));
        let known = known.map(|row| row.truth);
        if known == Some(joined.truth.into()) {
            return Ok(true);
        }

        let corrections = open
            .and_then(|open| open.corrections.get(&key))
            .copied()
            .unwrap_or(0);
        let most = options.settings.corrections_max;
        if known.is_some() && corrections >= most {
            return Err(corrected(most));
        }

        Ok(false)
    }

    /// Joins a label with its prediction; none if the prediction is not in memory. Refuses a label
    /// that does not fit the prediction.
    pub(super) fn join(&self, id: Uuid, row: u32, label: &Label) -> Result<Option<Joined>> {
        let Some(kept) = self.recent.get(id) else {
            return self.join_labelled(id, row, label);
        };

        let rows = kept.answers.len();
        let answer = kept.answers.get(row as usize).ok_or_else(|| {
            Error::invalid(format!(
                "row {row} is out of range; the prediction has {}, counted from 0",
                counted(rows, "row")
            ))
        })?;
        let answer = answer.clone().ok_or_else(|| {
            Error::precondition(format!(
                "the prediction of row {row} is not a number and cannot have a label"
            ))
        })?;

        let subject = &kept.subject;
        let task = subject.task.as_ref().ok_or_else(|| {
            Error::precondition("the task of the model is unknown; set task in its configuration")
        })?;

        Ok(Some(Joined {
            model: subject.model.to_string(),
            version: subject.version.number(),
            digest: subject.digest.to_string(),
            answer,
            truth: label.truth(task)?.into(),
            slices: slices_of(&kept, row),
        }))
    }
}

impl LabelState {
    /// Joins a label with a row that has one already; none if there is none, or if the version is
    /// not loaded here.
    fn join_labelled(&self, id: Uuid, row: u32, label: &Label) -> Result<Option<Joined>> {
        let Some((key, open, known)) = self.books.row(hour_of(id), (id, row)) else {
            return Ok(None);
        };
        let Some(task) = &open.task else {
            return Ok(None);
        };

        let slices = open.book.slices.iter().cloned().zip(known.parts.clone());
        Ok(Some(Joined {
            model: key.0.to_string(),
            version: key.1,
            digest: key.2.to_string(),
            answer: known.answer.clone(),
            truth: label.truth(task)?.into(),
            slices: slices.collect(),
        }))
    }
}

/// The labels of one request so far. Of several for one row the last one counts.
pub(in crate::observe::labels) struct RequestRows {
    now: DateTime<Utc>,
    /// The last label of each row, and how often it was changed.
    rows: HashMap<(Uuid, u32), (Label, u32)>,
}

impl RequestRows {
    /// Starts with none, at the time of the request.
    pub(in crate::observe::labels) fn new(now: DateTime<Utc>) -> Self {
        let rows = HashMap::new();
        Self { now, rows }
    }

    /// Notes a label. Refuses a row's change too many.
    fn note(&mut self, given: &Given, corrections_max: u32) -> Result<()> {
        let key = (given.id, given.row);
        let changes = self.rows.get(&key).map_or(0, |(_, changes)| changes + 1);
        if changes > corrections_max {
            return Err(corrected(corrections_max));
        }
        self.rows.insert(key, (given.label.clone(), changes));
        Ok(())
    }
}

/// Refuses a correction too many.
fn corrected(most: u32) -> Error {
    Error::precondition(format!(
        "the label was corrected {}, which is the limit (feedback.corrections_max)",
        counted(most, "time")
    ))
}

/// Refuses a label whose time, or whose prediction's time, is too old or in the future.
fn check_time(given: &Given, now: DateTime<Utc>, options: &LabelOptions) -> Result<()> {
    let made: DateTime<Utc> = minted_at(given.id).unwrap_or(UNIX_EPOCH).into();
    if made > now + SKEW || given.time.is_some_and(|time| time > now + SKEW) {
        return Err(Error::invalid("time is in the future"));
    }

    let age_max = TimeDelta::from_std(options.settings.age_max).unwrap_or(TimeDelta::MAX);
    if now - made > age_max || given.time.is_some_and(|time| time < made - SKEW) {
        return Err(Error::precondition(format!(
            "the prediction of {} is older than {} (feedback.age_max), or newer than the label's time",
            made.format("%Y-%m-%d"),
            counted(age_max.num_days(), "day")
        )));
    }

    Ok(())
}

/// Returns the part of each slice that a row belongs to.
fn slices_of(kept: &RecentPrediction, row: u32) -> BTreeMap<String, String> {
    let names = kept.subject.slices.iter();
    names
        .zip(&kept.parts)
        .filter_map(|(name, parts)| Some((name.clone(), parts.get(row as usize)?.clone())))
        .collect()
}
