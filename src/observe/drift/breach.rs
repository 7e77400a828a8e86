//! Alarms of the contract: whether more rows than allowed are missing, outside the range or unseen. Looks
//! at all rows, over the last seconds, minutes, day and month, without a window. Owns no clock.

pub(crate) mod allowed;
pub(crate) mod saved;
#[cfg(test)]
mod tests;

use super::contract::{BreachKind, Breaches};
use super::distance::share_at_least;
use super::settings::MonitorSettings;
use crate::observe::report::column::BreachTest;
use allowed::Allowance;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How far the looks at past rows reach.
const HORIZONS: [Duration; 5] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(86_400),
    MONTH,
];
/// Distance of the snapshots that are kept up to each horizon.
const STEPS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(1_800),
    Duration::from_secs(43_200),
];
const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// Horizons at which the end of an alarm is seen: a month would be too late.
const END_HORIZONS: std::ops::Range<usize> = 1..4;
/// Rows without which no end of an alarm is seen.
const END_ROWS: u64 = 30;
/// Looks in a row within what is allowed that end an alarm.
const CALM: u8 = 3;

/// All counts at a moment.
#[derive(Clone)]
struct CountSnapshot {
    at: Instant,
    rows: u64,
    columns: Vec<Breaches>,
}

/// One test, and for how many looks it has been within what is allowed.
struct StandingBreach {
    test: BreachTest,
    calm: u8,
    /// The counts when it began or was last brought up to date; none of an earlier program.
    since: Option<BreachedSoFar>,
}

/// The rows and the violations of one kind so far, at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct BreachedSoFar {
    at: Instant,
    rows: u64,
    hits: u64,
}

/// The contract's alarms of one version.
pub(crate) struct BreachWatch {
    allowances: Vec<Allowance>,
    past: VecDeque<CountSnapshot>,
    start: Instant,
    looked: Instant,
    standing: BTreeMap<(usize, BreachKind), StandingBreach>,
    /// The counts at the last end of each alarm, within the longest horizon: what was violated before was told.
    ended: BTreeMap<(usize, BreachKind), BreachedSoFar>,
}

