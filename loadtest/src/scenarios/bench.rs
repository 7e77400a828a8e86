//! What the scenarios share: models, servers, requests, the raw loop, progress.

use super::Run;
use super::side::Side;
use crate::clients::Target;
use crate::load::{self, Pace, Plan, Report};
use crate::models::rows::ModelRows;
use crate::report::Outcome;
use crate::requests::{Habits, Input, Protocol, RequestSet};
use crate::schedule::Arrivals;
use crate::servers::{self, Ortus, Server};
use crate::{Result, cores, single, span};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;

/// The warm-up of a closed loop, as a share of its length.
const WARM_UP_SHARE: f64 = 0.2;
/// A run that takes so long makes the wire small beside it, and needs longer measurements: times the usual length.
pub(super) const LONG_RUN_US: f64 = 5_000.0;
pub(super) const LONG_TIMES: f64 = 4.0;
/// In flight where a server is saturated.
const SATURATING: usize = 64;

/// The raw loop at one point of its grid.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RawFigure {
    pub rows: usize,
    pub lanes: usize,
    pub intra: usize,
    pub open_ms: f64,
    pub first_run_ms: f64,
    pub wall_us: f64,
    pub cpu_us: f64,
    pub rows_per_s: f64,
    pub resident_mb: f64,
}

/// The grid of a raw loop.
pub(super) struct RawGrid {
    pub rows: Vec<usize>,
    pub lanes: Vec<usize>,
    pub intra: Vec<usize>,
    pub seconds: f64,
    /// The cores that it runs on, where not on all.
    pub cores: Option<Vec<usize>>,
}

impl RawGrid {
    pub(super) fn one(rows: usize, seconds: f64) -> Self {
        Self {
            rows: vec![rows],
            lanes: vec![1],
            intra: vec![1],
            seconds,
            cores: None,
        }
    }

    pub(super) fn at(figure: RawFigure, seconds: f64) -> Self {
        Self {
            rows: vec![figure.rows],
            lanes: vec![figure.lanes],
            intra: vec![figure.intra],
            seconds,
            cores: None,
        }
    }
}

pub(super) struct Bench<'r> {
    pub run: &'r Run,
    program: PathBuf,
    /// Models that were written here, or of the user.
    folder: PathBuf,
    library: PathBuf,
    own: TempDir,
    bar: ProgressBar,
}

