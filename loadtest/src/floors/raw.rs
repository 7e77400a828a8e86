//! The floor of the model: ONNX Runtime in a loop, with the session options that
//! Ortus uses and no server around it, on any grid of rows, lanes and threads.

use crate::{Error, Result, process};
use ort::ep::ArbitrarilyConfigurableExecutionProvider;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{TensorElementType, TensorRef, ValueType};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// What to run, and for how long each.
#[derive(clap::Args)]
pub(crate) struct Grid {
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Rows of one run.
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "N,N")]
    pub rows: Vec<usize>,
    /// Sessions that run at the same time, each on a thread of its own.
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "N,N")]
    pub lanes: Vec<usize>,
    /// Threads within an operator.
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "N,N")]
    pub intra: Vec<usize>,
    /// The size of a dynamic axis other than the first.
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub length: i64,
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// One cell for all `--rows`: each run has the next of them, so each changes the shape.
    #[arg(long)]
    pub changing: bool,
    /// The hardware of the sessions. Where the library or the machine lacks it, the
    /// command fails.
    #[arg(long, value_enum, default_value_t = RawProvider::Cpu)]
    pub provider: RawProvider,
    /// An option of the CUDA provider, in its own words; may be repeated.
    #[arg(long = "provider-option", value_name = "KEY=VALUE", value_parser = option)]
    pub options: Vec<(String, String)>,
    /// The ONNX Runtime library [default: $ORT_DYLIB_PATH].
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
}

fn option(text: &str) -> std::result::Result<(String, String), String> {
    let split = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((split.0.to_owned(), split.1.to_owned()))
}

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(crate) enum RawProvider {
    Cpu,
    Cuda,
}

/// One point of the grid.
#[derive(Clone, Copy)]
struct Cell<'g> {
    /// Of the runs, in turn.
    rows: &'g [usize],
    lanes: usize,
    intra: usize,
    grid: &'g Grid,
}

/// Runs before the clock starts, and the time they may take.
const WARM_UP_RUNS: usize = 20;
const WARM_UP: Duration = Duration::from_millis(300);

/// ONNX Runtime, from its library.
pub(crate) struct Runtime(ort::environment::Environment);

impl Runtime {
    pub(crate) fn load(library: Option<&Path>) -> Result<Self> {
        let named = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
        let library = library.map(Path::to_path_buf).or(named);
        let library = library.ok_or("--library or ORT_DYLIB_PATH is needed")?;
        let environment = ort::init_from(library)?
            .with_name("raw")
            .with_telemetry(false)
            .build()?;
        Ok(Self(environment))
    }

    /// Opens a model on the CPU with so many threads within an operator.
    pub(crate) fn open(&self, model: &Path, intra: usize) -> Result<Session> {
        self.open_on(RawProvider::Cpu, &[], model, intra)
    }

    fn open_on(
        &self,
        provider: RawProvider,
        options: &[(String, String)],
        model: &Path,
        intra: usize,
    ) -> Result<Session> {
        Session::builder(&self.0)
            .and_then(|b| Ok(b.with_optimization_level(GraphOptimizationLevel::All)?))
            .and_then(|b| Ok(b.with_intra_threads(intra)?))
            .and_then(|b| Ok(b.with_inter_threads(1)?))
            .and_then(|b| Ok(b.with_intra_op_spinning(false)?))
            .and_then(|b| Ok(b.with_inter_op_spinning(false)?))
            .and_then(|b| Ok(b.with_memory_pattern(false)?))
            .and_then(|b| register(b, provider, options))
            .and_then(|mut b| b.commit_from_file(model))
            .map_err(|e| e.to_string().into())
    }
}

/// Adds the provider; ONNX Runtime then fails instead of running on the CPU.
fn register(
    builder: SessionBuilder,
    provider: RawProvider,
    options: &[(String, String)],
) -> ort::Result<SessionBuilder> {
    match provider {
        RawProvider::Cpu => Ok(builder),
        RawProvider::Cuda => {
            let mut cuda = ort::ep::CUDA::default();
            for (key, value) in options {
                cuda = cuda.with_arbitrary_config(key, value);
            }
            let cuda = cuda.build().error_on_failure();
            Ok(builder.with_execution_providers([cuda])?)
        }
    }
}

/// Runs the grid; prints a JSON line for each cell. The first has the time to open.
pub(crate) fn measure(grid: &Grid) -> Result<()> {
    let runtime = Runtime::load(grid.library.as_deref())?;
    let turns = if grid.changing { grid.rows.len() } else { 1 };
    for &intra in &grid.intra {
        for &lanes in &grid.lanes {
            for rows in grid.rows.chunks(turns.max(1)) {
                let cell = Cell {
                    rows,
                    lanes,
                    intra,
                    grid,
                };
                println!("{}", run(&runtime, cell)?);
            }
        }
    }
    Ok(())
}

