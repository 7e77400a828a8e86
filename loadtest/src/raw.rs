//! The yardstick of the model: ONNX Runtime in a loop on made-up rows, with the
//! session options Ortus uses and no server around it.

use crate::{Error, Result, cpu};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{TensorElementType, TensorRef, ValueType};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to run, and for how long.
pub(crate) struct Loop {
    pub model: PathBuf,
    pub rows: usize,
    pub length: Duration,
    pub library: Option<PathBuf>,
}

/// What a dynamic dimension becomes that is not the first.
const LENGTH: i64 = 16;
const WARM_UP_RUNS: usize = 20;

/// Runs the loop and returns microseconds per run, wall and CPU.
pub(crate) fn measure(asked: &Loop) -> Result<Value> {
    let library = asked
        .library
        .clone()
        .or_else(|| std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from));
    let library = library.ok_or("--library or ORT_DYLIB_PATH is needed")?;
    let environment = ort::init_from(library)?
        .with_name("raw")
        .with_telemetry(false)
        .build()?;
    let mut session = Session::builder(&environment)
        .and_then(|b| Ok(b.with_optimization_level(GraphOptimizationLevel::All)?))
        .and_then(|b| Ok(b.with_intra_threads(1)?))
        .and_then(|b| Ok(b.with_inter_threads(1)?))
        .and_then(|b| Ok(b.with_intra_op_spinning(false)?))
        .and_then(|b| Ok(b.with_inter_op_spinning(false)?))
        .and_then(|b| Ok(b.with_memory_pattern(false)?))
        .and_then(|mut b| b.commit_from_file(&asked.model))
        .map_err(|e| e.to_string())?;
    let shape = shape(&session, asked.rows)?;
    let count: i64 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i % 17) as f32 / 17.0).collect();
    let mut once = || -> Result<()> {
        let input = TensorRef::from_array_view((shape.clone(), values.as_slice()))?;
        session.run(ort::inputs![input])?;
        Ok(())
    };
    (0..WARM_UP_RUNS).try_for_each(|_| once())?;
    let (before, start, mut runs) = (cpu::used("self")?, Instant::now(), 0u32);
    while start.elapsed() < asked.length {
        once()?;
        runs += 1;
    }
    let (wall, used) = (start.elapsed(), cpu::used("self")?.saturating_sub(before));
    let per_run = |d: Duration| d.as_secs_f64() * 1e6 / f64::from(runs.max(1));
    Ok(
        json!({ "rows": asked.rows, "runs": runs, "wall_us": per_run(wall), "cpu_us": per_run(used) }),
    )
}

fn shape(session: &Session, rows: usize) -> Result<Vec<i64>> {
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
        (_, ..0) => LENGTH,
        (_, n) => n,
    };
    Ok(shape.iter().enumerate().map(sized).collect())
}
