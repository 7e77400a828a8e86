//! Measures a model with different numbers of lanes, threads and rows, as lanes would run it, and
//! chooses the settings with the most rows a second within a limit of latency.

mod choice;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::tensor::batch::repeated;
use crate::core::tensor::{Tensor, View};
use crate::onnx::batchability::SampleInputs;
use crate::onnx::runtime::{Engine, Session, SessionOptions, SessionSource};
use crate::serve::manager::load::lanes::{LaneSessions, number_of_lanes};
pub(crate) use choice::{TuneChoice, choose};
use std::time::{Duration, Instant};

/// Runs of each lane that a point is measured with, at least.
const RUNS_MIN: usize = 3;
/// The shortest measurement of a point.
const POINT_MIN: Duration = Duration::from_millis(40);
/// Larger batches are not tried once this share of the best was not reached twice.
const FALLEN: f64 = 0.8;
/// Points that are measured again at the end, beside the default.
const FINALISTS: usize = 3;
/// Measurements of each finalist, in turns.
const FINAL_ROUNDS: usize = 3;

/// What is measured, and within which limits.
pub(crate) struct TuneSubject<'t> {
    pub engine: &'t dyn Engine,
    pub source: &'t SessionSource,
    /// Spinning and providers; the threads are varied.
    pub options: SessionOptions,
    pub inputs: TuneInputs,
    /// The hardware on which the sessions run.
    pub provider: &'t str,
    /// Cores for lanes times threads; on the CPU only.
    pub cores: usize,
    /// Most rows of a batch; 1 if requests of the model are not merged.
    pub rows_max: usize,
    /// About how long all takes.
    pub time: Duration,
    /// The longest time for an answer that is wanted.
    pub slo: Option<Duration>,
}

/// The rows that are run.
pub(crate) enum TuneInputs {
    /// Generated, one by one.
    Generated(SampleInputs),
    /// The tensors of a request, with its rows; a batch is so many copies of it.
    Given(Vec<Tensor>, usize),
}

impl TuneInputs {
    /// Rows of the smallest batch.
    fn unit(&self) -> usize {
        match self {
            Self::Generated(_) => 1,
            Self::Given(_, rows) => *rows,
        }
    }

    /// A batch of so many rows, a multiple of the unit.
    fn batch(&self, rows: usize) -> Result<Vec<Tensor>> {
        match self {
            Self::Generated(sample) => sample.generate(rows),
            Self::Given(tensors, unit) if rows == *unit => Ok(tensors.clone()),
            Self::Given(tensors, unit) => {
                let copies = |tensor| repeated(tensor, rows / unit);
                tensors.iter().map(copies).collect()
            }
        }
    }
}

/// Lanes and the threads of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct LaneThreads {
    pub lanes: usize,
    pub intra_op_threads: usize,
}

/// A measured point.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct TunePoint {
    #[serde(flatten)]
    pub threads: LaneThreads,
    /// Rows of each batch.
    pub rows: usize,
    /// Runs of all lanes.
    pub runs: usize,
    /// Of all lanes, by the median duration.
    pub rows_per_second: f64,
    /// Median duration of a run.
    pub p50_seconds: f64,
    /// Duration that one run of 20 exceeds.
    pub p95_seconds: f64,
}

impl TunePoint {
    /// About the longest time for an answer under full load: a request waits for one run and is in the next.
    pub(crate) fn answer_seconds(&self) -> f64 {
        2.0 * self.p95_seconds
    }
}

/// Lanes that are tried on other hardware than the CPU, after the default.
const OTHER_DEVICE_LANES: [usize; 2] = [1, 4];

/// The lanes and threads that are tried on so many cores, the default first.
pub(crate) fn candidates(provider: &str, cores: usize) -> Vec<LaneThreads> {
    if provider != "cpu" {
        let default = number_of_lanes(0, 1, provider, cores);
        let tried = [default].into_iter().chain(OTHER_DEVICE_LANES);
        let tried = tried.map(|lanes| LaneThreads {
            lanes,
            intra_op_threads: 1,
        });
        return tried.collect();
    }

    let mut tried = Vec::new();
    let mut threads = 1;
    while threads <= cores {
        tried.push(LaneThreads {
            lanes: (cores / threads).max(1),
            intra_op_threads: threads,
        });
        threads *= 2;
    }
    if !cores.is_power_of_two() {
        tried.push(LaneThreads {
            lanes: 1,
            intra_op_threads: cores,
        });
    }
    tried
}

/// Measures every candidate, and the best ones again in turns. `say` gets each point.
pub(crate) fn measure(
    subject: &TuneSubject<'_>,
    say: &dyn Fn(&TunePoint),
) -> Result<Vec<TunePoint>> {
    let candidates = candidates(subject.provider, subject.cores);
    let sizes = sizes(subject.inputs.unit(), subject.rows_max);
    // Half of the time is for the finalists.
    let slots = candidates.len() * sizes.len() * 2;
    let slot = (subject.time / u32::try_from(slots).unwrap_or(u32::MAX)).max(POINT_MIN);

    let mut points = Vec::new();
    for threads in candidates {
        let mut lanes = open(subject, threads)?;
        points.extend(measure_lanes(subject, &mut lanes, threads, &sizes, slot)?);
    }
    points.iter().for_each(say);

    let finalists = finalists(&points, subject.slo);
    let rounds = finalists.len() * FINAL_ROUNDS * 2;
    let slot = (subject.time / u32::try_from(rounds).unwrap_or(u32::MAX)).max(POINT_MIN);
    let mut again: Vec<Vec<TunePoint>> = vec![Vec::new(); finalists.len()];
    for _ in 0..FINAL_ROUNDS {
        for (at, point) in finalists.iter().enumerate() {
            let mut lanes = open(subject, points[*point].threads)?;
            let (threads, rows) = (points[*point].threads, points[*point].rows);
            again[at].push(measure_point(subject, &mut lanes, threads, rows, slot)?);
        }
    }
    for (at, measured) in finalists.into_iter().zip(again) {
        points[at] = median(measured);
    }
    Ok(points)
}

