//! Seeded traces of requests. None is recorded from a real service: `daily` imitates one, with a
//! slow rise and fall, a faster wave and random bursts, over seconds instead of a day.

use super::machine::Nanos;
use crate::core::hash::SplitMix;

/// A request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) at: Nanos,
    pub(super) rows: usize,
    /// The number of its shape class.
    pub(super) class: usize,
    pub(super) priority: u8,
    /// Until when its client waits, counted from the arrival.
    pub(super) timeout: Option<Nanos>,
}

impl Arrival {
    /// One row of class 0, without a deadline.
    pub(super) fn at(at: Nanos) -> Self {
        Self {
            at,
            rows: 1,
            class: 0,
            priority: 0,
            timeout: None,
        }
    }
}

/// The shape of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Constant,
    Poisson,
    /// Half of the time at a tenth of the rate, half of the time at 1.9 times the rate.
    Bursts,
    /// As of a service over a day.
    Daily,
}

/// `count` requests at a mean rate per second.
pub(super) fn arrivals(shape: Shape, rate: f64, count: usize, seed: u64) -> Vec<Arrival> {
    let mut random = SplitMix(seed);
    let gap = 1e9 / rate;
    let mut now = 0.0;
    let mut trace = Vec::with_capacity(count);
    for number in 0..count {
        let wait = match shape {
            Shape::Constant => 1.0,
            _ => -(1.0 - random.unit()).ln(),
        };
        let share = number as f64 / count as f64;
        now += wait * gap / relative(shape, share, now / gap);
        trace.push(Arrival::at(now as Nanos));
    }
    trace
}

/// The rate at a moment, as a multiple of the mean. `share` is the part of the trace that has arrived,
/// `now` the time in mean gaps.
fn relative(shape: Shape, share: f64, now: f64) -> f64 {
    match shape {
        Shape::Constant | Shape::Poisson => 1.0,
        Shape::Bursts => match (now / 100.0) as u64 % 2 {
            0 => 0.1,
            _ => 1.9,
        },
        Shape::Daily => {
            let day = 1.0 - 0.5 * (std::f64::consts::TAU * share).cos();
            let wave = 1.0 + 0.2 * (std::f64::consts::TAU * now / 60.0).sin();
            let burst = if (now / 25.0) as u64 % 9 == 4 {
                1.8
            } else {
                1.0
            };
            day * wave * burst
        }
    }
}
