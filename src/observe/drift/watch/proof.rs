//! The promise and the power of the monitor, simulated on columns as real tables have them, with the
//! settings and the design effects that it ships with: months without a defect, and the rows until
//! each defect is told. Small by default; `ORTUS_TEST_SIZE=long` is the size of the committed run.

#![allow(clippy::print_stdout)]

mod world;

use super::tests::settings;
use super::*;
use crate::core::hash::Digest;
use crate::core::spread::cores;
use crate::observe::drift::facts::RowFacts;
use crate::observe::drift::incident::IncidentLog;
use crate::observe::drift::layout::each_value;
use crate::observe::drift::reference::ReferenceRows;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::slice::choice::SliceChoice;
use chrono::{DateTime, Utc};
use world::{DAY, Defect, START, SimulatedWorld, WorldRow, signature, tensors};

/// Most days of the past that a baseline is made of, and its rows in a day.
const PAST_DAYS: f64 = 360.0;
const PAST_ROWS_A_DAY: f64 = 48.0;

fn is_long() -> bool {
    std::env::var("ORTUS_TEST_SIZE").is_ok_and(|v| v == "long")
}

/// How the rows of a baseline are chosen and ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// As they came.
    Natural,
    /// A random fifth, as they came.
    RandomSplit,
    /// The last fifth of the time.
    TimeSplit,
    /// In no order.
    Shuffled,
}

/// How rows come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Traffic {
    /// So many rows each minute.
    Steady(usize),
    /// Five thousand rows in ten seconds, six times a day.
    Bursts,
    /// A row each ten seconds.
    Trickle,
    /// So many rows at two at night.
    Nightly(usize),
}

impl Traffic {
    /// Returns the rows of a step of ten seconds.
    fn rows(self, step: u64) -> usize {
        let of_day = step % 8_640;
        match self {
            Self::Steady(rows) => rows / 6,
            Self::Bursts if of_day % 1_440 == 700 => 5_000,
            Self::Trickle => 1,
            Self::Nightly(rows) if of_day == 720 => rows,
            Self::Bursts | Self::Nightly(_) => 0,
        }
    }
}

/// A version that is watched, and the world that asks it.
struct Simulation {
    watch: VersionWatch,
    incidents: IncidentLog,
    world: SimulatedWorld,
    start: Instant,
    step: u64,
    rows: usize,
}

/// What happened until the end.
#[derive(Debug, Default)]
struct Told {
    incidents: Vec<String>,
    /// Rows until the first incident.
    rows: Option<usize>,
    seconds: u64,
}

/// A baseline, and the world after its rows.
#[derive(Clone)]
struct Prepared {
    baseline: Baseline,
    world: SimulatedWorld,
}

impl Prepared {
    fn new(seed: u64, rows: usize, order: Order) -> Self {
        let mut world = SimulatedWorld::new(seed);
        let mut past = draw_past(&mut world, rows, order);
        if order == Order::Shuffled {
            for at in (1..past.len()).rev() {
                past.swap(at, (world.random.next() * (at + 1) as f64) as usize);
            }
        }
        let places = subject(None).find_columns().expect("places");
        let mut series: Vec<ColumnSeries> = places.iter().map(ColumnSeries::of).collect();
        for part in past.chunks(1_000) {
            let tensors = tensors(part);
            for (place, series) in places.iter().zip(&mut series) {
                each_value(place, &tensors[place.tensor], |value| series.push(&value));
            }
        }
        let reference = ReferenceRows {
            places: &places,
            series: &series,
            importances: &BTreeMap::new(),
            facts: &RowFacts::default(),
            lost: &[],
            threads: 1,
        };
        let baseline = reference.baseline(rows as u64, &SliceChoice::Fitting);
        Self { baseline, world }
    }
}

/// Baselines that several simulations begin with.
#[derive(Default)]
struct PreparedOnce(BTreeMap<(u64, usize, Order), Prepared>);

impl PreparedOnce {
    fn simulation(&mut self, seed: u64, (rows, order): (usize, Order)) -> Simulation {
        let prepared = self.0.entry((seed, rows, order));
        let prepared = prepared.or_insert_with(|| Prepared::new(seed, rows, order));
        Simulation::new(prepared.clone())
    }
}

/// Runs simulations of many seeds on all cores. A seed is always run by the same worker, which keeps
/// its baselines.
struct Seeds(Vec<PreparedOnce>);

