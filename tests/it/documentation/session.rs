//! A page's shell: a folder of its own with a copy of the models and examples, one bash that
//! lives as long as the page, and the server that the page started. Adapts examples to
//! the test; reads no Markdown.

use crate::support::optional::{or_not_run, python};
use crate::support::{eventually, models_folder, ortus_built_for_tests, ortus_program, root};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// The ports that the pages name, and what listens there.
const PORTS: [(u16, &str); 4] = [
    (8000, "http"),
    (8001, "grpc"),
    (8002, "ops"),
    (8003, "operator"),
];
/// Places of the system that become folders of the page's own.
const PLACES: [&str; 4] = ["/tmp/", "/srv/", "/etc/ortus", "/var/lib/ortus"];
/// Tables that only a training specification has.
const TRAINING: [&str; 8] = [
    "data", "schema", "split", "fit", "gates", "publish", "triggers", "sweep",
];
/// Ends the output of a command on the shell's own output.
const MARK: &str = "-- ended with";

/// The shell of one page.
pub(super) struct Session {
    folder: TempDir,
    shell: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The last command and its output; none if it did not run.
    last: Option<(String, String)>,
}

/// How a command ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Session {
    /// Starts in a folder with a copy of the models.
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for place in PLACES.iter().chain(&["work"]) {
            let own = folder.path().join(place.trim_matches('/'));
            fs::create_dir_all(own).expect("a folder");
        }
        copy(&models_folder(), &folder.path().join("work/models"));
        copy(
            &root().join("examples"),
            &folder.path().join("work/examples"),
        );

        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/documentation/session.sh"
        );
        let at = |name: &str| folder.path().join(name);
        let mut shell = Command::new("bash")
            .args(["--norc", "-s"])
            .current_dir(at("work"))
            .env("ORTUS", ortus_program())
            .env("TRAINER", trainer().unwrap_or_default())
            .envs([("LOG", at("log")), ("READY", at("ready"))])
            .env("PORTS", at("ports.json"))
            .env("XDG_STATE_HOME", at("state"))
            .env("ORT_DISABLE_TELEMETRY", "1")
            .env("ORTUS_SERVER__PORTS_FILE", at("ports.json"))
            .envs(PORTS.map(|(_, name)| {
                let variable = format!("ORTUS_SERVER__{}", name.to_uppercase());
                (variable, "127.0.0.1:0")
            }))
            .env("ORTUS_MODELS__POLL", "50ms")
            .env("ORTUS_MODELS__SETTLE", "50ms")
            .env("ORTUS_LOG__LEVEL", "ortus=warn,warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");

        let commands = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("piped"));
        let mut session = Self {
            folder,
            shell,
            commands,
            answers,
            last: None,
        };
        let ended = session.execute(&format!("source '{script}'"));
        assert_eq!(ended.map(|e| e.code), Ok(0), "{script}");
        session
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a block command by command; reports the first that fails.
    pub(super) fn run(&mut self, block: &str) -> Result<(), String> {
        self.run_to(block, Some(0))
    }

    /// Runs a block whose last command must end with `code`, or with any code if the command
    /// is going to be repeated.
    pub(super) fn run_to(&mut self, block: &str, last_code: Option<i32>) -> Result<(), String> {
        let all = commands(block)?;
        for (at, command) in all.iter().enumerate() {
            let wanted = if at + 1 == all.len() {
                last_code
            } else {
                Some(0)
            };
            let ended = self.execute(&self.local(command)?)?;
            if wanted.is_some_and(|code| code != ended.code) {
                return Err(describe(command, &ended));
            }
            // Errors are on standard error.
            let refusal = if ended.code == 0 { "" } else { &ended.stderr };
            self.last = Some((command.clone(), ended.stdout + refusal));
        }
        Ok(())
    }

    /// Runs a Python program in the page's folder.
    pub(super) fn python(&mut self, program: &str) -> Result<(), String> {
        if !self.has_python(program) {
            self.last = None;
            return Ok(());
        }
        let file = self.at("example.py");
        fs::write(&file, self.local(program)?).map_err(|e| e.to_string())?;
        let command = format!("\"$PYTHON\" '{}'", file.display());
        let ended = self.execute(&command)?;
        if ended.code != 0 {
            return Err(describe(program, &ended));
        }
        self.last = Some((command, ended.stdout));
        Ok(())
    }

    /// Whether there is a Python with the packages that a program imports; sets `PYTHON`
    /// in the shell.
    fn has_python(&mut self, program: &str) -> bool {
        let learns = ["sklearn", "pandas", "pyarrow"];
        let (name, list) = if learns.iter().any(|package| program.contains(package)) {
            ("test-monitor", "monitor/requirements.txt")
        } else {
            ("test-clients", "clients/requirements.txt")
        };
        let Some(python) = or_not_run("Python with its packages", python(name, list)) else {
            return false;
        };
        let known = self.execute(&format!("PYTHON='{}'", python.display()));
        known.is_ok_and(|ended| ended.code == 0)
    }

    /// Writes a file into the page's folder; returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let file = self.at("work").join(name);
        let folder = file.parent().ok_or("no folder")?;
        fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        fs::write(&file, self.local(text)?).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(file)
    }

    /// Compares a text with the output of the last command.
    pub(super) fn printed(&self, expected: &str) -> Result<(), String> {
        let Some((command, printed)) = &self.last else {
            return Ok(());
        };
        let expected = self.local(expected)?;
        if matches(&expected, printed) {
            return Ok(());
        }
        Err(format!(
            "{command}\nprinted:\n{printed}\nand not:\n{expected}"
        ))
    }

    /// Repeats the last command until it prints `expected`.
    pub(super) fn prints_in_the_end(&mut self, expected: &str) -> Result<(), String> {
        let Some((command, _)) = self.last.clone() else {
            return Ok(());
        };
        let expected = self.local(expected)?;
        let command = self.local(&command)?;
        eventually(&expected, || {
            let ended = self.execute(&command).expect("bash answers");
            matches(&expected, &ended.stdout)
        });
        Ok(())
    }

    /// Checks TOML with the program that it is meant for.
    pub(super) fn check_toml(&mut self, text: &str) -> Result<(), String> {
        let tables: toml::Table = toml::from_str(text).map_err(|e| e.to_string())?;
        if TRAINING.iter().any(|name| tables.contains_key(*name)) {
            return self.check_training(text, &tables);
        }
        let file = self.at("checked.toml").display().to_string();
        fs::write(&file, self.with_places(text)).map_err(|e| e.to_string())?;
        let command = format!("ortus config check --config '{file}'");
        let ended = self.execute(&command)?;
        if ended.code != 0 {
            return Err(describe(&command, &ended));
        }
        Ok(())
    }

    /// Checks a training specification. A part of one is completed with a name, a source
    /// and a target. `plan` reports faults of the specification with the file's name;
    /// absent data are allowed.
    fn check_training(&mut self, text: &str, tables: &toml::Table) -> Result<(), String> {
        let what = "a training specification";
        let Some(_) = or_not_run(
            what,
            trainer().ok_or("ortus-trainer is not built".to_owned()),
        ) else {
            return Ok(());
        };
        let mut whole = text.to_owned();
        let mut complete = |is_there: bool, part: &str| {
            if !is_there {
                whole += part;
            }
        };
        let has_sources = tables
            .get("data")
            .is_some_and(|data| data.get("sources").is_some());
        complete(
            tables.contains_key("model"),
            "\n[model]\nname = \"example\"\n",
        );
        complete(has_sources, "\n[data.sources]\nrows = \"rows.csv\"\n");
        complete(
            tables.contains_key("schema"),
            "\n[schema]\ntarget = \"target\"\n",
        );

        let file = self.at("checked.toml").display().to_string();
        fs::write(&file, self.with_places(&whole)).map_err(|e| e.to_string())?;
        let ended = self.execute(&format!("ortus-trainer plan '{file}'"))?;
        let refused = format!("ortus-trainer: {file}");
        if ended.stderr.starts_with(&refused) {
            return Err(ended.stderr);
        }
        Ok(())
    }

    /// Text with this page's folders and the running server's addresses.
    fn local(&self, text: &str) -> Result<String, String> {
        let mut text = self.with_places(text);
        let known: BTreeMap<String, String> = fs::read(self.at("ports.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        for (port, listener) in PORTS {
            for host in ["localhost", "127.0.0.1"] {
                let named = format!("{host}:{port}");
                if !text.contains(&named) {
                    continue;
                }
                let own = known
                    .get(listener)
                    .ok_or_else(|| format!("{named}: no server runs; begin with `ortus serve`"))?;
                text = text.replace(&named, own);
            }
        }
        Ok(text)
    }

    /// Text with this page's folders.
    fn with_places(&self, text: &str) -> String {
        // The folder's own path begins with one of the places.
        const FOLDER: &str = "\u{1}";
        let mut text = text.to_owned();
        for place in PLACES {
            text = text.replace(place, &format!("{FOLDER}{place}"));
        }
        text.replace(FOLDER, &self.folder.path().display().to_string())
    }

    /// Runs one command in the shell.
    fn execute(&mut self, command: &str) -> Result<Ended, String> {
        let (out, err) = (self.at("stdout"), self.at("stderr"));
        let shell = self.commands.as_mut().ok_or("the shell has ended")?;
        writeln!(
            shell,
            "{{ {command}\n}} </dev/null >'{}' 2>'{}'\necho '{MARK}' $?",
            out.display(),
            err.display()
        )
        .map_err(|e| format!("{command}: {e}"))?;

        let text =
            |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        let code = line.trim_end().strip_prefix(MARK).map(str::trim);
        match (read, code.and_then(|code| code.parse().ok())) {
            (Ok(_), Some(code)) => Ok(Ended {
                code,
                stdout: text(&out),
                stderr: text(&err),
            }),
            _ => Err(format!("{command}: the shell ended: {}", text(&err))),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // At the end of its input the shell stops the server and ends.
        drop(self.commands.take());
        let _ = self.shell.wait();
        let log = fs::read_to_string(self.at("log")).unwrap_or_default();
        if std::thread::panicking() {
            println!("the server's log:\n{log}");
        } else {
            assert!(!log.contains("panicked"), "the server panicked:\n{log}");
        }
    }
}

/// The trainer's program, which Cargo puts beside the server's.
pub(super) fn trainer() -> Option<PathBuf> {
    let beside = ortus_built_for_tests().with_file_name("ortus-trainer");
    Some(beside).filter(|path| path.is_file())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).expect("copied");
        }
    }
}

