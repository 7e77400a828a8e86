//! The first run of a model, in a process of its own: this program again, with
//! a bare environment, limits on memory, CPU and time, and a word at its end.
//! What it says is bounded and only believed as a verdict.

use super::batchability::{Sample, joins};
use crate::core::error::{Error, Kind, Result};
use crate::core::hash::Digest;
use crate::onnx::golden::Golden;
use crate::onnx::graph::Graph;
use crate::onnx::runtime::onnx::OnnxRuntime;
use crate::onnx::runtime::{Engine, SessionOptions, Source};
use crate::sandbox::limits;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The hidden subcommand that the child is started with.
pub(crate) const SUBCOMMAND: &str = "probe-model";
/// The longest verdict that is read.
const VERDICT_BYTES_MAX: u64 = 1 << 20;
/// Golden rows that are made, where rows may be joined.
const MADE_ROWS: usize = 3;
/// Rows of the largest batch that a companion is tried on.
const COMPANION_ROWS: usize = 64;
/// How often a running child is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// This very program, even if its file was replaced meanwhile.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Starts probes and remembers what passed.
#[derive(Clone, Debug)]
pub struct Prober {
    /// The program that probes.
    pub program: PathBuf,
    /// The ONNX Runtime library.
    pub library: PathBuf,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Address space of a probe; 0 leaves it to the model's size.
    pub memory_bytes: u64,
    /// Where verdicts are kept; none keeps none.
    pub cache: Option<PathBuf>,
}

/// What is probed.
pub struct Subject<'s> {
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
    /// What is done with golden rows.
    pub golden: Ask<'s>,
}

/// What is asked of golden rows.
#[derive(Clone, Copy)]
pub enum Ask<'s> {
    /// Nothing.
    Nothing,
    /// The model must answer these.
    Hold(&'s [u8]),
    /// Some are made of what it answers.
    Make,
}

/// What the child is told before the model's bytes.
#[derive(Serialize, Deserialize)]
struct Order {
    parent: u32,
    library: PathBuf,
    options: SessionOptions,
    external_dir: Option<PathBuf>,
    rows: usize,
    memory_bytes: u64,
    cpu_seconds: u64,
    model_bytes: u64,
    /// Follow the model.
    golden_bytes: u64,
    make_golden: bool,
}

/// What was measured on a model that passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Building a session.
    pub load_ms: f64,
    /// One run of one row, and of the largest batch, on a warm session.
    pub one_row_us: Option<f64>,
    /// One run of the largest batch, in microseconds.
    pub largest_us: Option<f64>,
    /// Memory after that, the library's own included.
    pub rss_bytes: u64,
    /// Whether requests may be joined.
    pub joins: bool,
}

/// What a model that passed left behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    /// Times and memory.
    pub measured: Measured,
    /// Golden rows, where they were asked for and could be made.
    pub golden: Option<String>,
}

#[derive(Serialize, Deserialize)]
enum Verdict {
    Passed(Passed),
    Refused(String),
}

/// Address space that ONNX Runtime and this program need for themselves.
const MEMORY_BASE: u64 = 4 << 30;
/// … and for each byte of the model.
const MEMORY_FACTOR: u64 = 8;

impl Prober {
    /// Probes a model unless it passed before, under the same library, options
    /// and program. Refuses one that fails, crashes, takes too long or asks for
    /// too much memory.
    pub fn check(&self, subject: &Subject<'_>) -> Result<Passed> {
        let kept = self
            .cache
            .as_ref()
            .map(|folder| folder.join(self.key(subject)));
        let known = kept
            .as_ref()
            .and_then(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok());
        if let Some(passed) = known {
            return Ok(passed);
        }
        let passed = self.run(subject)?;
        if let (Some(path), Ok(text)) = (kept, serde_json::to_vec(&passed)) {
            // Not keeping it costs the next start a probe, and no more.
            let _ = keep(&path, &text);
        }
        Ok(passed)
    }

    /// Probes a companion of a model: on one thread, without golden rows.
    pub(crate) fn check_companion(&self, bytes: &[u8]) -> Result<()> {
        let (options, golden) = (&SessionOptions::single(), Ask::Nothing);
        let subject = Subject {
            digest: Digest::of(bytes),
            bytes,
            external_dir: None,
            options,
            rows: COMPANION_ROWS,
            golden,
        };
        self.check(&subject)
            .map(drop)
            .map_err(|e| e.context("the companion"))
    }

