//! Overload with deadlines: how many answers arrive in time, as a share of what the lanes can make
//! at best.

use super::arrivals::{Shape, arrivals};
use super::machine::{Machine, Nanos, TrueCost};
use super::run::{Ended, Setup, Simulation};
use super::{COSTS, ms};

const ROWS_MAX: usize = 16;

/// Requests of each lane that are measured at the capacity; more at higher loads.
const MEASURED: f64 = 1_800.0;

/// Least goodput, up to twice the capacity and beyond. Where 9 rows cost as much as 16, durations between the
/// sizes that are told apart are known badly, and some answers are late.
const GOODPUT_MIN: [f64; 2] = [0.93, 0.95];

fn goodput(name: &str, cost: TrueCost, lanes: usize, times: f64) -> f64 {
    let capacity = cost.capacity(ROWS_MAX) * lanes as f64;
    let timeout = 4 * cost.of(ROWS_MAX).min(8 * cost.of(1));
    let mut simulation = Simulation::new(Setup {
        machine: Machine::steady(cost),
        lanes,
        rows_max: ROWS_MAX,
        queue_rows_max: 4_096,
    });
    let mut ask = |load: f64, count: f64, seed: u64| {
        let mut trace = arrivals(Shape::Poisson, load * capacity, count as usize, seed);
        for arrival in &mut trace {
            arrival.timeout = Some(timeout);
        }
        let ended = simulation.replay(&trace);
        (trace, ended)
    };

    ask(0.9, 1_000.0, 1);
    let count = MEASURED * lanes as f64 * times.min(3.0);
    let (trace, ended) = ask(times, count, 7);
    // Answers count while requests arrive, from when the queue is full.
    let filled = (timeout as f64 * times / (times - 1.0)) as Nanos;
    let window = filled..trace[trace.len() - 1].at;
    let pairs = trace.iter().zip(&ended);
    let answers = pairs.filter_map(|(arrival, end)| match end {
        Ended::Ran(at) if window.contains(at) => Some(at - arrival.at),
        _ => None,
    });
    let (in_time, late): (Vec<Nanos>, Vec<Nanos>) = answers.partition(|took| *took <= timeout);
    let (in_time, late) = (in_time.len(), late.len());
    let span = (window.end - window.start) as f64 / 1e9;
    let share = in_time as f64 / (capacity * span);
    eprintln!(
        "{name:<12} {lanes:>5} {times:>5.1} {:>11.2} {:>9} {in_time:>8} {late:>5} {share:>8.3}",
        ms(timeout as f64),
        trace.len(),
    );
    share
}

#[test]
fn answers_in_time_are_near_the_capacity_at_every_overload() {
    eprintln!(
        "\n{:<12} {:>5} {:>5} {:>11} {:>9} {:>8} {:>5} {:>8}",
        "cost", "lanes", "load", "deadline ms", "requests", "in time", "late", "goodput"
    );
    let mut least = [f64::MAX; 2];
    for (name, cost) in COSTS {
        for lanes in [1, 2] {
            for times in [1.2, 1.5, 2.0, 5.0, 10.0] {
                let least = &mut least[usize::from(times > 2.0)];
                *least = least.min(goodput(name, cost, lanes, times));
            }
        }
    }
    assert!(
        least[0] >= GOODPUT_MIN[0] && least[1] >= GOODPUT_MIN[1],
        "{least:?}"
    );
}
