//! Training programs of the user: a program reads the rows from a folder and
//! writes a model there. It gets no credentials, limited resources and a deadline;
//! its model is checked like any other.

pub(crate) mod agreement;
pub(crate) mod exchange;
pub(crate) mod guard;

use crate::data::Rows;
use crate::spec::Spec;
use crate::split::Fold;
use exchange::ProgramOutput;
use guard::{GuardOrder, GuardReport, ProgramEnd, run_guarded};
use ortus::core::error::short;
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::registry::blob;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The exit status with which a program requests another attempt: `EX_TEMPFAIL`.
const AGAIN: i32 = 75;
/// The pause between two attempts, which grows with each.
const PAUSE: Duration = Duration::from_secs(1);
/// The most bytes of its last output in an error.
const WORDS_MAX: usize = 240;
/// The most files that a result may depend on.
const FILES_MAX: usize = 10_000;

/// A source file of a training program. Fields stand in alphabetical order, as records have always been written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Code {
    pub digest: Digest,
    /// Relative to the specification.
    pub path: String,
}

/// Returns the source files of the training program; empty for the built-in algorithms.
pub(crate) fn code(spec: &Spec) -> Result<Vec<Code>> {
    if spec.fit.algorithm != crate::spec::Algorithm::Command {
        return Ok(Vec::new());
    }
    let mut named: Vec<PathBuf> = Vec::new();
    for name in &spec.program.files {
        let path = spec.folder.join(name);
        let gone = |e| {
            Error::invalid(format!(
                "'{}' of 'files' in [fit.command] cannot be read",
                short(name)
            ))
            .with_source(e)
        };
        walk(&path, &mut named).map_err(gone)?;
    }

    // A program elsewhere, such as an interpreter, belongs to the machine.
    let beside = spec
        .program
        .program
        .iter()
        .filter(|word| Path::new(word).is_relative());
    named.extend(
        beside
            .map(|word| spec.folder.join(word))
            .filter(|path| path.is_file()),
    );

    if named.len() > FILES_MAX {
        return Err(Error::too_large(format!(
            "'files' in [fit.command] names over {FILES_MAX} files"
        )));
    }

    let files = named.iter().map(|path| code_of(path, &spec.folder));
    let mut all: Vec<Code> = files.collect::<Result<_>>()?;
    // Environment variables change the result as well.
    for name in &spec.program.env {
        let value = std::env::var(name).unwrap_or_default();
        all.push(Code {
            path: format!("${name}"),
            digest: ortus::core::hash::Digest::of(value.as_bytes()),
        });
    }

    all.sort();
    all.dedup();
    Ok(all)
}

fn walk(path: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        // Files that runs leave beside the code are not code.
        let entry = entry?.path();
        if !entry.ends_with("__pycache__") && found.len() <= FILES_MAX {
            walk(&entry, found)?;
        }
    }

    Ok(())
}

/// Returns the digest of a file, and its path relative to the folder of the specification.
fn code_of(path: &Path, folder: &Path) -> Result<Code> {
    let measured = std::fs::File::open(path).and_then(|mut file| blob::measure(&mut file));
    let (digest, _) = measured
        .map_err(|e| Error::invalid(format!("{} cannot be read", path.display())).with_source(e))?;
    let path = path.strip_prefix(folder).unwrap_or(path);
    Ok(Code {
        path: path.display().to_string(),
        digest,
    })
}

/// Runs the program on the rows of a fold, with retries, and returns its model
/// and its report.
pub(crate) fn learn(spec: &Spec, rows: &Rows, fold: &Fold) -> Result<ProgramOutput> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let folder = crate::scratch::folder()?;
        exchange::hand_over(folder.path(), spec, rows, fold)?;
        let verdict = run_guarded(&order(spec, folder.path())?)?;
        if verdict.ended == ProgramEnd::Code(AGAIN) && attempt < spec.program.attempts {
            std::thread::sleep(PAUSE * attempt.min(60) as u32);
            continue;
        }
        check(spec, &verdict, attempt)?;
        let mut back = exchange::take_back(folder.path(), spec, rows, fold)
            .map_err(|e| with_output(e, &verdict))?;
        if verdict.left > 0 {
            back.said.notes.push(format!(
                "the program left {} processes running; they were killed",
                verdict.left
            ));
        }
        return Ok(back);
    }
}

fn order(spec: &Spec, folder: &Path) -> Result<GuardOrder> {
    let absent =
        |e| Error::invalid("the folder of the specification cannot be found").with_source(e);
    let beside = if spec.folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &spec.folder
    };

    let beside = beside.canonicalize().map_err(absent)?;
    let place = |word: &String| {
        let path = beside.join(word);
        if path.is_file() {
            path.display().to_string()
        } else {
            word.clone()
        }
    };

    // A bare program name is looked up in PATH, not beside the specification.
    let mut words: Vec<String> = spec.program.program.iter().map(place).collect();
    if let (Some(first), Some(named)) = (words.first_mut(), spec.program.program.first())
        && !named.contains('/')
    {
        first.clone_from(named);
    }

    let mut env: BTreeMap<String, String> = BTreeMap::new();
    let passed = ["PATH", "LANG"]
        .into_iter()
        .map(str::to_owned)
        .chain(spec.program.env.iter().cloned());
    env.extend(passed.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))));

    let here = folder.display().to_string();
    let own = [
        ("ORTUS_SPEC", format!("{here}/spec.json")),
        ("ORT_DISABLE_TELEMETRY", "1".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("TMPDIR", here.clone()),
    ];

    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    env.entry("HOME".to_owned()).or_insert(here);
    let program = &spec.program;
    Ok(GuardOrder {
        program: words,
        folder: folder.to_owned(),
        env,
        deadline: program.deadline,
        memory_max: program.memory_max as u64,
        file_max: program.output_max as u64,
    })
}

fn check(spec: &Spec, verdict: &GuardReport, attempt: usize) -> Result<()> {
    let how = match verdict.ended {
        ProgramEnd::Code(0) => return Ok(()),
        ProgramEnd::Code(AGAIN) => {
            let how = format!("exited with 75 (try again) {attempt} times");
            return Err(with_output(Error::precondition(how), verdict));
        }
        ProgramEnd::Code(code) => format!("exited with {code}"),
        ProgramEnd::Signal(signal) => format!("was killed by signal {signal}"),
        ProgramEnd::Late => {
            let deadline = spec.program.deadline.as_secs_f64();
            return Err(with_output(
                Error::late(format!(
                    "ran over {deadline} s, 'deadline' in [fit.command]"
                )),
                verdict,
            ));
        }
        ProgramEnd::NotStarted => format!("cannot be started: {}", verdict.said),
    };

    Err(with_output(Error::precondition(how), verdict))
}

/// The last output of a training program, for the record.
#[derive(Debug)]
pub(crate) struct LastOutput(pub String);

impl std::fmt::Display for LastOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LastOutput {}

/// Adds the last output of the program to an error.
fn with_output(error: Error, verdict: &GuardReport) -> Error {
    error
        .context(last(verdict))
        .with_source(LastOutput(verdict.said.clone()))
}

/// Names the program in an error, with its last line of output.
fn last(verdict: &GuardReport) -> String {
    let line = verdict.said.trim().lines().last().unwrap_or_default();
    if verdict.ended == ProgramEnd::NotStarted || line.is_empty() {
        return "the training program".to_owned();
    }
    let line = &line[..line.floor_char_boundary(WORDS_MAX)];
    format!("the training program (last output: '{line}')")
}