impl Seeds {
    fn new() -> Self {
        Self((0..cores()).map(|_| PreparedOnce::default()).collect())
    }

    /// Returns the result of each seed, in order.
    fn run<R: Send>(
        &mut self,
        seeds: u64,
        one: impl Fn(&mut PreparedOnce, u64) -> R + Sync,
    ) -> Vec<R> {
        let workers = self.0.len();
        let mut results: Vec<(u64, R)> = std::thread::scope(|scope| {
            let one = &one;
            let mut threads = Vec::new();
            for (first, past) in self.0.iter_mut().enumerate() {
                threads.push(scope.spawn(move || {
                    let seeds = (first as u64..seeds).step_by(workers);
                    let run = |seed| (seed, one(past, seed));
                    seeds.map(run).collect::<Vec<_>>()
                }));
            }
            let results = threads
                .into_iter()
                .map(|thread| thread.join().expect("ran"));
            results.flatten().collect()
        });
        results.sort_by_key(|(seed, _)| *seed);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

fn subject(baseline: Option<Baseline>) -> WatchSubject {
    WatchSubject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(1).expect("legal"),
        digest: Digest([0; 32]),
        signature: signature(),
        features: Vec::new(),
        baseline,
        task: None,
        slices: Vec::new(),
        rules: ColumnRules::default(),
    }
}

impl Simulation {
    fn new(prepared: Prepared) -> Self {
        let Prepared { baseline, world } = prepared;
        let start = Instant::now();
        Self {
            watch: VersionWatch::new(subject(Some(baseline)), 1, start).expect("its own baseline"),
            incidents: IncidentLog::default(),
            world,
            start,
            step: 0,
            rows: 0,
        }
    }

    /// Lets time pass, until the first incident if `until_told`.
    fn run(&mut self, traffic: Traffic, days: f64, defect: Defect, until_told: bool) -> Told {
        let mut told = Told::default();
        let last = self.step + (days * DAY / 10.0) as u64;
        let (first_row, first_step) = (self.rows, self.step);
        while self.step < last {
            let time = START + PAST_DAYS * DAY + self.step as f64 * 10.0;
            self.ask(traffic.rows(self.step), time, defect);
            self.step += 1;

            let now = self.start + Duration::from_secs(self.step * 10);
            let begun = self.watch.advance(now, time as u64 / 3_600, &settings());
            if begun.is_empty() && self.incidents.open() == 0 {
                continue;
            }
            let report = self.watch.report(&settings());
            let at = DateTime::<Utc>::from_timestamp(time as i64, 0).expect("a time");
            for incident in self.incidents.step(&report, at) {
                use crate::observe::report::incident::IncidentPhase;
                if incident.phase == IncidentPhase::Opened {
                    told.incidents.push(incident.summary);
                    told.rows = told.rows.or(Some(self.rows - first_row));
                    told.seconds = (self.step - first_step) * 10;
                }
            }
            if until_told && told.rows.is_some() {
                break;
            }
        }
        told
    }

