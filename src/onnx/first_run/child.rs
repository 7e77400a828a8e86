//! The child's side of a first run: reads the order and the model, limits
//! itself, runs the model and writes the verdict.

use super::{FirstRunMeasures, FirstRunOrder, FirstRunVerdict, Passed};
use crate::core::error::{Error, Kind, Result};
use crate::onnx::batchability::{self, BatchSubject, KnownInputs, SampleInputs};
use crate::onnx::golden::Golden;
use crate::onnx::graph::Graph;
use crate::onnx::rows;
use crate::onnx::runtime::onnx::OnnxRuntime;
use crate::onnx::runtime::{Engine, Session, SessionSource};
use crate::sandbox::limits::OwnLimits;
use crate::sandbox::supervise::{read_request, write_answer};
use bytes::Bytes;
use std::io::{self, BufReader, Read};
use std::time::Instant;

/// The longest order that is read.
const ORDER_BYTES_MAX: u64 = 1 << 20;
/// Golden rows that are created, if requests may be merged; else one.
const GOLDEN_ROWS: usize = 3;
/// Bytes of a page, as the kernel counts resident memory.
const PAGE_BYTES: u64 = 4096;

/// Runs as the child process.
pub(crate) fn run() -> Result<()> {
    let mut input = BufReader::new(io::stdin().lock());
    let order: FirstRunOrder = read_request(&mut input, ORDER_BYTES_MAX)?;
    let bytes = read_part(&mut input, order.model_bytes)?;
    let golden = read_part(&mut input, order.golden_bytes)?;

    let limits = OwnLimits {
        parent: order.parent,
        memory_bytes: order.memory_bytes,
        cpu_seconds: order.cpu_seconds,
    };

    limits.apply()?;

    let verdict = match probe(&order, bytes.into(), &golden) {
        Ok(passed) => FirstRunVerdict::Passed(passed),
        Err(error) => FirstRunVerdict::Refused(error.message),
    };

    write_answer(&verdict)
}

fn read_part(input: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::invalid("the model on standard input is unreadable").with_source(e))?;
    Ok(bytes)
}

fn probe(order: &FirstRunOrder, bytes: Bytes, golden: &[u8]) -> Result<Passed> {
    let signature = Graph::read(bytes.clone())?.signature;
    let verdict = rows::analyse(&bytes);
    let engine = OnnxRuntime::load(&order.library)?;
    let source = SessionSource {
        bytes,
        external_dir: order.external_dir.clone(),
    };

    let start = Instant::now();
    let mut session = engine.open(&source, &order.options)?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;

    let mut known = KnownInputs::default();
    if !golden.is_empty() {
        let golden = Golden::read(golden)?;
        golden.check(&signature, session.as_mut(), usize::MAX)?;
        known.rows = golden.rows(&signature);
    }
    let mut passed = Passed {
        measured: FirstRunMeasures {
            load_ms,
            one_row_us: None,
            largest_us: None,
            rss_bytes: 0,
            batchable: false,
        },
        golden: None,
    };

    match SampleInputs::find(&signature, session.as_mut()) {
        Ok(sample) => {
            let subject = BatchSubject {
                signature: &signature,
                verdict: &verdict,
                sample: &sample,
                known: &known,
            };
            let checked = batchability::check(&subject, session.as_mut());
            passed.measured.batchable = checked.is_ok();
            measure(order, &sample, session.as_mut(), &mut passed)?;
        }
        // Small generated inputs may be invalid for a model, but no model may use all
        // memory.
        Err(error) if error.kind == Kind::ResourceExhausted => return Err(error),
        Err(_) => {}
    }

    passed.measured.rss_bytes = resident_bytes();
    Ok(passed)
}

/// Times runs and creates golden rows, on generated inputs.
fn measure(
    order: &FirstRunOrder,
    sample: &SampleInputs,
    session: &mut dyn Session,
    passed: &mut Passed,
) -> Result<()> {
    let measured = &mut passed.measured;
    measured.one_row_us = Some(run_us(sample, session, 1)?);

    let rows = if measured.batchable { order.rows } else { 1 };
    // The first run of a new shape is slower than those after it.
    run_us(sample, session, rows)?;
    measured.largest_us = Some(run_us(sample, session, rows)?);

    if order.create_golden {
        let rows = if measured.batchable { GOLDEN_ROWS } else { 1 };
        let golden = sample.golden(session, rows)?.map(|golden| golden.write());
        // Golden rows that cannot be read back would make every server refuse the
        // version.
        passed.golden = golden
            .filter(|g| Golden::read(g).is_ok())
            .and_then(|g| String::from_utf8(g).ok());
    }

    Ok(())
}

fn run_us(sample: &SampleInputs, session: &mut dyn Session, rows: usize) -> Result<f64> {
    Ok(sample.time(session, rows)?.as_secs_f64() * 1e6)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|n| n.parse().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}
