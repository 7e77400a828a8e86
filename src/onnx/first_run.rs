//! The first run of a model, in a sandbox: this program again as a child
//! process, with an empty environment and limits on memory, CPU time and
//! duration. A model that crashes, hangs or asks for too much memory is refused
//! and takes only the child with it.
//!
//! Golden rows are given: a model that hangs on them is refused. Generated inputs are not: a model that
//! is slow on them passes, and its verdict says so.
//!
//! The child's answer is bounded, and used only as a verdict. Owns the cache of
//! verdicts; does not decide whether a first run is needed.

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::answered::AnsweredShapes;
use crate::core::model::padding::Padding;
use crate::onnx::batchability::KnownInputs;
use crate::onnx::runtime::SessionOptions;
use crate::sandbox::supervise::{self, ChildAnswer};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

mod child;
#[cfg(test)]
mod tests;
mod verdicts;

pub(crate) use child::{resident_bytes, run};

/// The hidden subcommand that the child is started with.
pub(crate) const SUBCOMMAND: &str = "probe-model";
/// The most bytes of a verdict that are read.
const VERDICT_BYTES_MAX: u64 = 1 << 20;
/// Changes when batchability is decided in another way, so that old verdicts are not used.
const VERDICT_RULES: u32 = 7;
/// Rows of the largest batch that a companion model is tried with.
const COMPANION_ROWS: usize = 64;
/// Address space that ONNX Runtime and this program need for themselves …
const MEMORY_BASE: u64 = 4 << 30;
/// … and for each byte of the model.
const MEMORY_FACTOR: u64 = 8;
/// Folders below the folder of external data that are measured.
const EXTERNAL_DEPTH_MAX: u32 = 8;
/// Environment variables that GPU libraries need, and where operators for text find locales.
const ENVIRONMENT_KEPT: [&str; 3] = ["LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "LOCPATH"];

/// Makes first runs and remembers which models passed.
#[derive(Clone, Debug)]
pub struct Prober {
    /// The program that is started as the child.
    pub program: PathBuf,
    /// The ONNX Runtime library.
    pub library: PathBuf,
    /// Time limit of a first run.
    pub timeout: Duration,
    /// Address space of a first run; 0 derives it from the model's size.
    pub memory_bytes: u64,
    /// Folder where passed verdicts are kept; `None` keeps none.
    pub cache: Option<PathBuf>,
}

/// The model of a first run, and how it will be used.
pub struct FirstRunSubject<'s> {
    /// Digest of the model file.
    pub digest: Digest,
    /// The model file.
    pub bytes: &'s [u8],
    /// Folder of its external data, where it has some.
    pub external_dir: Option<&'s Path>,
    /// Options of the session.
    pub options: &'s SessionOptions,
    /// Rows of the largest batch.
    pub rows: usize,
    /// Whether golden rows are skipped, compared or created.
    pub golden: GoldenRows<'s>,
    /// Padding to be tested beside batchability, if some is declared.
    pub padding: Option<&'s Padding>,
}

/// What a first run does about golden rows.
#[derive(Clone, Copy)]
pub enum GoldenRows<'s> {
    /// Nothing.
    Skip,
    /// Compares the model's answers with these.
    Compare(&'s [u8]),
    /// Creates some from generated inputs and the model's answers.
    Create,
}

/// How far a first run goes, after golden rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum FirstRunScope {
    /// One generated row, before a server loads the version.
    OneRow,
    /// The test of batchability, at the lowest priority: the version serves meanwhile.
    Test,
    /// The test, times of runs, and new golden rows.
    All,
}

/// Time for one generated row, before a server loads the version.
const ONE_ROW_MAX: Duration = Duration::from_secs(5);

/// The line that the child reads before the model's bytes.
#[derive(Serialize, Deserialize)]
struct FirstRunOrder {
    parent: u32,
    library: PathBuf,
    options: SessionOptions,
    external_dir: Option<PathBuf>,
    rows: usize,
    memory_bytes: u64,
    cpu_seconds: u64,
    model_bytes: u64,
    /// Golden rows to compare with, which follow the model.
    golden_bytes: u64,
    create_golden: bool,
    scope: FirstRunScope,
    padding: Option<Padding>,
    timeout_ms: u64,
    /// What is known of the values of each input: see [`KnownInputs::values`]. It follows the golden rows.
    known_bytes: u64,
}

/// Measurements of a model that passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstRunMeasures {
    /// Time to build a session.
    pub load_ms: f64,
    /// One run of one row, on a warm session.
    pub one_row_us: Option<f64>,
    /// One run of the largest batch, on a warm session.
    pub largest_us: Option<f64>,
    /// Resident memory after that, the library's own included.
    pub rss_bytes: u64,
    /// Whether requests may be merged into one run. Named as in the registry's log.
    #[serde(rename = "joins")]
    pub batchable: bool,
}