impl BreachWatch {
    /// Starts from zero counts. `allowances` are those of the columns, in their order.
    pub(crate) fn new(
        allowances: Vec<Allowance>,
        counts: (u64, Vec<Breaches>),
        now: Instant,
    ) -> Self {
        let (rows, columns) = counts;
        let first = CountSnapshot {
            at: now,
            rows,
            columns,
        };
        Self {
            allowances,
            past: VecDeque::from([first]),
            start: now,
            looked: now,
            standing: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Sets how many rows are worth one for the missing values of a column.
    pub(crate) fn set_missing_effect(&mut self, column: usize, effect: f64) {
        self.allowances[column].set_missing_effect(effect);
    }

    /// Looks at the counts of all rows so far. Returns the alarms that start: the column, and the test.
    pub(crate) fn look(
        &mut self,
        (rows, columns): (u64, Vec<Breaches>),
        now: Instant,
        settings: &MonitorSettings,
    ) -> Vec<(usize, BreachTest)> {
        let Some(newest) = self.past.back() else {
            return Vec::new();
        };
        if rows == newest.rows && columns == newest.columns {
            return Vec::new();
        }
        let elapsed = now.saturating_duration_since(self.looked);
        self.looked = now;
        let alpha = significance(settings, self.allowances.len(), elapsed);

        let current = CountSnapshot {
            at: now,
            rows,
            columns,
        };
        let mut begun = Vec::new();
        for column in 0..self.allowances.len() {
            for kind in BreachKind::ALL {
                begun.extend(self.test((column, kind), &current, (settings, alpha)));
            }
        }
        self.keep(current);
        let longest = HORIZONS[HORIZONS.len() - 1];
        let is_near = |ended: &BreachedSoFar| now.saturating_duration_since(ended.at) <= longest;
        self.ended.retain(|_, ended| is_near(ended));
        begun
    }

    /// Tests one kind of a column over each horizon.
    fn test(
        &mut self,
        place: (usize, BreachKind),
        current: &CountSnapshot,
        (settings, alpha): (&MonitorSettings, f64),
    ) -> Option<(usize, BreachTest)> {
        let (column, kind) = place;
        let counted = kind.of(&current.columns[column]);
        let is_raised = self.standing.get(&place).is_some_and(|s| s.test.alarm);
        let oldest = self.past.front().map_or(0, |s| kind.of(&s.columns[column]));
        if counted == oldest && !is_raised {
            return None;
        }

        let allowance = &self.allowances[column];
        let (allowed, effect) = (
            allowance.of(kind) + settings.breach_share,
            allowance.effect(kind),
        );
        let looks = HORIZONS.map(|horizon| {
            let (rows, hits) = self.counts_before(place, current.at, horizon);
            let rows = current.rows.saturating_sub(rows);
            let hits = counted.saturating_sub(hits);
            BreachLook::new((hits, rows), (allowed, effect, alpha), horizon)
        });

        let least = u64::from(settings.breach_rows);
        let found = looks
            .iter()
            .find(|look| look.hits >= least && look.lower > allowed);
        let counts = BreachedSoFar {
            at: current.at,
            rows: current.rows,
            hits: counted,
        };
        if is_raised {
            if self.renew(place, (&looks, counts), allowed) {
                self.ended.insert(place, counts);
            }
            return None;
        }
        let test = found?.test(kind, allowed);
        self.standing.insert(
            place,
            StandingBreach {
                test: test.clone(),
                calm: 0,
                since: Some(counts),
            },
        );
        Some((column, test))
    }

    /// Brings an alarm up to date, and ends it if the newest rows are within what is allowed. Returns
    /// whether it ended.
    fn renew(
        &mut self,
        place: (usize, BreachKind),
        (looks, counts): (&[BreachLook; HORIZONS.len()], BreachedSoFar),
        allowed: f64,
    ) -> bool {
        let Some(standing) = self.standing.get_mut(&place) else {
            return false;
        };
        let newest = looks[END_HORIZONS]
            .iter()
            .find(|look| look.rows >= END_ROWS);
        // A day may have too few rows; then so many must come, however long that takes.
        let since = BreachLook::since(*standing.since.get_or_insert(counts), counts);
        let is_slow = newest.is_none();
        let Some(newest) = newest.or(Some(&since).filter(|look| look.rows >= END_ROWS)) else {
            return false;
        };
        if newest.share() > allowed {
            let test = newest.test(place.1, allowed);
            *standing = StandingBreach {
                test,
                calm: 0,
                since: Some(counts),
            };
            return false;
        }
        standing.calm += 1;
        let is_over = is_slow || standing.calm >= CALM;
        is_over && self.standing.remove(&place).is_some()
    }

    /// Returns the rows and violations before a horizon, or before the last end of the alarm if that is
    /// later: a long horizon must not raise again what a short one has seen end.
    fn counts_before(
        &self,
        place: (usize, BreachKind),
        now: Instant,
        horizon: Duration,
    ) -> (u64, u64) {
        let past = self.before(now, horizon);
        let is_later = |ended: &&BreachedSoFar| past.is_none_or(|past| past.at < ended.at);
        if let Some(ended) = self.ended.get(&place).filter(is_later) {
            return (ended.rows, ended.hits);
        }
        past.map_or((0, 0), |past| {
            (past.rows, place.1.of(&past.columns[place.0]))
        })
    }

    /// Returns the oldest snapshot within a horizon.
    fn before(&self, now: Instant, horizon: Duration) -> Option<&CountSnapshot> {
        // They are in the order of time.
        let older = |past: &CountSnapshot| now.saturating_duration_since(past.at) > horizon;
        let at = self.past.partition_point(older);
        self.past.get(at).or(self.past.back())
    }

    /// Keeps a snapshot. Of older ones the first of each step is kept; the steps grow with the age.
    fn keep(&mut self, current: CountSnapshot) {
        let (now, start) = (current.at, self.start);
        self.past.push_back(current);
        let past = std::mem::take(&mut self.past);
        for snapshot in past {
            let age = now.saturating_duration_since(snapshot.at);
            let Some(tier) = HORIZONS.iter().position(|horizon| age <= *horizon) else {
                continue;
            };
            // Steps are whole parts of the next larger ones, so the first of a step stays the first.
            let step =
                |at: Instant| at.saturating_duration_since(start).as_secs() / STEPS[tier].as_secs();
            let is_first = self
                .past
                .back()
                .is_none_or(|kept| step(kept.at) != step(snapshot.at));
            if is_first || tier == 0 {
                self.past.push_back(snapshot);
            }
        }
    }

    /// Returns the tests in alarm of a column.
    pub(crate) fn of(&self, column: usize) -> Vec<BreachTest> {
        let first = (column, BreachKind::Missing);
        let last = (column, BreachKind::Unseen);
        let range = self.standing.range(first..=last);
        range.map(|(_, standing)| standing.test.clone()).collect()
    }
}

/// What one horizon shows.
#[derive(Clone, Copy)]
struct BreachLook {
    hits: u64,
    rows: u64,
    lower: f64,
    seconds: u64,
}

impl BreachLook {
    fn new(
        (hits, rows): (u64, u64),
        (_, effect, alpha): (f64, f64, f64),
        horizon: Duration,
    ) -> Self {
        // Answers are counted a moment after their inputs.
        let rows = rows.max(hits);
        Self {
            hits,
            rows,
            lower: share_at_least(hits as f64 / effect, rows as f64 / effect, alpha),
            seconds: horizon.as_secs(),
        }
    }

    /// Returns what the rows since other counts show, which is no test.
    fn since(before: BreachedSoFar, now: BreachedSoFar) -> Self {
        let hits = now.hits.saturating_sub(before.hits);
        Self {
            hits,
            rows: now.rows.saturating_sub(before.rows).max(hits),
            lower: 0.0,
            seconds: now.at.saturating_duration_since(before.at).as_secs(),
        }
    }

    fn share(&self) -> f64 {
        self.hits as f64 / self.rows.max(1) as f64
    }

    fn test(&self, kind: BreachKind, allowed: f64) -> BreachTest {
        BreachTest {
            kind,
            share: self.share(),
            lower: self.lower,
            allowed,
            breaches: self.hits,
            rows: self.rows,
            seconds: self.seconds,
            alarm: true,
        }
    }
}

/// Returns the significance level of each look: the part of the accepted false alarms for the time
/// since the last one, divided among columns, kinds and horizons.
fn significance(settings: &MonitorSettings, columns: usize, elapsed: Duration) -> f64 {
    let tests = (columns.max(1) * BreachKind::ALL.len() * HORIZONS.len()) as f64;
    let share = elapsed.min(Duration::from_secs(86_400)).as_secs_f64() / MONTH.as_secs_f64();
    (settings.contract_false_alarms() * share / tests).clamp(f64::MIN_POSITIVE, 0.01)
}