impl<'r> Bench<'r> {
    pub(super) fn new(run: &'r Run) -> Result<Self> {
        let own = tempfile::tempdir()?;
        let program = match &run.ortus {
            Some(program) => program.clone(),
            None => servers::program_beside("ortus")?,
        };
        let named = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
        let library = run.library.clone().or(named);
        let library = library.ok_or("--library or ORT_DYLIB_PATH is needed")?;
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template(
            "{spinner} {elapsed_precise} {prefix} measurement {pos}: {msg}",
        )?);
        bar.enable_steady_tick(Duration::from_millis(200));
        Ok(Self {
            run,
            program,
            folder: run
                .folder
                .clone()
                .unwrap_or_else(|| own.path().join("models")),
            library,
            own,
            bar,
        })
    }

    pub(super) fn announce(&self, id: &str) {
        self.bar.set_prefix(id.to_owned());
    }

    /// Prints a finished table past the progress bar.
    pub(super) fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    /// Where the figures come from.
    pub(super) fn machine(&self) -> Value {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|l| l.strip_prefix("model name"));
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let version = Command::new(&self.program).arg("--version").output();
        let version = version.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
        json!({
            "cpu": model.map_or("unknown", |l| l.trim_start_matches([' ', '\t', ':'])),
            "cores": cores(),
            "load average": load.trim(),
            "server": version.unwrap_or_default(),
            "command": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        })
    }

    /// The models to measure.
    pub(super) fn models(&self, usual: &[&str]) -> Vec<String> {
        match self.run.models.is_empty() {
            true => usual.iter().map(|m| (*m).to_owned()).collect(),
            false => self.run.models.clone(),
        }
    }

    pub(super) fn protocols(&self, usual: &[Protocol]) -> Vec<Protocol> {
        chosen(&self.run.protocols, usual)
    }

    pub(super) fn in_flight(&self, usual: &[usize]) -> Vec<usize> {
        chosen(&self.run.in_flight, usual)
    }

    pub(super) fn connections(&self, usual: &[usize]) -> Vec<usize> {
        chosen(&self.run.connections, usual)
    }

    /// The folder of a model, written first where it is one of ours.
    pub(super) fn model(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if self.run.folder.is_some() && !folder.is_dir() {
            return Err(format!("{} is no folder of a model", folder.display()).into());
        }
        if self.run.folder.is_none() && !folder.is_dir() {
            self.bar.set_message(format!("writing the model {name}"));
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("models").arg(&self.folder).arg(name);
            command.arg("--library").arg(&self.library);
            if !command.stdout(Stdio::null()).status()?.success() {
                return Err(format!("the model {name} was not written").into());
            }
        }
        Ok(folder)
    }

    /// The model file that the raw loop runs.
    fn model_file(&self, name: &str) -> Result<PathBuf> {
        let folder = self.model(name)?;
        let entries = std::fs::read_dir(&folder)?.filter_map(|e| Some(e.ok()?.path()));
        let files = entries.map(|version| version.join("model.onnx"));
        let found = files.filter(|f| f.is_file()).max();
        found.ok_or_else(|| format!("{} has no version", folder.display()).into())
    }

    /// The size of the second axis in the requests of a model, so that the raw loop has it too.
    fn length(&self, name: &str) -> Result<Option<i64>> {
        let sample = std::fs::read(self.model(name)?.join("sample.json"))?;
        let sample: Value = serde_json::from_slice(&sample)?;
        Ok(sample["inputs"][0]["shape"][1].as_i64())
    }

    /// A command of Ortus.
    pub(super) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(verb).arg("--ort-lib").arg(&self.library);
        command
    }

    /// Starts Ortus with some models and settings beside those of the command line.
    pub(super) fn serve(&self, models: &[&str], settings: &[&str]) -> Result<Server> {
        Server::ortus(&self.ortus(models, settings)?)
    }

    /// How Ortus is started with some models.
    pub(super) fn ortus(&self, models: &[&str], settings: &[&str]) -> Result<Ortus> {
        let served = self.own.path().join(format!("served-{}", models.join("-")));
        for name in models {
            link(&self.model(name)?, &served.join(name))?;
        }
        let also = settings.iter().map(|s| (*s).to_owned());
        self.bar.set_message("waiting until the server is ready");
        Ok(Ortus {
            program: self.program.clone(),
            models: served,
            library: Some(self.library.clone()),
            settings: self.run.settings.iter().cloned().chain(also).collect(),
            cache: None,
            cores: None,
        })
    }

    /// An empty folder.
    pub(super) fn fresh_folder(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(self.own.path())?)
    }

    /// Requests of so many rows for a model.
    pub(super) fn requests(
        &self,
        protocol: Protocol,
        model: &str,
        rows: usize,
    ) -> Result<RequestSet> {
        let inputs = self.inputs(model, rows)?;
        RequestSet::new(protocol, model, inputs, self.habits())
    }

    /// Inputs of so many rows; where only a sample is known, that.
    pub(super) fn inputs(&self, model: &str, rows: usize) -> Result<Vec<Input>> {
        let folder = self.model(model)?;
        if let Ok(known) = ModelRows::read(&folder) {
            return known.inputs(rows);
        }
        let golden = Some(folder.join("golden.json")).filter(|g| g.is_file());
        let sample = folder.join("sample.json");
        Ok(vec![single::read_input(&sample, golden.as_deref())?])
    }

    /// How requests are chosen and checked.
    pub(super) fn habits(&self) -> Habits {
        Habits {
            is_fresh: true,
            check_every: self.run.check_every,
        }
    }

    /// A server of ours as a side of a comparison.
    pub(super) fn side(
        &self,
        name: &'static str,
        server: &Server,
        requests: &Rc<RequestSet>,
    ) -> Side {
        Side {
            name,
            target: Target {
                address: server.address(requests.protocol).into(),
                requests: requests.clone(),
                deadline: None,
            },
            pid: Some(server.pid()),
        }
    }

    /// The server that Ortus is compared with, where one is named for the protocol.
    pub(super) fn peer(&self, requests: &Rc<RequestSet>) -> Option<Side> {
        let address = match requests.protocol {
            Protocol::Grpc => self.run.compare.as_deref(),
            Protocol::Binary | Protocol::Json => self.run.compare_http.as_deref(),
        };
        Some(Side {
            name: "peer",
            target: Target {
                address: address?.into(),
                requests: requests.clone(),
                deadline: None,
            },
            pid: self.run.compare_pid,
        })
    }

    /// One run of the usual length in a closed loop.
    pub(super) fn closed(
        &self,
        side: &Side,
        in_flight: usize,
        connections: usize,
    ) -> Result<Report> {
        let what = format!("{}, {in_flight} in flight", side.name);
        let length = span(self.run.seconds);
        self.measure(
            &what,
            side,
            Plan {
                target: side.target.clone(),
                pace: Pace::Closed { in_flight },
                length,
                warm_up: length.mul_f64(WARM_UP_SHARE),
                connections,
                cancel: None,
            },
        )
    }

    /// One run on a schedule.
    pub(super) fn open(&self, side: &Side, arrivals: Arrivals, length: Duration) -> Result<Report> {
        let what = format!("{}, open loop", side.name);
        let connections = self.connections(&[4])[0];
        self.measure(
            &what,
            side,
            Plan {
                target: side.target.clone(),
                pace: Pace::Open {
                    arrivals,
                    seed: self.run.seed,
                },
                length,
                warm_up: Duration::ZERO,
                connections,
                cancel: None,
            },
        )
    }

    pub(super) fn measure(&self, what: &str, side: &Side, plan: Plan) -> Result<Report> {
        self.bar.set_message(what.to_owned());
        let report = load::run(&plan, side.pid).map_err(|e| format!("{what}: {e}"))?;
        self.bar.inc(1);
        match report.tally.faults() {
            (0, _) => Ok(report),
            (faults, first) => Err(format!(
                "{what}: {faults} faults, first: {}",
                first.unwrap_or_default()
            )
            .into()),
        }
    }

    /// Right answers a second of a saturated server: the median of the rounds.
    pub(super) fn saturated(&self, side: &Side) -> Result<Saturated> {
        let connections = self.connections(&[4])[0];
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..self.run.rounds.clamp(1, 3) {
            let report = self.closed(side, SATURATING, connections)?;
            rates.push(report.rate());
            costs.extend(report.cpu_us());
        }
        Ok(Saturated {
            rate: super::side::median(rates),
            cpu_us: super::side::median(costs),
        })
    }

    /// Runs the raw loop on a grid, in a process of its own.
    pub(super) fn raw(&self, model: &str, grid: &RawGrid) -> Result<Vec<RawFigure>> {
        self.bar.set_message(format!("raw ONNX Runtime, {model}"));
        let list = |all: &[usize]| {
            all.iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        let program = std::env::current_exe()?;
        let mut command = servers::on_cores(&program, grid.cores.as_deref());
        command
            .arg("raw")
            .arg("--model")
            .arg(self.model_file(model)?);
        command.args(["--rows", &list(&grid.rows), "--lanes", &list(&grid.lanes)]);
        command.args([
            "--intra",
            &list(&grid.intra),
            "--seconds",
            &grid.seconds.to_string(),
        ]);
        if let Some(length) = self.length(model)? {
            command.args(["--length", &length.to_string()]);
        }
        command.arg("--library").arg(&self.library);
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("the raw loop of {model} failed").into());
        }
        self.bar.inc(1);
        let text = String::from_utf8(output.stdout)?;
        text.lines()
            .map(|line| Ok(figure(&serde_json::from_str(line)?)))
            .collect()
    }

    /// The point of a grid with the most rows a second, over batches, lanes and threads.
    pub(super) fn best_raw(&self, model: &str, rows: &[usize]) -> Result<RawFigure> {
        self.best_raw_on(model, rows, None)
    }

    /// The same on some cores.
    pub(super) fn best_raw_on(
        &self,
        model: &str,
        rows: &[usize],
        own: Option<&[usize]>,
    ) -> Result<RawFigure> {
        let cores = own.map_or_else(cores, <[usize]>::len);
        let grid = |lanes, intra| RawGrid {
            rows: rows.to_vec(),
            lanes,
            intra: vec![intra],
            seconds: self.run.seconds.min(1.0),
            cores: own.map(<[usize]>::to_vec),
        };
        let lanes = if cores > 1 { vec![1, cores] } else { vec![1] };
        let mut all = self.raw(model, &grid(lanes, 1))?;
        if cores > 1 {
            all.extend(self.raw(model, &grid(vec![1], cores))?);
        }
        let best = all
            .into_iter()
            .max_by(|a, b| a.rows_per_s.total_cmp(&b.rows_per_s));
        best.ok_or_else(|| "the raw grid is empty".into())
    }

    /// The wall time of a run of one row, in microseconds.
    pub(super) fn single_run_us(&self, model: &str) -> Result<f64> {
        let seconds = self.run.seconds.min(1.0);
        let figures = self.raw(model, &RawGrid::one(1, seconds))?;
        Ok(figures.first().map_or(f64::NAN, |f| f.wall_us))
    }
}

