//! A sequential test of whether a model errs more often than in its baseline, evaluated after every
//! label. It is a betting martingale: it exceeds 1/α with probability at most α while the error
//! share is within the limit (Ville's inequality), however often it is evaluated. The bet is spread
//! over many alternative error shares, so that large increases are found with few labels and small
//! ones with many. Labels count in the order of arrival.

#[cfg(test)]
mod proof;
#[cfg(test)]
mod tests;

use super::answer::{RowAnswer, Truth};
use crate::observe::drift::baseline::part::PartLoss;
use crate::observe::drift::quantile::quantile;
use std::collections::BTreeMap;

/// Alternative error shares that the bet is spread over.
const BETS: i32 = 24;

/// The bet over one period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bet {
    pub rows: u64,
    pub lost: u64,
    /// The highest logarithm of the stake so far.
    pub peak: f64,
}

impl Bet {
    /// Adds a row and returns the logarithm of the stake. `allowed` is the accepted error share,
    /// between 0 and 1.
    pub(crate) fn take(&mut self, lost: bool, allowed: f64) -> f64 {
        self.rows += 1;
        self.lost += u64::from(lost);
        let stake = self.log_wealth(allowed);
        self.peak = self.peak.max(stake);
        stake
    }

    /// Returns the logarithm of the stake: the mean over all bets.
    fn log_wealth(&self, allowed: f64) -> f64 {
        let (lost, kept) = (self.lost as f64, (self.rows - self.lost) as f64);
        let odds = (allowed / (1.0 - allowed)).ln();
        // Alternative odds, from 1.05 to 27 times the accepted ones.
        let bet = |i: i32| {
            let other = odds + 0.05 * 1.2_f64.powi(i);
            let share = 1.0 / (1.0 + (-other).exp());
            lost * (share / allowed).ln() + kept * ((1.0 - share) / (1.0 - allowed)).ln()
        };

        let highest = (0..BETS).map(bet).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..BETS).map(|i| (bet(i) - highest).exp()).sum();
        highest + (sum / f64::from(BETS)).ln()
    }
}

/// Returns the accepted error share: the upper confidence bound of the error share on the
/// baseline's rows (Wilson, 99.5 %), plus a margin.
pub(crate) fn allowed(share: f64, rows: u64, margin: f64) -> f64 {
    allowed_at(WHOLE_Z, share, rows, margin)
}

/// The quantile of the normal distribution for the bound of all rows: 99.5 %.
const WHOLE_Z: f64 = 2.576;
/// The same for the bound of a part: of as many parts as a baseline may have, all are within theirs
/// as surely as all rows are.
const PART_Z: f64 = 3.79;

fn allowed_at(z: f64, share: f64, rows: u64, margin: f64) -> f64 {
    let n = rows.max(1) as f64;
    let centre = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    ((centre + spread) / (1.0 + z * z / n) + margin).clamp(1e-6, 1.0 - 1e-6)
}

/// Labelled rows from which a version without measured performance in its baseline learns its error
/// share.
pub(crate) const OWN_ROWS: u64 = 500;
/// Bets start again with every day, week and 30 days, so that old rows do not outweigh new ones. In
/// hours.
pub(crate) const SPANS: [u64; 3] = [24, 7 * 24, 30 * 24];

/// The performance test of one version.
#[derive(Clone, Debug, Default)]
pub(crate) struct SequentialTest {
    /// The accepted error share, once it is known.
    pub allowed: Option<f64>,
    /// The absolute error above which a value counts as an error.
    pub error_max: Option<f64>,
    first: Vec<f64>,
    bets: [(u64, Bet); SPANS.len()],
    /// The alarm that lasts.
    pub alarm: Option<LastingAlarm>,
}

/// An alarm that lasts until the end of the period over which its rows were counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LastingAlarm {
    /// The hours since 1970 in which it started, and with which it ends.
    pub since: u64,
    pub until: u64,
    /// What started it.
    pub won: Won,
    /// Rows of after its start, and those of them that were lost.
    pub rows_since: u64,
    pub lost_since: u64,
}

/// Tells whether a row is lost: its class is wrong, or its absolute error is over `error_max`. None
/// if the answer and the truth are of different kinds.
pub(crate) fn is_lost(answer: &RowAnswer, truth: Truth, error_max: Option<f64>) -> Option<bool> {
    Some(is_over(loss(answer, truth)?, error_max))
}

