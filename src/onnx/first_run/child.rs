//! The child's side of a first run: reads the order and the model, limits
//! itself, runs the model and writes the verdict.

use super::{
    FirstRunMeasures, FirstRunOrder, FirstRunScope, FirstRunVerdict, GeneratedRuns, ONE_ROW_MAX,
    PaddingTested, Passed,
};
use crate::core::error::{Error, Kind, Result};
use crate::core::model::Signature;
use crate::core::model::padding::PaddingPlan;
use crate::onnx::batchability::{
    self, BatchSubject, KnownInputs, PaddingSubject, SampleInputs, check_padding,
};
use crate::onnx::golden::Golden;
use crate::onnx::graph::Graph;
use crate::onnx::rows::{self, RowVerdict};
use crate::onnx::runtime::onnx::OnnxRuntime;
use crate::onnx::runtime::{Engine, Session, SessionSource};
use crate::sandbox::limits::{self, OwnLimits};
use crate::sandbox::supervise::{read_request, write_answer};
use bytes::Bytes;
use parking_lot::Mutex;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest order that is read.
const ORDER_BYTES_MAX: u64 = 1 << 20;
/// Golden rows that are created, if requests may be merged; else one.
const GOLDEN_ROWS: usize = 3;
/// Bytes of a page, as the kernel counts resident memory.
const PAGE_BYTES: u64 = 4096;

/// What has passed so far. Whoever takes it out writes the verdict.
type PassedSoFar = Arc<Mutex<Option<Passed>>>;

/// Runs as the child process.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    let mut input = BufReader::new(io::stdin().lock());
    let order: FirstRunOrder = read_request(&mut input, ORDER_BYTES_MAX)?;
    let bytes = read_part(&mut input, order.model_bytes)?;
    let golden = read_part(&mut input, order.golden_bytes)?;
    let values = read_part(&mut input, order.known_bytes)?;

    let own = OwnLimits {
        parent: order.parent,
        memory_bytes: order.memory_bytes,
        cpu_seconds: order.cpu_seconds,
    };

    own.apply()?;
    if order.scope == FirstRunScope::Test {
        limits::yield_to_others();
    }

    let known = KnownInputs {
        rows: Vec::new(),
        values: serde_json::from_slice(&values).unwrap_or_default(),
    };
    let progress = PassedSoFar::default();
    let probed = ProbedModel::open(&order, bytes.into(), &golden, known)
        .and_then(|opened| opened.run_generated(&order, start, &progress));
    // If the time is up meanwhile, the process ends here.
    let mut held = progress.lock();
    held.take();
    let verdict = match probed {
        Ok(passed) => FirstRunVerdict::Passed(Box::new(passed)),
        Err(error) => FirstRunVerdict::Refused(error.message),
    };

    let written = write_answer(&verdict);
    drop(held);
    written
}

/// Writes what has passed so far when the time for generated inputs is up, and ends the process. A run
/// within one node cannot be ended otherwise.
fn end_after(limit: Duration, progress: &PassedSoFar) {
    let progress = Arc::clone(progress);
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        let mut held = progress.lock();
        let Some(mut passed) = held.take() else {
            return;
        };
        let late = format!(
            "its runs on generated inputs took over {:.1} s",
            limit.as_secs_f64()
        );
        passed.generated.is_slow = true;
        let has_verdict = passed.measured.batchable || passed.generated.alone.is_some();
        match has_verdict {
            // Only the test of padding had not ended.
            true => passed.generated.padding = Some(PaddingTested::Refuted(late)),
            false => passed.generated.refused = Some(late),
        }
        passed.measured.rss_bytes = resident_bytes();
        let is_written = write_answer(&FirstRunVerdict::Passed(Box::new(passed))).is_ok();
        limits::end_at_once(i32::from(!is_written));
    });
}

/// The time for generated inputs: a part of what the parent allows.
fn generated_limit(order: &FirstRunOrder, start: Instant) -> Duration {
    let whole = Duration::from_millis(order.timeout_ms).mul_f64(0.8);
    let left = whole.saturating_sub(start.elapsed());
    match order.scope {
        FirstRunScope::OneRow => left.min(ONE_ROW_MAX),
        FirstRunScope::Test | FirstRunScope::All => left,
    }
}

fn read_part(input: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::invalid("the model on standard input is unreadable").with_source(e))?;
    Ok(bytes)
}