/// Doubled rows from one unit on.
fn sizes(unit: usize, rows_max: usize) -> Vec<usize> {
    let doubled = std::iter::successors(Some(unit), |rows| Some(rows * 2));
    let mut sizes: Vec<_> = doubled.take_while(|rows| *rows <= rows_max).collect();
    if sizes.is_empty() {
        sizes.push(unit);
    }
    sizes
}

/// The places of the points that are measured again: the best, and the best of the default.
fn finalists(points: &[TunePoint], slo: Option<Duration>) -> Vec<usize> {
    let mut places: Vec<usize> = (0..points.len()).collect();
    places.sort_by(|a, b| choice::order(&points[*a], &points[*b], slo));
    let default = points[0].threads;
    let of_default = places
        .iter()
        .copied()
        .find(|at| points[*at].threads == default);
    places.truncate(FINALISTS);
    places.extend(of_default.filter(|at| !places.contains(at)));
    places
}

/// The measurement in the middle by rows a second.
fn median(mut measured: Vec<TunePoint>) -> TunePoint {
    measured.sort_by(|a, b| a.rows_per_second.total_cmp(&b.rows_per_second));
    measured.swap_remove(measured.len() / 2)
}

fn open(subject: &TuneSubject<'_>, threads: LaneThreads) -> Result<Vec<Box<dyn Session>>> {
    let options = SessionOptions {
        intra_op_threads: threads.intra_op_threads,
        ..subject.options.clone()
    };
    let mut lanes = LaneSessions::open(subject.engine, subject.source, &options)?;
    lanes.fill(subject.engine, subject.source, &options, threads.lanes)?;
    Ok(lanes.sessions)
}

/// Measures growing batches as long as they may pay and fit into the limit of latency.
fn measure_lanes(
    subject: &TuneSubject<'_>,
    lanes: &mut [Box<dyn Session>],
    threads: LaneThreads,
    sizes: &[usize],
    slot: Duration,
) -> Result<Vec<TunePoint>> {
    let mut points: Vec<TunePoint> = Vec::new();
    let mut best = 0.0_f64;
    for rows in sizes {
        let point = measure_point(subject, lanes, threads, *rows, slot)?;
        best = best.max(point.rows_per_second);
        let is_late = |slo: Duration| point.answer_seconds() > slo.as_secs_f64();
        let ends = subject.slo.is_some_and(is_late);
        points.push(point);
        let fallen = points.iter().rev().take(2);
        let has_fallen = fallen.filter(|p| p.rows_per_second < FALLEN * best).count() == 2;
        if ends || has_fallen {
            break;
        }
    }
    Ok(points)
}

/// Lets every lane run batches of so many rows at the same time.
fn measure_point(
    subject: &TuneSubject<'_>,
    lanes: &mut [Box<dyn Session>],
    threads: LaneThreads,
    rows: usize,
    slot: Duration,
) -> Result<TunePoint> {
    let inputs = subject.inputs.batch(rows)?;
    for lane in &mut *lanes {
        // The first run of a shape is slower.
        run(lane.as_mut(), &inputs)?;
    }

    let start = Instant::now();
    let runs = std::thread::scope(|scope| {
        let started: Vec<_> = lanes
            .iter_mut()
            .map(|lane| scope.spawn(|| run_until(lane.as_mut(), &inputs, start + slot)))
            .collect();
        let ended = started.into_iter().map(|lane| {
            let ended = lane.join();
            ended.unwrap_or_else(|_| Err(Error::internal("a lane failed while it was measured")))
        });
        ended.collect::<Result<Vec<_>>>()
    })?;

    let mut all: Vec<Duration> = runs.into_iter().flatten().collect();
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize].as_secs_f64();
    // By the median, because other processes delay single runs by milliseconds.
    let p50_seconds = at(0.5);
    Ok(TunePoint {
        threads,
        rows,
        runs: all.len(),
        rows_per_second: (rows * threads.lanes) as f64 / p50_seconds.max(f64::MIN_POSITIVE),
        p50_seconds,
        p95_seconds: at(0.95),
    })
}

/// Runs again and again, and returns how long each run took.
fn run_until(
    session: &mut dyn Session,
    inputs: &[Tensor],
    until: Instant,
) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    while took.len() < RUNS_MIN || Instant::now() < until {
        let start = Instant::now();
        run(session, inputs)?;
        took.push(start.elapsed());
    }
    Ok(took)
}

fn run(session: &mut dyn Session, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
    session.run(&views)
}
