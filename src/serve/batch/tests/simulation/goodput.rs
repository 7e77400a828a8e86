//! Overload with deadlines: how many answers arrive in time, as a share of what the lanes can make
//! at best.

use super::arrivals::{Shape, arrivals};
use super::machine::{Machine, Nanos, TrueCost};
use super::run::{Ended, Setup, Simulation};
use super::{COSTS, ms};

const ROWS_MAX: usize = 16;

/// Requests of each lane that are measured at the capacity; more at higher loads.
const MEASURED: f64 = 1_800.0;

/// Least goodput.
const GOODPUT_MIN: f64 = 0.95;
/// Most of the requests that are not answered which learn it late, having waited.
const EXPIRED_MAX: f64 = 0.05;

fn goodput(name: &str, cost: TrueCost, lanes: usize, times: f64, beside: f64) -> (f64, f64) {
    let capacity = cost.capacity(ROWS_MAX) * lanes as f64 / (1.0 + beside);
    let longest = cost.of(ROWS_MAX).min(8 * cost.of(1));
    let timeout = (4.0 * (1.0 + beside) * longest as f64) as Nanos;
    let mut simulation = Simulation::new(Setup {
        machine: Machine::steady(cost),
        lanes,
        rows_max: ROWS_MAX,
        queue_rows_max: 4_096,
        beside,
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
        "{name:<12} {lanes:>5} {times:>5.1} {beside:>6.1} {:>11.2} {:>9} {in_time:>8} {late:>5} {share:>8.3}",
        ms(timeout as f64),
        trace.len(),
    );
    let count = |is: fn(&Ended) -> bool| ended.iter().filter(|end| is(end)).count() as f64;
    let expired = count(|end| matches!(end, Ended::Expired(_)));
    let refused = count(|end| matches!(end, Ended::Refused));
    (share, expired / (expired + refused))
}

#[test]
fn answers_in_time_are_near_the_capacity_at_every_overload() {
    eprintln!(
        "\n{:<12} {:>5} {:>5} {:>6} {:>11} {:>9} {:>8} {:>5} {:>8}",
        "cost", "lanes", "load", "beside", "deadline ms", "requests", "in time", "late", "goodput"
    );
    let (mut least, mut most) = (f64::MAX, 0.0_f64);
    for (name, cost) in COSTS {
        for lanes in [1, 2] {
            for times in [1.2, 1.5, 2.0, 5.0, 10.0] {
                // Without and with as much again beside the runs, as where I/O threads have the same cores.
                for beside in [0.0, 1.0] {
                    let (share, expired) = goodput(name, cost, lanes, times, beside);
                    (least, most) = (least.min(share), most.max(expired));
                }
            }
        }
    }
    assert!(least >= GOODPUT_MIN, "{least}");
    assert!(most <= EXPIRED_MAX, "{most}");
}
