//! The state of labels and their predictions. Owns no clock, no store and no task.

use super::Options;
use super::given::Given;
use super::line::{FORMAT, Joined, Line};
use super::recent::{Kept, Recent};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::core::request::id::{Mint, minted};
use crate::observe::capture::find::Found as Captured;
use crate::observe::metrics::feedback::Shown;
use crate::observe::quality::answer::Truth;
use crate::observe::quality::book::{Book, Row, Summary, Taken};
use crate::observe::quality::sequential::Trial;
use crate::observe::report::alarm::PerformanceAlarm;
use crate::observe::report::performance::MeasuredPerformance;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, UNIX_EPOCH};
use uuid::Uuid;

/// Versions whose labelled rows are kept; the ones least lately predicted with go first.
const BOOKS_MAX: usize = 256;
/// A prediction of this age is in a file, if it was captured.
const CAPTURED: Duration = Duration::from_secs(5);
/// Predictions searched at once.
const WANTED_MAX: usize = 10_000;
/// Labels kept whose prediction is not known here.
const PENDING_MAX: usize = 100_000;
/// A clock may be ahead of ours by this.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// The days that series and reports look back on.
const DAYS: u64 = 7;
/// Stretches of a report.
const COHORTS_MAX: usize = 90;

/// What a label is.
pub(super) enum Judged {
    /// To be put down.
    New(Box<Line>),
    /// There already, the same.
    Known,
}

/// Everything that is known.
pub(super) struct State {
    recent: Recent,
    books: BTreeMap<(ModelName, Digest), Open>,
    pending: HashMap<(Uuid, u32), Line>,
    order: VecDeque<(Uuid, u32)>,
    turn: u64,
    /// When the last label was taken.
    last: DateTime<Utc>,
    /// Labels that waited too long among too many.
    pub forgotten: u64,
    /// Whether new rows are bet on: not those of before the start.
    pub is_betting: bool,
}

/// The labelled rows of a version, and its trial.
struct Open {
    book: Book,
    /// Begun once the version was seen here.
    trial: Option<Trial>,
    corrections: HashMap<(Uuid, u32), u32>,
    used: u64,
    /// The last that was shown.
    changed: bool,
}

/// What is found out while lines are applied: those joined, and models that lose.
pub(super) type Found<'f> = (&'f mut Vec<Line>, &'f mut Vec<PerformanceAlarm>);

impl State {
    /// Starts with nothing.
    pub(super) fn new(options: &Options) -> Self {
        Self {
            recent: Recent::new(options.settings.answers_bytes_max),
            books: BTreeMap::new(),
            pending: HashMap::new(),
            order: VecDeque::new(),
            turn: 0,
            last: DateTime::UNIX_EPOCH,
            forgotten: 0,
            is_betting: true,
        }
    }

    fn open(
        &mut self,
        key: (ModelName, Digest),
        version: u64,
        slices: &[String],
        rows_max: usize,
    ) -> &mut Open {
        self.turn += 1;
        if !self.books.contains_key(&key) && self.books.len() >= BOOKS_MAX {
            let oldest = self
                .books
                .iter()
                .min_by_key(|(_, open)| open.used)
                .map(|(key, _)| key.clone());
            oldest
                .into_iter()
                .for_each(|oldest| drop(self.books.remove(&oldest)));
        }

        let open = self.books.entry(key).or_insert_with(|| Open {
            book: Book::new(version, slices.to_vec(), rows_max),
            trial: None,
            corrections: HashMap::new(),
            used: 0,
            changed: true,
        });

        open.used = self.turn;
        open
    }

    /// Keeps a prediction for its labels.
    pub(super) fn predicted(&mut self, id: Uuid, kept: Kept, options: &Options) {
        let subject = std::sync::Arc::clone(&kept.subject);
        let rows = kept.answers.iter().flatten().count() as u64;
        let key = (subject.model.clone(), subject.digest);
        let open = self.open(
            key,
            subject.version.number(),
            &subject.slices,
            options.settings.rows_max,
        );

        open.book.predicted(hour_of(id), rows);
        if open.trial.is_none() {
            let measured = subject.baseline.as_ref().map(|b| (&b.performance, b.rows));
            let trial = measured
                .map(|(measured, rows)| Trial::new(measured, rows, options.settings.loss_margin));
            open.trial = Some(trial.unwrap_or_default());
        }

        self.recent.add(id, kept);
    }

