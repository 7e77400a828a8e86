//! What the contract's alarms keep over a restart: the ones that stand, and the counts of the last day
//! at growing distances, as differences. Does not know where that is stored.

use super::{BreachWatch, BreachedSoFar, CountSnapshot, StandingBreach};
use crate::observe::drift::age::{age_ms, moment};
use crate::observe::drift::contract::{BreachKind, Breaches};
use crate::observe::report::column::BreachTest;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The contract's alarms for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedBreaches {
    looked_ms: u64,
    /// Oldest first.
    past: Vec<SavedCounts>,
    standing: Vec<SavedStanding>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<SavedEnd>,
}

/// Counts at a moment: how many more there were then than at the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedCounts {
    age_ms: u64,
    rows: u64,
    /// Only columns with more violations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<(usize, [u64; 6])>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedStanding {
    column: usize,
    test: BreachTest,
    calm: u8,
    /// The counts when it was last brought up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<(u64, u64, u64)>,
}

/// The last end of an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedEnd {
    column: usize,
    kind: BreachKind,
    age_ms: u64,
    rows: u64,
    hits: u64,
}

fn numbers(of: &Breaches) -> [u64; 6] {
    of.counts().map(|(_, count)| count)
}

fn breaches([nan, infinite, below, above, unseen, empty]: [u64; 6]) -> Breaches {
    Breaches {
        nan,
        infinite,
        below,
        above,
        unseen,
        empty,
    }
}

impl BreachWatch {
    /// Returns what the next process needs.
    pub(crate) fn save(&self, now: Instant) -> SavedBreaches {
        let mut before = CountSnapshot {
            at: now,
            rows: 0,
            columns: vec![Breaches::default(); self.allowances.len()],
        };
        let mut past = Vec::with_capacity(self.past.len());
        for snapshot in &self.past {
            let more = |(at, (new, old)): (usize, (&Breaches, &Breaches))| {
                let (new, old) = (numbers(new), numbers(old));
                let more = std::array::from_fn(|i| new[i].saturating_sub(old[i]));
                (more != [0; 6]).then_some((at, more))
            };
            let both = snapshot.columns.iter().zip(&before.columns);
            past.push(SavedCounts {
                age_ms: age_ms(now, snapshot.at),
                rows: snapshot.rows.saturating_sub(before.rows),
                columns: both.enumerate().filter_map(more).collect(),
            });
            before = snapshot.clone();
        }

        let standing = self
            .standing
            .iter()
            .map(|((column, _), standing)| SavedStanding {
                column: *column,
                test: standing.test.clone(),
                calm: standing.calm,
                since: standing
                    .since
                    .map(|since| (age_ms(now, since.at), since.rows, since.hits)),
            });
        let ended = self.ended.iter().map(|((column, kind), ended)| SavedEnd {
            column: *column,
            kind: *kind,
            age_ms: age_ms(now, ended.at),
            rows: ended.rows,
            hits: ended.hits,
        });
        SavedBreaches {
            looked_ms: age_ms(now, self.looked),
            past,
            standing: standing.collect(),
            ended: ended.collect(),
        }
    }

    /// Goes on where an earlier process ended, `away_ms` ago, with the counts `so_far`. Refuses columns
    /// that there are not, and counts beyond those so far.
    pub(crate) fn restore(
        &mut self,
        saved: SavedBreaches,
        so_far: &(u64, Vec<Breaches>),
        (now, away_ms): (Instant, u64),
    ) -> Result<(), String> {
        let columns = self.allowances.len();
        let is_known = |at: usize| at < columns;
        let of_past = saved.past.iter().flat_map(|past| &past.columns);
        if !of_past.map(|(at, _)| *at).all(is_known)
            || !saved.standing.iter().map(|s| s.column).all(is_known)
            || !saved.ended.iter().map(|e| e.column).all(is_known)
            || saved.past.is_empty()
        {
            return Err("its contract alarms are of other columns".to_owned());
        }

        let at = |age_ms: u64| moment(now, age_ms.saturating_add(away_ms));
        self.looked = at(saved.looked_ms);
        let (mut rows, mut counts) = (0_u64, vec![[0_u64; 6]; columns]);
        self.past.clear();
        for past in saved.past {
            rows = rows.saturating_add(past.rows);
            for (column, more) in past.columns {
                let sums = counts[column].iter_mut().zip(more);
                sums.for_each(|(sum, more)| *sum = sum.saturating_add(more));
            }
            self.past.push_back(CountSnapshot {
                at: at(past.age_ms),
                rows,
                columns: counts.iter().copied().map(breaches).collect(),
            });
        }
        self.start = self.past.front().map_or(self.start, |oldest| oldest.at);
        let is_beyond = |(sum, known): (&[u64; 6], &Breaches)| {
            sum.iter()
                .zip(numbers(known))
                .any(|(sum, known)| *sum > known)
        };
        if rows > so_far.0 || counts.iter().zip(&so_far.1).any(is_beyond) {
            return Err("its contract counts contradict one another".to_owned());
        }
        let standing = |saved: SavedStanding| {
            let SavedStanding { test, calm, .. } = saved;
            let place: (usize, BreachKind) = (saved.column, test.kind);
            let counts = |(age_ms, rows, hits)| BreachedSoFar {
                at: at(age_ms),
                rows,
                hits,
            };
            let since = saved.since.map(counts);
            (place, StandingBreach { test, calm, since })
        };
        self.standing = saved.standing.into_iter().map(standing).collect();
        let end = |saved: SavedEnd| {
            let SavedEnd { rows, hits, .. } = saved;
            let at = at(saved.age_ms);
            ((saved.column, saved.kind), BreachedSoFar { at, rows, hits })
        };
        self.ended = saved.ended.into_iter().map(end).collect();
        Ok(())
    }
}