/// The result of a first run that passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    /// Times and memory.
    pub measured: FirstRunMeasures,
    /// Golden rows, where they were to be created and could be.
    pub golden: Option<String>,
    /// What came of generated inputs.
    #[serde(default)]
    pub generated: GeneratedRuns,
}

/// What came of generated inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratedRuns {
    /// The size of dynamic axes that the model accepts.
    pub size: Option<usize>,
    /// Integers that it accepts are below this; below 3 if it is not set.
    #[serde(default)]
    pub integers: Option<u64>,
    /// The shapes of its answers.
    #[serde(default)]
    pub answered: AnsweredShapes,
    /// Why the model does not run on generated inputs.
    pub refused: Option<String>,
    /// Whether the runs were ended because they took too long.
    pub is_slow: bool,
    /// Why requests may not be merged, where that was tested.
    pub alone: Option<String>,
    /// What the test of padding found, where it was made.
    #[serde(default)]
    pub padding: Option<PaddingTested>,
}

/// What the test of padding found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaddingTested {
    /// It does not change answers.
    Same,
    /// It changes them, or the test could not be made.
    Refuted(String),
}

#[derive(Serialize, Deserialize)]
enum FirstRunVerdict {
    Passed(Box<Passed>),
    Refused(String),
}

impl Prober {
    /// Makes the whole first run of a model, unless the same model passed before with
    /// the same library, options and program. Refuses a model that fails,
    /// crashes, hangs on golden rows or needs too much memory.
    pub fn check(&self, subject: &FirstRunSubject<'_>) -> Result<Passed> {
        self.pass(subject, FirstRunScope::All, &KnownInputs::default())
    }

    /// Makes the part of the first run without which no server loads a model: a session, golden rows and
    /// one generated row.
    pub(crate) fn check_one_row(&self, subject: &FirstRunSubject<'_>) -> Result<Passed> {
        self.pass(subject, FirstRunScope::OneRow, &KnownInputs::default())
    }

    /// Tests whether requests may be merged, at the lowest priority.
    pub(crate) fn test_batches(
        &self,
        subject: &FirstRunSubject<'_>,
        known: &KnownInputs,
    ) -> Result<Passed> {
        self.pass(subject, FirstRunScope::Test, known)
    }

    /// Returns what [`Prober::test_batches`] found before.
    pub(crate) fn tested(
        &self,
        subject: &FirstRunSubject<'_>,
        known: &KnownInputs,
    ) -> Option<Passed> {
        let path = self.path(subject, FirstRunScope::Test, &values_text(known))?;
        verdicts::read(&path, &subject.digest)
    }

    fn pass(
        &self,
        subject: &FirstRunSubject<'_>,
        scope: FirstRunScope,
        known: &KnownInputs,
    ) -> Result<Passed> {
        let values = values_text(known);
        let path = self.path(subject, scope, &values);
        let kept = path.as_deref();
        if let Some(passed) = kept.and_then(|path| verdicts::read(path, &subject.digest)) {
            return Ok(passed);
        }

        let passed = self.run(subject, scope, &values)?;
        // A busy machine makes any model slow.
        if let Some(path) = path.filter(|_| !passed.generated.is_slow) {
            verdicts::keep(&path, &subject.digest, &passed);
        }
        Ok(passed)
    }

    fn path(
        &self,
        subject: &FirstRunSubject<'_>,
        scope: FirstRunScope,
        values: &[u8],
    ) -> Option<PathBuf> {
        let folder = self.cache.as_ref()?;
        let padding = subject.padding.filter(|_| scope == FirstRunScope::Test);
        let key = format!(
            "{} {scope:?} {} {padding:?}",
            self.key(subject),
            Digest::of(values).hex()
        );
        Some(folder.join(Digest::of(key.as_bytes()).hex()))
    }

    /// Makes the first run of a companion model: on one thread, without golden rows.
    pub(crate) fn check_companion(&self, bytes: &[u8]) -> Result<()> {
        let subject = FirstRunSubject {
            digest: Digest::of(bytes),
            bytes,
            external_dir: None,
            options: &SessionOptions::single(),
            rows: COMPANION_ROWS,
            golden: GoldenRows::Skip,
            padding: None,
        };

        self.check(&subject)
            .map(drop)
            .map_err(|e| e.context("the companion model"))
    }

    /// Makes the cache key of a verdict from all that it depends on: model,
    /// program, library, options and processor.
    fn key(&self, subject: &FirstRunSubject<'_>) -> String {
        let stamp = std::fs::metadata(&self.library)
            .and_then(|m| Ok((m.len(), m.modified()?)))
            .ok();
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu_model = cpu
            .lines()
            .find(|l| l.starts_with("model name"))
            .unwrap_or_default();
        let golden = match subject.golden {
            GoldenRows::Skip => "none".to_owned(),
            GoldenRows::Compare(bytes) => Digest::of(bytes).hex(),
            GoldenRows::Create => "make".to_owned(),
        };

        let all = format!(
            "{} {} {VERDICT_RULES} {:?} {stamp:?} {:?} {} {} {cpu_model} {golden}",
            subject.digest,
            env!("CARGO_PKG_VERSION"),
            self.library,
            subject.options,
            subject.rows,
            self.memory_bytes
        );

        Digest::of(all.as_bytes()).hex()
    }

