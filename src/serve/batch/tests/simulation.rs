//! The scheduler in virtual time, against the best that can be done with the same trace. Each test
//! prints its rows of the table in `tests/runs/2026-11-27-scheduler`:
//! `cargo test --lib simulation -- --nocapture --test-threads 1`.

mod arrivals;
mod clairvoyant;
mod goodput;
mod machine;
mod regret;
mod run;
mod waits;

use arrivals::Arrival;
use machine::{Nanos, TrueCost};
use run::Ended;

/// Costs of the kinds of models that are served, by name.
const COSTS: [(&str, TrueCost); 5] = [
    (
        "trees",
        TrueCost::Linear {
            fixed: 1_000_000,
            row: 10_000,
        },
    ),
    (
        "transformer",
        TrueCost::Linear {
            fixed: 2_000_000,
            row: 1_000_000,
        },
    ),
    ("conv", TrueCost::Flat { row: 20_000_000 }),
    (
        "steps",
        TrueCost::Steps {
            fixed: 500_000,
            row: 250_000,
        },
    ),
    (
        "knee",
        TrueCost::Knee {
            fixed: 2_000_000,
            row: 100_000,
            at: 8,
        },
    ),
];

/// Latencies of the requests that were answered, in order of size.
fn latencies(trace: &[Arrival], ended: &[Ended]) -> Vec<Nanos> {
    let pairs = trace.iter().zip(ended);
    let mut latencies: Vec<Nanos> = pairs
        .filter_map(|(arrival, end)| match end {
            Ended::Ran(at) => Some(at - arrival.at),
            _ => None,
        })
        .collect();
    latencies.sort_unstable();
    latencies
}

fn mean(sorted: &[Nanos]) -> f64 {
    sorted.iter().sum::<Nanos>() as f64 / sorted.len().max(1) as f64
}

fn p99(sorted: &[Nanos]) -> f64 {
    let at = (sorted.len() * 99 / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0) as f64
}

fn ms(nanos: f64) -> f64 {
    nanos / 1e6
}