fn describe(command: &str, ended: &Ended) -> String {
    let Ended {
        code,
        stdout,
        stderr,
    } = ended;
    format!("{command}\nended with {code}:\n{stdout}{stderr}")
}

/// Splits a block into whole commands: lines are added until bash can read them.
fn commands(block: &str) -> Result<Vec<String>, String> {
    let mut commands = Vec::new();
    let mut command = String::new();
    for line in block.lines() {
        command += line;
        command.push('\n');
        if is_whole(&command)? {
            let whole = std::mem::take(&mut command);
            let is_comment = |line: &str| line.trim().is_empty() || line.trim().starts_with('#');
            if !whole.lines().all(is_comment) {
                commands.push(whole);
            }
        }
    }
    match command.as_str() {
        "" => Ok(commands),
        rest => Err(format!("no whole command: {rest}")),
    }
}

/// Whether bash can read a command as it is. For a here-document that does not end it only
/// prints a warning.
fn is_whole(command: &str) -> Result<bool, String> {
    if command.trim_end().ends_with('\\') {
        return Ok(false);
    }
    let checked = Command::new("bash")
        .args(["-n", "-c", command])
        .output()
        .map_err(|e| format!("bash: {e}"))?;
    Ok(checked.status.success() && checked.stderr.is_empty())
}

/// Whether a text is as expected, whitespace aside; `…` stands for anything.
fn matches(expected: &str, text: &str) -> bool {
    let squeeze = |text: &str| -> String { text.split_whitespace().collect() };
    let (expected, text) = (squeeze(expected), squeeze(text));
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };

    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    false
}