    /// A verdict holds for the same model, program, library, options and processor.
    fn key(&self, subject: &Subject<'_>) -> String {
        let stamp = std::fs::metadata(&self.library)
            .and_then(|m| Ok((m.len(), m.modified()?)))
            .ok();
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu
            .lines()
            .find(|l| l.starts_with("model name"))
            .unwrap_or_default();
        let golden = match subject.golden {
            Ask::Nothing => "none".to_owned(),
            Ask::Hold(bytes) => Digest::of(bytes).hex(),
            Ask::Make => "make".to_owned(),
        };
        let all = format!(
            "{} {} {:?} {stamp:?} {:?} {} {} {model} {golden}",
            subject.digest,
            env!("CARGO_PKG_VERSION"),
            self.library,
            subject.options,
            subject.rows,
            self.memory_bytes
        );
        Digest::of(all.as_bytes()).hex()
    }

    fn run(&self, subject: &Subject<'_>) -> Result<Passed> {
        let on_cpu = subject
            .options
            .providers
            .iter()
            .all(|p| p.kind.name() == "cpu");
        let own = MEMORY_BASE
            + MEMORY_FACTOR * (subject.bytes.len() as u64 + external_bytes(subject.external_dir));
        let golden = if let Ask::Hold(bytes) = subject.golden {
            bytes
        } else {
            &[]
        };
        let order = Order {
            parent: std::process::id(),
            library: self.library.clone(),
            options: subject.options.clone(),
            external_dir: subject.external_dir.map(Path::to_owned),
            rows: subject.rows,
            // Drivers of other hardware map far more than they use.
            memory_bytes: if !on_cpu {
                0
            } else if self.memory_bytes > 0 {
                self.memory_bytes
            } else {
                own
            },
            cpu_seconds: self.timeout.as_secs().max(1)
                * subject.options.intra_op_threads.max(1) as u64,
            model_bytes: subject.bytes.len() as u64,
            golden_bytes: golden.len() as u64,
            make_golden: matches!(subject.golden, Ask::Make),
        };
        let failed =
            |e: std::io::Error| Error::internal("start the probe of a model").with_source(e);
        let mut command = Command::new(&self.program);
        command
            .arg(SUBCOMMAND)
            .env_clear()
            .env("ORT_DISABLE_TELEMETRY", "1");
        // What other hardware's libraries are found by.
        for name in ["LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/");
        let mut child = Running(command.spawn().map_err(failed)?);
        let head = serde_json::to_string(&order)
            .map_err(|e| Error::internal("order a probe").with_source(e))?;
        // Read beside it: a verdict may be longer than what a pipe holds.
        let output = child
            .0
            .stdout
            .take()
            .ok_or_else(|| Error::internal("a probe has no output"))?;
        let reading = std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = output.take(VERDICT_BYTES_MAX).read_to_end(&mut said);
            said
        });
        let mut input = child
            .0
            .stdin
            .take()
            .ok_or_else(|| Error::internal("a probe has no input"))?;
        // A child that ends early closes its input; its end tells why.
        let _ = input
            .write_all(head.as_bytes())
            .and_then(|()| input.write_all(b"\n"));
        let _ = input
            .write_all(subject.bytes)
            .and_then(|()| input.write_all(golden));
        drop(input);
        let status = child.wait(self.timeout)?;
        let said = reading
            .join()
            .map_err(|_| Error::internal("read what a probe says"))?;
        judge(status, &said)
    }
}

fn keep(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut staged = tempfile::NamedTempFile::new_in(folder)?;
    staged.write_all(text)?;
    staged.persist(path).map(drop).map_err(|e| e.error)
}