    fn run(
        &self,
        subject: &FirstRunSubject<'_>,
        scope: FirstRunScope,
        values: &[u8],
    ) -> Result<Passed> {
        let golden = match subject.golden {
            GoldenRows::Compare(bytes) => bytes,
            GoldenRows::Skip | GoldenRows::Create => &[],
        };

        let order = FirstRunOrder {
            scope,
            known_bytes: values.len() as u64,
            ..self.order(subject, golden)
        };
        let order = supervise::request_line(&order)?;
        let request = supervise::ChildRequest {
            input: &[&order, subject.bytes, golden, values],
            timeout: self.timeout,
            answer_bytes_max: VERDICT_BYTES_MAX,
        };

        let answer = supervise::exchange(&mut self.command(), &request)
            .map_err(|e| Error::internal("run the first run of a model").with_source(e))?;
        judge(&answer, self.timeout)
    }

    fn order(&self, subject: &FirstRunSubject<'_>, golden: &[u8]) -> FirstRunOrder {
        FirstRunOrder {
            parent: std::process::id(),
            library: self.library.clone(),
            options: subject.options.clone(),
            external_dir: subject.external_dir.map(Path::to_owned),
            rows: subject.rows,
            memory_bytes: self.memory_bytes(subject),
            cpu_seconds: self.timeout.as_secs().max(1)
                * subject.options.intra_op_threads.max(1) as u64,
            model_bytes: subject.bytes.len() as u64,
            golden_bytes: golden.len() as u64,
            create_golden: matches!(subject.golden, GoldenRows::Create),
            padding: subject.padding.cloned(),
            scope: FirstRunScope::All,
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            known_bytes: 0,
        }
    }

    /// Returns the limit on address space; 0 for none.
    fn memory_bytes(&self, subject: &FirstRunSubject<'_>) -> u64 {
        let providers = &subject.options.providers;
        // Drivers of GPUs map far more than they use.
        if !providers.iter().all(|p| p.kind.name() == "cpu") {
            return 0;
        }
        if self.memory_bytes > 0 {
            return self.memory_bytes;
        }

        let model_bytes = subject.bytes.len() as u64 + external_bytes(subject.external_dir);
        MEMORY_BASE + MEMORY_FACTOR * model_bytes
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(SUBCOMMAND)
            .env_clear()
            .env("ORT_DISABLE_TELEMETRY", "1")
            .stderr(Stdio::null())
            .current_dir("/");
        for name in ENVIRONMENT_KEPT {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }

        command
    }
}

/// The known values of each input for the child.
fn values_text(known: &KnownInputs) -> Vec<u8> {
    serde_json::to_vec(&known.values).unwrap_or_default()
}

/// Adds up the files below a folder of external data.
pub(crate) fn external_bytes(folder: Option<&Path>) -> u64 {
    let mut pending: Vec<(PathBuf, u32)> = folder.map(|f| (f.to_owned(), 0)).into_iter().collect();
    let mut bytes = 0;

    while let Some((folder, depth)) = pending.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() && depth < EXTERNAL_DEPTH_MAX => {
                    pending.push((entry.path(), depth + 1));
                }
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
        }
    }

    bytes
}

/// Accepts a verdict only from a child that exited normally.
fn judge(answer: &ChildAnswer, timeout: Duration) -> Result<Passed> {
    const XCPU: i32 = Signal::XCPU.as_raw();
    const KILL: i32 = Signal::KILL.as_raw();

    let Some(status) = answer.status else {
        return Err(refused(&format!(
            "took over {timeout:?}; make the model faster, or raise models.probe_timeout"
        )));
    };

    match (status.signal(), serde_json::from_slice(&answer.output)) {
        (None, Ok(FirstRunVerdict::Passed(passed))) if status.success() => Ok(*passed),
        (None, Ok(FirstRunVerdict::Refused(why))) => Err(Error::precondition(why)),
        (Some(XCPU | KILL), _) => Err(refused(
            "used up its time or its memory, and was killed; \
             raise models.probe_timeout or models.probe_memory",
        )),
        (Some(signal), _) => Err(refused(&format!("crashed with signal {signal}"))),
        (None, _) => Err(refused(&format!("ended without a verdict ({status})"))),
    }
}

fn refused(why: &str) -> Error {
    Error::precondition(format!("the first run of the model, in a sandbox, {why}"))
}