    /// Tells whether a prediction was made so lately that it may not be known yet.
    pub(super) fn is_under_way(&self, given: &[Result<Given>]) -> bool {
        let lately = |id| {
            minted(id)
                .and_then(|t| t.elapsed().ok())
                .is_some_and(|age| age < super::UNDER_WAY)
        };

        given
            .iter()
            .flatten()
            .any(|g| lately(g.id) && self.recent.get(g.id).is_none())
    }

    /// Tells what a label is. Refuses what nobody predicted, what is too old or of
    /// the future, what does not fit the model, and one correction too many.
    pub(super) fn judge(
        &mut self,
        mint: &Mint,
        given: &Given,
        now: DateTime<Utc>,
        options: &Options,
    ) -> Result<Judged> {
        let Given {
            id,
            row,
            label,
            time,
        } = given;

        if !mint.is_ours(*id) {
            return Err(Error::not_found(format!(
                "prediction_id '{id}' is not of a prediction of this fleet"
            )));
        }

        let made: DateTime<Utc> = minted(*id).unwrap_or(UNIX_EPOCH).into();
        let age_max = TimeDelta::from_std(options.settings.age_max).unwrap_or(TimeDelta::MAX);
        if made > now + SKEW || time.is_some_and(|time| time > now + SKEW) {
            return Err(Error::invalid("time is in the future"));
        }
        if now - made > age_max || time.is_some_and(|time| time < made - SKEW) {
            let days = age_max.num_days();
            return Err(Error::precondition(format!(
                "the prediction of {} is older than {days} days (feedback.age_max), or newer than the label's time",
                made.format("%Y-%m-%d")
            )));
        }

        let joined = self.join(*id, *row, label)?;
        let (key, hour) = ((*id, *row), hour_of(*id));
        match &joined {
            Some(joined) => {
                let open = joined.key().ok().and_then(|of| self.books.get(&of));
                let known = open.and_then(|open| open.book.truth(hour, key));
                if known == Some(joined.truth.into()) {
                    return Ok(Judged::Known);
                }
                let times = open
                    .and_then(|open| open.corrections.get(&key))
                    .copied()
                    .unwrap_or(0);
                if known.is_some() && times >= options.settings.corrections_max {
                    let most = options.settings.corrections_max;
                    return Err(Error::precondition(format!(
                        "the label was corrected {most} times, which is the limit (feedback.corrections_max)"
                    )));
                }
            }
            None if self
                .pending
                .get(&key)
                .is_some_and(|known| known.label == *label) =>
            {
                return Ok(Judged::Known);
            }
            None => {}
        }

        // No two have one time: of two labels of a request for one row, the later holds.
        self.last = (self.last + TimeDelta::microseconds(1)).max(now);
        let time = self.last;
        let line = Line {
            format: FORMAT,
            prediction_id: *id,
            row: *row,
            label: label.clone(),
            time,
            joined,
        };

        Ok(Judged::New(Box::new(line)))
    }