fn run(runtime: &Runtime, cell: Cell<'_>) -> Result<Value> {
    let grid = cell.grid;
    let begin = Instant::now();
    let open = |_| runtime.open_on(grid.provider, &grid.options, &grid.model, cell.intra);
    let sessions = (0..cell.lanes.max(1)).map(open);
    let sessions = sessions.collect::<Result<Vec<_>>>()?;
    let opened = begin.elapsed();
    let (barrier, lanes) = (&Barrier::new(sessions.len() + 1), sessions.len());
    let (all, wall, cpu) = std::thread::scope(|scope| {
        let lane = |session| scope.spawn(move || lane(session, cell, barrier));
        let threads: Vec<_> = sessions.into_iter().map(lane).collect();
        barrier.wait();
        let (before, start) = (process::used("self")?, Instant::now());
        let mut all = LaneRuns::default();
        for thread in threads {
            all.add(thread.join().map_err(|_| "a lane panicked")??);
        }
        let cpu = process::used("self")?.saturating_sub(before);
        Ok::<_, Error>((all, start.elapsed(), cpu))
    })?;
    let count = f64::from(all.runs.max(1));
    let rows = match cell.rows {
        [rows] => json!(rows),
        changing => json!(changing),
    };
    Ok(json!({
        "rows": rows, "lanes": cell.lanes, "intra": cell.intra, "runs": all.runs,
        "open_ms": opened.as_secs_f64() * 1e3 / lanes as f64,
        "first_run_ms": all.first.as_secs_f64() * 1e3,
        "resident_mb": all.resident_mb,
        "wall_us": wall.as_secs_f64() * 1e6 * lanes as f64 / count,
        "cpu_us": cpu.as_secs_f64() * 1e6 / count,
        "rows_per_s": all.rows as f64 / wall.as_secs_f64(),
    }))
}

/// What lanes did.
#[derive(Default)]
struct LaneRuns {
    runs: u32,
    /// Of all runs.
    rows: usize,
    /// The time of the very first run.
    first: Duration,
    /// The resident memory of the process before a session was dropped.
    resident_mb: f64,
}

impl LaneRuns {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.rows += other.rows;
        self.first = self.first.max(other.first);
        self.resident_mb = self.resident_mb.max(other.resident_mb);
    }
}

/// Runs one session for a while once all lanes are warm.
fn lane(mut session: Session, cell: Cell<'_>, barrier: &Barrier) -> Result<LaneRuns> {
    let prepared: Result<Vec<_>> = cell
        .rows
        .iter()
        .map(|n| prepare(&session, cell, *n))
        .collect();
    let begin = Instant::now();
    let mut first = Duration::ZERO;
    let warmed = prepared.and_then(|turns| {
        for run in 0..WARM_UP_RUNS.max(turns.len()) {
            let (shape, values) = &turns[run % turns.len()];
            once(&mut session, shape, values)?;
            if run == 0 {
                first = begin.elapsed();
            }
            if begin.elapsed() > WARM_UP && run >= turns.len() {
                break;
            }
        }
        Ok(turns)
    });
    // Whatever happened, the others wait for this lane.
    barrier.wait();
    let turns = warmed?;
    let length = crate::span(cell.grid.seconds);
    let (start, mut runs, mut rows) = (Instant::now(), 0, 0);
    for (at, (shape, values)) in turns.iter().enumerate().cycle() {
        if start.elapsed() >= length {
            break;
        }
        once(&mut session, shape, values)?;
        runs += 1;
        rows += cell.rows[at];
    }
    Ok(LaneRuns {
        runs,
        rows,
        first,
        resident_mb: process::resident_mb("self")?,
    })
}

fn once(session: &mut Session, shape: &[i64], values: &[f32]) -> Result<()> {
    let input = TensorRef::from_array_view((shape.to_vec(), values))?;
    session.run(ort::inputs![input])?;
    Ok(())
}

fn prepare(session: &Session, cell: Cell<'_>, rows: usize) -> Result<(Vec<i64>, Vec<f32>)> {
    let shape = shape(session, cell.grid.length, rows)?;
    let count: i64 = shape.iter().product();
    let values = (0..count).map(|i| (i % 17) as f32 / 17.0).collect();
    Ok((shape, values))
}

fn shape(session: &Session, length: i64, rows: usize) -> Result<Vec<i64>> {
    let [input] = session.inputs() else {
        return Err("the model must have one input".into());
    };
    let ValueType::Tensor {
        ty: TensorElementType::Float32,
        shape,
        ..
    } = input.dtype()
    else {
        return Err(Error::from("the input must be an FP32 tensor"));
    };
    let rows = i64::try_from(rows)?;
    let sized = |(axis, n): (usize, &i64)| match (axis, *n) {
        (0, ..0) => rows,
        (_, ..0) => length,
        (_, n) => n,
    };
    Ok(shape.iter().enumerate().map(sized).collect())
}

/// Answers `x`, one row of the shape `width`, as the model does.
pub(crate) fn answer(
    session: &mut Session,
    width: &[i64],
    x: &[f32],
) -> Result<(Vec<i64>, Vec<f32>)> {
    let shape = [&[1], width].concat();
    let input = TensorRef::from_array_view((shape, x))?;
    let outputs = session.run(ort::inputs![input])?;
    let (shape, values) = outputs[0].try_extract_tensor::<f32>()?;
    Ok((shape.to_vec(), values.to_vec()))
}