/// A model whose session was opened and whose golden rows agree.
struct ProbedModel {
    signature: Signature,
    plan: Option<PaddingPlan>,
    verdict: RowVerdict,
    known: KnownInputs,
    session: Box<dyn Session>,
    load_ms: f64,
}

impl ProbedModel {
    fn open(
        order: &FirstRunOrder,
        bytes: Bytes,
        golden: &[u8],
        mut known: KnownInputs,
    ) -> Result<Self> {
        let Graph {
            signature,
            axis_names,
            ..
        } = Graph::read(bytes.clone())?;
        let padding = order.padding.as_ref();
        let padding = padding.filter(|_| order.scope == FirstRunScope::Test);
        let plan = padding.map(|padding| PaddingPlan::resolve(padding, &signature, &axis_names));
        let plan = plan.transpose()?;
        let verdict = rows::analyse(&bytes);
        let engine = OnnxRuntime::load(&order.library)?;
        let source = SessionSource {
            bytes,
            external_dir: order.external_dir.clone(),
        };

        let start = Instant::now();
        let mut session = engine.open(&source, &order.options)?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;

        if !golden.is_empty() {
            let golden = Golden::read(golden)?;
            golden.check(&signature, session.as_mut(), usize::MAX)?;
            known.rows = golden.rows(&signature);
        }
        Ok(Self {
            signature,
            plan,
            verdict,
            known,
            session,
            load_ms,
        })
    }

    /// Runs generated inputs, within their time.
    fn run_generated(
        mut self,
        order: &FirstRunOrder,
        start: Instant,
        progress: &PassedSoFar,
    ) -> Result<Passed> {
        let mut passed = Passed {
            measured: FirstRunMeasures {
                load_ms: self.load_ms,
                one_row_us: None,
                largest_us: None,
                rss_bytes: 0,
                batchable: false,
            },
            golden: None,
            generated: GeneratedRuns::default(),
        };
        *progress.lock() = Some(passed.clone());
        end_after(generated_limit(order, start), progress);

        match SampleInputs::find(&self.signature, self.session.as_mut()) {
            Ok(sample) => {
                passed.generated.size = Some(sample.size());
                passed.generated.integers = Some(sample.integers());
                let answered = sample.answered(self.session.as_mut());
                self.signature.follow(&answered);
                passed.generated.answered = answered;
                self.test(order, &sample, &mut passed)?;
                self.test_padding(&sample, &mut passed, progress);
            }
            // Small generated inputs may be invalid for a model, but no model may use all
            // memory.
            Err(error) if error.kind == Kind::ResourceExhausted => return Err(error),
            Err(error) => passed.generated.refused = Some(error.message),
        }

        passed.measured.rss_bytes = resident_bytes();
        Ok(passed)
    }

    fn test(
        &mut self,
        order: &FirstRunOrder,
        sample: &SampleInputs,
        passed: &mut Passed,
    ) -> Result<()> {
        let session = self.session.as_mut();
        if order.scope == FirstRunScope::OneRow {
            return Ok(());
        }
        let subject = BatchSubject {
            signature: &self.signature,
            verdict: &self.verdict,
            sample,
            known: &self.known,
        };
        let checked = batchability::check(&subject, session);
        passed.measured.batchable = checked.is_ok();
        passed.generated.alone = checked.err().map(|error| error.message);
        match order.scope {
            FirstRunScope::All => measure(order, sample, session, passed),
            FirstRunScope::OneRow | FirstRunScope::Test => Ok(()),
        }
    }

    /// Tests whether padding changes answers, if some is declared.
    fn test_padding(&mut self, sample: &SampleInputs, passed: &mut Passed, progress: &PassedSoFar) {
        let Some(plan) = self.plan.as_ref() else {
            return;
        };
        // Whoever ends this test keeps what was found before.
        if let Some(before) = progress.lock().as_mut() {
            before.clone_from(passed);
        }
        let subject = PaddingSubject {
            signature: &self.signature,
            plan,
            size: sample.size(),
        };
        let tested = check_padding(&subject, self.session.as_mut());
        passed.generated.padding = Some(match tested {
            Ok(()) => PaddingTested::Same,
            Err(error) => PaddingTested::Refuted(error.message),
        });
    }
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

/// Resident memory of this process; 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|n| n.parse().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}