    /// Asks for rows, in requests of at most 64.
    fn ask(&mut self, rows: usize, time: f64, defect: Defect) {
        let now = self.start + Duration::from_secs(self.step * 10);
        let mut left = rows;
        while left > 0 {
            let part = left.min(64);
            let rows: Vec<WorldRow> = (0..part).map(|_| self.world.row(time, defect)).collect();
            let tensors = tensors(&rows);
            self.watch.contracts.count(Side::Input, &tensors);
            self.watch.observe(&tensors, &[], (now, &settings()));
            self.rows += part;
            left -= part;
        }
    }
}

/// Draws the rows of a baseline.
fn draw_past(world: &mut SimulatedWorld, rows: usize, order: Order) -> Vec<WorldRow> {
    let every = if order == Order::RandomSplit { 5 } else { 1 };
    let whole = rows * every;
    let most = match order {
        Order::TimeSplit => 0.2 * PAST_DAYS,
        _ => PAST_DAYS,
    };
    let days = (whole as f64 / PAST_ROWS_A_DAY).min(most);
    let from = PAST_DAYS - days;
    let mut past = Vec::with_capacity(rows);
    for at in 0..whole {
        let time = START + (from + days * at as f64 / whole as f64) * DAY;
        let row = world.row(time, Defect::Nothing);
        if every == 1 || world.random.next() < 1.0 / every as f64 {
            past.push(row);
        }
    }
    past
}

/// Runs healthy months. Returns the incidents of all seeds.
fn healthy(
    all: &mut Seeds,
    (traffic, baseline): (Traffic, (usize, Order)),
    (seeds, days): (u64, f64),
) -> Vec<String> {
    let incidents = all.run(seeds, |past, seed| {
        let mut simulation = past.simulation(1_000 + seed, baseline);
        let told = simulation.run(traffic, days, Defect::Nothing, false);
        told.incidents
    });
    incidents.into_iter().flatten().collect()
}

/// Healthy months: the traffic, the baseline, and the columns of which such a baseline cannot know how
/// they move, so that incidents about them are right.
const HEALTHY: &[(Traffic, (usize, Order), &[&str])] = &[
    (Traffic::Bursts, (20_000, Order::Natural), &[]),
    (Traffic::Trickle, (20_000, Order::Natural), &[]),
    (Traffic::Nightly(500), (20_000, Order::Natural), &[]),
    (Traffic::Steady(30), (20_000, Order::Natural), &[]),
    (Traffic::Steady(30), (20_000, Order::RandomSplit), &[]),
    (Traffic::Steady(30), (20_000, Order::TimeSplit), &[]),
    (Traffic::Steady(30), (100_000, Order::Natural), &[]),
    // A random fifth of nine rows a day does not show the day's cycle.
    (
        Traffic::Nightly(500),
        (2_000, Order::RandomSplit),
        &["daily"],
    ),
    // Four days do not show what changes by the month, nor how long values are missing.
    (
        Traffic::Steady(30),
        (200, Order::Natural),
        &["steps", "slow", "trend", "daily", "holes"],
    ),
    (
        Traffic::Trickle,
        (200, Order::RandomSplit),
        &["steps", "slow", "trend", "daily", "holes"],
    ),
];

#[test]
fn healthy_months_open_no_more_incidents_than_promised() {
    let (seeds, cases) = if is_long() {
        (50, HEALTHY.len())
    } else {
        (1, 4)
    };
    let (mut failed, mut all) = (Vec::new(), Seeds::new());
    // The last ones take longest.
    for (traffic, baseline, unknown) in HEALTHY[..cases].iter().rev() {
        let started = Instant::now();
        let days = match traffic {
            _ if !is_long() => 0.15,
            Traffic::Bursts | Traffic::Nightly(_) => 30.0,
            // Each step of ten seconds is simulated.
            Traffic::Steady(_) | Traffic::Trickle => 10.0,
        };
        let incidents = healthy(&mut all, (*traffic, *baseline), (seeds, days));
        let is_known = |text: &&String| !unknown.iter().any(|name| text.starts_with(name));
        let wrong: Vec<&String> = incidents.iter().filter(is_known).collect();
        let months = seeds as f64 * days / 30.0;
        println!(
            "healthy, {traffic:?}, baseline {baseline:?}: {} incidents in {months:.1} months, {} about columns that such a baseline cannot know; {:.0} s",
            wrong.len(),
            incidents.len() - wrong.len(),
            started.elapsed().as_secs_f64()
        );
        wrong
            .iter()
            .take(12)
            .for_each(|text| println!("    {text}"));
        let most = if is_long() { months } else { 0.0 };
        if wrong.len() as f64 > most {
            failed.push(format!("{traffic:?} {baseline:?}: {wrong:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn the_hour_of_a_nightly_job_is_not_stuck() {
    let mut all = Seeds::new();
    let nightly = (Traffic::Nightly(500), (2_000, Order::RandomSplit));
    let incidents = healthy(&mut all, nightly, (1, 4.0));
    let stuck = |text: &&String| text.starts_with("hour has the same value");
    assert_eq!(incidents.iter().find(stuck), None);

    let all_day = all.run(1, |past, seed| {
        let mut simulation = past.simulation(seed, (2_000, Order::RandomSplit));
        simulation.run(Traffic::Steady(6), 1.5, Defect::Stuck("hour", 9.0), false)
    });
    let told = &all_day[0].incidents;
    assert!(told.iter().any(|text| stuck(&text)), "{told:?}");
}

/// How an incident about the inputs together begins.
const TOGETHER: &str = "the numeric inputs fit together otherwise";

/// The defects, and within how many rows half of the seeds must tell each.
const DEFECTS: &[(Defect, usize)] = &[
    (Defect::Moved("normal", 0.25), 6_000),
    (Defect::Moved("normal", 0.5), 2_000),
    (Defect::Times("tail", 1_000.0), 200),
    (Defect::Stuck("same", 4.0), 200),
    (Defect::Missing("normal", 0.05), 2_000),
    (Defect::NewRegion(0.05), 2_000),
    (Defect::Moved("rounded", 0.25), 6_000),
    (Defect::Moved("sticky", 0.5), 6_000),
    // With a baseline of 100,000 rows: 24,000 are worth too few to show it in every case.
    (Defect::Moved("sticky", 0.25), 40_000),
    (Defect::Moved("steps", 3.0), 2_000),
    (Defect::Moved("daily", 3.0), 2_000),
    (Defect::Times("tail", 2.0), 2_000),
    (Defect::Times("zeros", 10.0), 20_000),
    (Defect::Times("cauchy", 3.0), 4_000),
    (Defect::Times("ts", 1_000.0), 200),
    (Defect::Stuck("normal", 0.0), 2_000),
    (Defect::Stuck("code", 3.0), 2_000),
    // Twenty-six hours: a day and two hours more.
    (Defect::Stuck("hour", 9.0), 60 * 60 * 27),
    (Defect::Missing("holes", 0.5), 2_000),
    (Defect::Code(99.0, 0.05), 2_000),
    (Defect::OtherMix(0.5), 2_000),
    // A fifth of the rows: the whole moves by a tenth of a deviation, which does not matter.
    (Defect::MovedIn("east", "normal", 0.5), 12_000),
    (Defect::Parted, 6_000),
];

#[test]
fn each_defect_opens_an_incident_about_its_column() {
    let seeds: u64 = if is_long() { 50 } else { 1 };
    let cases = if is_long() { DEFECTS } else { &DEFECTS[..6] };
    let (mut failed, mut all) = (Vec::new(), Seeds::new());
    for (defect, within) in cases.iter().copied() {
        let (mut rows, mut elsewhere) = (Vec::new(), 0);
        let name = match defect {
            Defect::Moved(name, _)
            | Defect::Times(name, _)
            | Defect::Stuck(name, _)
            | Defect::Missing(name, _) => name,
            Defect::Code(..) => "code",
            Defect::NewRegion(_) | Defect::OtherMix(_) => "region",
            Defect::MovedIn(..) => "normal where region is ",
            Defect::Parted => TOGETHER,
            Defect::Nothing => unreachable!("no defect"),
        };
        // A value that is stuck for a day needs time, not rows.
        let rows_a_minute = match defect {
            Defect::Stuck("hour", _) => 60,
            _ => 1_200,
        };
        let baseline_rows = match defect {
            Defect::Moved("sticky", 0.25) => 100_000,
            _ => 24_000,
        };
        let days = (20 * within) as f64 / (rows_a_minute * 1_440) as f64;
        let (mut before, mut waited) = (0, 0.0);
        let all_told = all.run(seeds, |past, seed| {
            let mut simulation = past.simulation(2_000 + seed, (baseline_rows, Order::Natural));
            let traffic = Traffic::Steady(rows_a_minute);
            let healthy = simulation.run(traffic, 0.02, Defect::Nothing, false);
            (
                healthy,
                simulation.run(traffic, days.min(3.0), defect, true),
            )
        });
        for (seed, (healthy, told)) in all_told.into_iter().enumerate() {
            waited += 0.02;
            before += healthy.incidents.len();
            for incident in healthy.incidents {
                println!("    seed {seed}, before the defect: {incident}");
            }
            let first = told.incidents.first().map_or("", String::as_str);
            // `normal` and `paired` go together: a change of one is seen in both together first.
            let is_pair = name == "normal" && first.starts_with(TOGETHER);
            let is_right = first.starts_with(name) || is_pair;
            if !is_right && told.rows.is_some() {
                elsewhere += 1;
                println!("    seed {seed}: {first}");
            }
            rows.extend(told.rows.filter(|_| is_right));
        }
        rows.sort_unstable();
        let median = rows.get(rows.len() / 2).copied();
        println!(
            "{defect:?}: told by {} of {seeds} seeds, median {median:?} rows, at most {:?}; {elsewhere} elsewhere, {before} before it in {waited:.1} days",
            rows.len(),
            rows.last()
        );
        if rows.len() as u64 * 10 < seeds * 9 || median.is_none_or(|m| m > within) {
            failed.push((defect, median, within));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