    /// Joins a label with the prediction, if it is known here.
    fn join(
        &self,
        id: Uuid,
        row: u32,
        label: &crate::observe::quality::answer::Label,
    ) -> Result<Option<Joined>> {
        let Some(kept) = self.recent.get(id) else {
            return Ok(None);
        };
        let rows = kept.answers.len();
        let answer = kept.answers.get(row as usize);
        let answer = answer.ok_or_else(|| {
            Error::invalid(format!(
                "row {row} is out of range; the prediction has {rows} rows, counted from 0"
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
        let truth = label.truth(task)?;
        let part = |(at, name): (usize, &String)| {
            let part = kept.parts.get(at)?.get(row as usize)?;
            Some((name.clone(), part.clone()))
        };
        Ok(Some(Joined {
            model: subject.model.to_string(),
            version: subject.version.number(),
            digest: subject.digest.to_string(),
            answer,
            truth: truth.into(),
            slices: subject.slices.iter().enumerate().filter_map(part).collect(),
        }))
    }

    /// Counts a line of the log, whoever took it.
    pub(super) fn apply(&mut self, line: &Line, options: &Options, (found, worse): Found<'_>) {
        let key = (line.prediction_id, line.row);
        if let Some(joined) = &line.joined {
            if self
                .pending
                .get(&key)
                .is_some_and(|waiting| waiting.time <= line.time)
            {
                self.pending.remove(&key);
            }
            self.count(line, joined, options, worse);
            return;
        }

        // Made here, and taken by another: this is who knows it.
        match self.join(line.prediction_id, line.row, &line.label) {
            Ok(Some(joined)) => {
                if self.count(line, &joined, options, worse) == Taken::Same {
                    return;
                }
                found.push(Line {
                    joined: Some(joined),
                    ..line.clone()
                });
            }
            Ok(None) => self.wait(key, line.clone()),
            Err(error) => {
                tracing::debug!(id = %line.prediction_id, row = line.row, %error, "a stored label does not fit its prediction and is ignored")
            }
        }
    }

    /// Predictions that labels wait for, old enough to be captured.
    pub(super) fn wanted(&self) -> BTreeSet<Uuid> {
        let old = |id| {
            minted(id)
                .and_then(|t| t.elapsed().ok())
                .is_some_and(|age| age >= CAPTURED)
        };

        self.pending
            .keys()
            .map(|(id, _)| *id)
            .filter(|id| old(*id))
            .take(WANTED_MAX)
            .collect()
    }

    /// Joins labels with predictions that were found.
    pub(super) fn join_found(&mut self, found: &HashMap<Uuid, Captured>) -> Vec<Line> {
        let mut joined = Vec::new();
        for ((id, row), line) in &self.pending {
            let Some(one) = found.get(id) else { continue };
            let answer = one.answers.get(*row as usize).cloned().flatten();
            let Some((answer, Ok(truth))) =
                answer.map(|answer| (answer, line.label.truth(&one.task)))
            else {
                continue;
            };
            let (model, version, digest) = (one.model.clone(), one.version, one.digest.clone());
            let found = Joined {
                model,
                version,
                digest,
                answer,
                truth: truth.into(),
                slices: BTreeMap::new(),
            };
            joined.push(Line {
                joined: Some(found),
                ..line.clone()
            });
        }

        // What was found and does not fit never will; what does waits until it is put down.
        let fits = |key: &(Uuid, u32)| {
            joined
                .iter()
                .any(|l: &Line| (l.prediction_id, l.row) == *key)
        };

        self.pending
            .retain(|key, _| !found.contains_key(&key.0) || fits(key));
        joined
    }

    fn wait(&mut self, key: (Uuid, u32), line: Line) {
        match self.pending.get(&key) {
            Some(known) if known.time >= line.time => return,
            Some(_) => {}
            None => self.order.push_back(key),
        }

        self.pending.insert(key, line);
        while self.order.len() > PENDING_MAX {
            let oldest = self
                .order
                .pop_front()
                .and_then(|oldest| self.pending.remove(&oldest));
            self.forgotten += u64::from(oldest.is_some());
        }
    }

    fn count(
        &mut self,
        line: &Line,
        joined: &Joined,
        options: &Options,
        worse: &mut Vec<PerformanceAlarm>,
    ) -> Taken {
        let Ok(of) = joined.key() else {
            return Taken::Same;
        };
        let (id, hour) = (line.prediction_id, hour_of(line.prediction_id));
        let is_own = self.recent.get(id).is_some();
        let slices: Vec<String> = joined.slices.keys().cloned().collect();
        let is_betting = self.is_betting;
        let open = self.open(of, joined.version, &slices, options.settings.rows_max);
        let truth = Truth::from(joined.truth);
        let parts = open
            .book
            .slices
            .iter()
            .map(|s| joined.slices.get(s).cloned().unwrap_or_default())
            .collect();
        let row = Row {
            answer: joined.answer.clone(),
            truth,
            parts,
            is_own,
            time_us: line.time.timestamp_micros(),
        };

        let taken = open.book.label(hour, (id, line.row), row);
        match taken {
            Taken::Same | Taken::Dropped => return taken,
            Taken::Corrected => *open.corrections.entry((id, line.row)).or_default() += 1,
            Taken::New => {
                let now = u64::try_from(line.time.timestamp() / 3600).unwrap_or(0);
                let (alarms, margin) =
                    (options.false_alarms_per_month, options.settings.loss_margin);
                let trial = open.trial.as_mut().filter(|_| is_betting);
                let won = trial.and_then(|t| t.take((&joined.answer, truth), now, alarms, margin));
                worse.extend(won.map(|won| PerformanceAlarm {
                    model: joined.model.clone(),
                    version: joined.version,
                    digest: joined.digest.clone(),
                    time: line.time,
                    span_hours: won.span_hours,
                    rows: won.rows,
                    lost: won.lost,
                    allowed: won.allowed,
                    evidence: won.evidence,
                    alpha: won.alpha,
                }));
            }
        }

        open.changed = true;
        taken
    }

    /// What the series are set to, of versions that changed.
    pub(super) fn shown(&mut self) -> Option<Shown> {
        let now = u64::try_from(Utc::now().timestamp() / 3600).unwrap_or(0);
        for open in self.books.values_mut() {
            // An alarm ends with its window, whether or not labels come.
            if let Some(trial) = open
                .trial
                .as_mut()
                .filter(|t| t.alarm.is_some_and(|(_, until)| now >= until))
            {
                trial.alarm = None;
                open.changed = true;
            }
        }

        // One at a time: whoever waits for the state must not wait for all of them.
        let next = self
            .books
            .iter_mut()
            .find(|(_, open)| open.changed && open.book.rows() > 0);
        if let Some(((model, _), open)) = next {
            open.changed = false;
            let summary = open.book.summary(now.saturating_sub(DAYS * 24), now + 1);
            return Some(Shown {
                model: model.to_string(),
                version: open.book.version.to_string(),
                rows: summary.labelled_rows,
                maturity: summary.maturity,
                measures: summary.measures,
                alarm: open.trial.as_ref().is_some_and(|t| t.alarm.is_some()),
            });
        }

        None
    }

    /// Returns the measured performance of a model's versions, or of one.
    pub(super) fn report(
        &self,
        model: &ModelName,
        version: Option<Version>,
    ) -> Vec<MeasuredPerformance> {
        let now = u64::try_from(Utc::now().timestamp() / 3600).unwrap_or(0);
        self.books
            .iter()
            .filter(|((name, _), open)| {
                name == model && version.is_none_or(|v| v.number() == open.book.version)
            })
            .map(|((name, digest), open)| MeasuredPerformance {
                pending_labels: self.pending.len(),
                ..measured(name, *digest, open, now)
            })
            .collect()
    }
}

/// Describes the labelled rows of a version, at an hour.
fn measured(model: &ModelName, digest: Digest, open: &Open, now: u64) -> MeasuredPerformance {
    let trial = open.trial.as_ref();
    MeasuredPerformance {
        model: model.to_string(),
        version: open.book.version,
        digest: digest.to_string(),
        window_days: DAYS,
        window: open
            .book
            .summary(now.saturating_sub(DAYS * 24), now + 1)
            .report(),
        days: open
            .book
            .cohorts(24, COHORTS_MAX)
            .iter()
            .map(Summary::report)
            .collect(),
        slices: open.book.parts(),
        reliability: open.book.reliability(),
        loss_allowed: trial.and_then(|t| t.allowed),
        alarm: trial.is_some_and(|t| t.alarm.is_some()),
        pending_labels: 0,
    }
}

/// The hour in which an id was minted.
fn hour_of(id: Uuid) -> u64 {
    let since = minted(id).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs() / 3600)
}