/// Returns the absolute error, or 1 for a wrong class.
fn loss(answer: &RowAnswer, truth: Truth) -> Option<f64> {
    match (answer, truth) {
        (RowAnswer::Class(class, _), Truth::Class(truth)) => {
            Some(f64::from(u8::from(*class as usize != truth)))
        }
        (RowAnswer::Value(value), Truth::Value(truth)) => Some((value - truth).abs()),
        _ => None,
    }
}

fn is_over(loss: f64, error_max: Option<f64>) -> bool {
    error_max.map_or(loss > 0.5, |most| loss > most)
}

/// An alarm that started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Won {
    /// Hours over which rows were counted.
    pub span_hours: u64,
    pub rows: u64,
    pub lost: u64,
    /// The accepted error share.
    pub allowed: f64,
    /// The evidence: the factor by which the stake grew.
    pub evidence: f64,
    pub alpha: f64,
}

impl SequentialTest {
    /// Starts with the performance on the baseline's rows, if the baseline has it.
    pub(crate) fn new(performance: &BTreeMap<String, f64>, rows: u64, margin: f64) -> Self {
        let rows = performance.get("rows").map_or(rows, |n| *n as u64);
        let error_max = performance.get("abs_error_q90").copied();
        let lost = performance
            .get("accuracy")
            .map(|a| 1.0 - a)
            .or(error_max.map(|_| 0.1));
        Self {
            allowed: lost.map(|lost| allowed(lost, rows, margin)),
            error_max,
            ..Self::default()
        }
    }

    /// Starts the test of a part of the rows, of which this is the test of the whole. None if the
    /// whole has no error share of the baseline.
    pub(crate) fn of_part(&self, loss: PartLoss, margin: f64) -> Option<Self> {
        self.allowed?;
        let share = loss.lost as f64 / loss.rows.max(1) as f64;
        Some(Self {
            allowed: Some(allowed_at(PART_Z, share, loss.rows, margin)),
            error_max: self.error_max,
            ..Self::default()
        })
    }

    /// Adds a labelled row at an hour. Returns an alarm if one starts. `alarms` is the accepted
    /// number of false alarms in a month; with 0, no alarm starts.
    pub(crate) fn take(
        &mut self,
        (answer, truth): (&RowAnswer, Truth),
        hour: u64,
        alarms: f64,
        margin: f64,
    ) -> Option<Won> {
        let loss = loss(answer, truth)?;
        let Some(allowed) = self.allowed else {
            self.learn_reference(loss, matches!(answer, RowAnswer::Value(_)), margin);
            return None;
        };
        let lost = is_over(loss, self.error_max);
        self.end_alarm(hour);
        if let Some(alarm) = &mut self.alarm {
            alarm.rows_since += 1;
            alarm.lost_since += u64::from(lost);
        }
        let mut won = None;
        for (span, (of, bet)) in SPANS.into_iter().zip(&mut self.bets) {
            if hour / span > *of {
                (*of, *bet) = (hour / span, Bet::default());
            }
            // Each span gets a third of the accepted false alarms of a month.
            let alpha = (alarms / 3.0 * span as f64 / (30.0 * 24.0)).min(0.05);
            // Only a lost row raises the stake.
            if !lost {
                bet.rows += 1;
                continue;
            }
            let stake = bet.take(lost, allowed);
            if stake >= -alpha.ln() && self.alarm.is_none() {
                let begun = Won {
                    span_hours: span,
                    rows: bet.rows,
                    lost: bet.lost,
                    allowed,
                    evidence: stake.min(700.0).exp(),
                    alpha,
                };
                self.alarm = Some(LastingAlarm {
                    since: hour,
                    until: (hour / span + 1) * span,
                    won: begun,
                    rows_since: 0,
                    lost_since: 0,
                });
                won = Some(begun);
            }
        }

        won
    }

    /// Ends an alarm whose time is over. Returns whether it did.
    pub(crate) fn end_alarm(&mut self, hour: u64) -> bool {
        let is_over = self.alarm.is_some_and(|alarm| hour >= alarm.until);
        if is_over {
            self.alarm = None;
        }
        is_over
    }

    fn learn_reference(&mut self, loss: f64, is_value: bool, margin: f64) {
        self.first.push(loss);
        if (self.first.len() as u64) < OWN_ROWS {
            return;
        }
        let mut first = std::mem::take(&mut self.first);
        let lost = if is_value {
            first.sort_unstable_by(f64::total_cmp);
            self.error_max = Some(quantile(&first, 0.9));
            0.1
        } else {
            first.iter().sum::<f64>() / first.len() as f64
        };

        self.allowed = Some(allowed(lost, OWN_ROWS, margin));
    }
}
