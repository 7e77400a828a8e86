//! The servers that are measured, started here and killed on drop.

use crate::requests::Protocol;
use crate::{Result, process};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server of ours; killed on drop.
pub(crate) struct Server {
    child: Child,
    pub grpc: String,
    pub http: String,
    pub ops: String,
}

/// How Ortus is started.
#[derive(Clone)]
pub(crate) struct Ortus {
    pub program: PathBuf,
    pub models: PathBuf,
    pub library: Option<PathBuf>,
    /// Settings of the form `KEY=VALUE`.
    pub settings: Vec<String>,
    /// Where it keeps what it learned about models, in place of the user's folder.
    pub cache: Option<PathBuf>,
    /// The cores that it may use, in place of all.
    pub cores: Option<Vec<usize>>,
}

/// A command on some cores; on all without any.
pub(crate) fn on_cores(program: &Path, cores: Option<&[usize]>) -> Command {
    let Some(cores) = cores else {
        return Command::new(program);
    };
    let list: Vec<String> = cores.iter().map(usize::to_string).collect();
    let mut command = Command::new("taskset");
    command.args(["-c", &list.join(",")]).arg(program);
    command
}

impl Server {
    /// Starts `command` and waits for its line `ready: …`; returns the rest of it.
    fn start(command: &mut Command) -> Result<(Self, String)> {
        let child = command.stdout(Stdio::piped()).spawn()?;
        let mut server = Self {
            child,
            grpc: String::new(),
            http: String::new(),
            ops: String::new(),
        };
        let mut line = String::new();
        BufReader::new(server.child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let rest = line
            .strip_prefix("ready: ")
            .ok_or_else(|| format!("the server did not get ready: {line:?}"))?;
        Ok((server, rest.trim().to_owned()))
    }

    /// Starts the floor of a protocol, a part of this program.
    pub(crate) fn floor(protocol: Protocol) -> Result<Self> {
        let listener = match protocol {
            Protocol::Grpc => "--grpc",
            Protocol::Binary | Protocol::Json => "--http",
        };
        let mut command = Command::new(std::env::current_exe()?);
        let (mut server, address) = Self::start(command.args(["echo", listener, "127.0.0.1:0"]))?;
        (server.grpc, server.http) = (address.clone(), address);
        Ok(server)
    }

    /// Starts Ortus over a model directory, on free ports.
    pub(crate) fn ortus(ortus: &Ortus) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ports = folder.path().join("ports.json");
        let mut command = on_cores(&ortus.program, ortus.cores.as_deref());
        command.arg("serve").arg("--models").arg(&ortus.models);
        command.arg("--ports-file").arg(&ports);
        for listener in ["--http", "--grpc", "--ops", "--operator"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command.args(["--log-level", "error"]);
        for setting in &ortus.settings {
            command.args(["--set", setting]);
        }
        if let Some(cache) = &ortus.cache {
            command.env("XDG_CACHE_HOME", cache);
        }
        if let Some(library) = &ortus.library {
            command.args([OsStr::new("--ort-lib"), library.as_os_str()]);
        }
        let (mut server, _) = Self::start(&mut command)?;
        let bound: Value = serde_json::from_slice(&std::fs::read(&ports)?)?;
        let port = |name: &str| bound[name].as_str().unwrap_or_default().to_owned();
        (server.grpc, server.http) = (port("grpc"), port("http"));
        server.ops = port("ops");
        Ok(server)
    }

    /// Where it takes a protocol.
    pub(crate) fn address(&self, protocol: Protocol) -> &str {
        match protocol {
            Protocol::Grpc => &self.grpc,
            Protocol::Binary | Protocol::Json => &self.http,
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory in MB.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        process::resident_mb(&self.pid().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that was built beside this one.
pub(crate) fn program_beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let beside = own.parent().unwrap_or(Path::new(".")).join(name);
    match beside.is_file() {
        true => Ok(beside),
        false => Err(format!("{} does not exist: name it with --ortus", beside.display()).into()),
    }
}