/// A server whose every core is busy.
#[derive(Clone, Copy)]
pub(super) struct Saturated {
    pub rate: f64,
    pub cpu_us: f64,
}

fn chosen<T: Clone>(asked: &[T], usual: &[T]) -> Vec<T> {
    if asked.is_empty() { usual } else { asked }.to_vec()
}

fn figure(line: &Value) -> RawFigure {
    let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
    let count = |key: &str| line[key].as_u64().unwrap_or_default() as usize;
    RawFigure {
        rows: count("rows"),
        lanes: count("lanes"),
        intra: count("intra"),
        open_ms: number("open_ms"),
        first_run_ms: number("first_run_ms"),
        wall_us: number("wall_us"),
        cpu_us: number("cpu_us"),
        rows_per_s: number("rows_per_s"),
        resident_mb: number("resident_mb"),
    }
}

/// Makes `to` hold the model of `from`: hard links, or copies where there are none.
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let there = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link(&entry.path(), &there)?;
        } else if !there.exists() && std::fs::hard_link(entry.path(), &there).is_err() {
            std::fs::copy(entry.path(), &there)?;
        }
    }
    Ok(())
}

/// An outcome without a name yet.
pub(super) fn outcome() -> Outcome {
    Outcome {
        id: "",
        title: "",
        findings: Vec::new(),
        plots: Vec::new(),
    }
}