/// The bytes of every file below a folder, as deep as versions go.
fn external_bytes(folder: Option<&Path>) -> u64 {
    let mut folders: Vec<(PathBuf, u32)> = folder.map(|f| (f.to_owned(), 0)).into_iter().collect();
    let mut bytes = 0;
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() && depth < 8 => folders.push((entry.path(), depth + 1)),
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// What a child's end and its last word come to.
fn judge(status: ExitStatus, said: &[u8]) -> Result<Passed> {
    let refuse = |why: String| {
        Err(Error::precondition(format!(
            "the first run of the model, in a process of its own, {why}"
        )))
    };
    match (status.signal(), serde_json::from_slice(said)) {
        (None, Ok(Verdict::Passed(passed))) if status.success() => Ok(passed),
        (None, Ok(Verdict::Refused(why))) => Err(Error::precondition(why)),
        (Some(libc::SIGXCPU | libc::SIGKILL), _) => {
            refuse("was ended: it used up its time or its memory".to_owned())
        }
        (Some(signal), _) => refuse(format!("crashed with signal {signal}")),
        (None, _) => refuse(format!("ended without a verdict ({status})")),
    }
}

/// A child that does not outlive us.
struct Running(Child);

impl Running {
    fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + timeout;
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                Ok(None) => {
                    return Err(Error::precondition(format!(
                        "the first run of the model, in a process of its own, took over {timeout:?}"
                    )));
                }
                Err(error) => return Err(Error::internal("wait for a probe").with_source(error)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The child's side: reads the order and the model, sets its limits, probes,
/// and writes the verdict.
pub(crate) fn run() -> Result<()> {
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut head = Vec::new();
    let malformed = |what: &str| Error::invalid(format!("a probe was ordered with {what}"));
    input
        .by_ref()
        .take(1 << 20)
        .read_until(b'\n', &mut head)
        .map_err(|_| malformed("no head"))?;
    let order: Order =
        serde_json::from_slice(&head).map_err(|_| malformed("a head that is not known"))?;
    let (mut bytes, mut golden) = (Vec::new(), Vec::new());
    input
        .by_ref()
        .take(order.model_bytes)
        .read_to_end(&mut bytes)
        .map_err(|_| malformed("no model"))?;
    input
        .take(order.golden_bytes)
        .read_to_end(&mut golden)
        .map_err(|_| malformed("no golden rows"))?;
    limits::set(order.parent, order.memory_bytes, order.cpu_seconds)?;
    let verdict = match probe(&order, bytes.into(), &golden) {
        Ok(passed) => Verdict::Passed(passed),
        Err(error) => Verdict::Refused(error.message),
    };
    let text = serde_json::to_vec(&verdict)
        .map_err(|e| Error::internal("print a verdict").with_source(e))?;
    std::io::stdout()
        .write_all(&text)
        .map_err(|e| Error::internal("print a verdict").with_source(e))
}

fn probe(order: &Order, bytes: Bytes, golden: &[u8]) -> Result<Passed> {
    let signature = Graph::read(bytes.clone())?.signature;
    let engine = OnnxRuntime::load(&order.library)?;
    let source = Source {
        bytes,
        external_dir: order.external_dir.clone(),
    };
    let start = Instant::now();
    let mut session = engine.open(&source, &order.options)?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    if !golden.is_empty() {
        Golden::read(golden)?.check(&signature, session.as_mut(), usize::MAX)?;
    }
    let mut made = None;
    let mut measured = Measured {
        load_ms,
        one_row_us: None,
        largest_us: None,
        rss_bytes: 0,
        joins: false,
    };
    let sample = match Sample::find(&signature, session.as_mut()) {
        // Small made-up inputs may not suit a model; but none may ask for all memory.
        Err(error) if error.kind == Kind::ResourceExhausted => return Err(error),
        found => found.ok(),
    };
    if let Some(sample) = sample {
        measured.joins = joins(&signature, &sample, session.as_mut()).is_ok();
        let mut time = |rows| {
            sample
                .time(session.as_mut(), rows)
                .map(|took| took.as_secs_f64() * 1e6)
        };
        measured.one_row_us = Some(time(1)?);
        let rows = if measured.joins { order.rows } else { 1 };
        time(rows)?;
        measured.largest_us = Some(time(rows)?);
        if order.make_golden {
            let rows = if measured.joins { MADE_ROWS } else { 1 };
            let golden = sample
                .golden(session.as_mut(), rows)?
                .map(|golden| golden.write());
            // What could not be read back would keep the version from every server.
            made = golden
                .filter(|g| Golden::read(g).is_ok())
                .and_then(|g| String::from_utf8(g).ok());
        }
    }
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    measured.rss_bytes = pages * 4096;
    Ok(Passed {
        measured,
        golden: made,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_believed_only_from_a_child_that_ended_well() {
        let passed =
            br#"{"Passed":{"measured":{"load_ms":1.0,"one_row_us":2.0,"largest_us":3.0,"rss_bytes":4,"joins":true}}}"#;
        let said = |status: i32, text: &[u8]| {
            judge(ExitStatus::from_raw(status), text)
                .map(|p| p.measured.joins)
                .map_err(|e| e.message)
        };
        assert_eq!(said(0, passed), Ok(true));
        assert!(said(1 << 8, passed).is_err_and(|e| e.contains("without a verdict")));
        assert!(said(libc::SIGSEGV, passed).is_err_and(|e| e.contains("crashed with signal 11")));
        assert!(said(libc::SIGXCPU, b"").is_err_and(|e| e.contains("used up its time")));
        assert!(said(0, b"").is_err_and(|e| e.contains("without a verdict")));
        assert_eq!(said(0, br#"{"Refused":"no"}"#), Err("no".to_owned()));
    }
}
