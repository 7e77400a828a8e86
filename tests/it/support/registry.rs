//! A registry in a folder or on an S3 server, and what a server answers from it.

use super::optional::python;
use super::{Server, http, ortus, root};
use ortus::testing::graphs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// An S3 server with one empty bucket; ends with the test.
pub(crate) struct S3 {
    child: Child,
    pub port: u16,
}

impl S3 {
    pub(crate) fn start() -> Result<Self, String> {
        let python = python("test-s3", "s3/requirements.txt")?;
        let script = root().join("tests/s3/serve.py");
        let mut server = Command::new(python);
        server
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = server.spawn().map_err(|e| e.to_string())?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no output")?;
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|e| e.to_string())?;
        let port = line
            .trim()
            .parse()
            .map_err(|_| format!("the S3 server said {line:?}"))?;
        let s3 = Self { child, port };
        let made = http(&format!("127.0.0.1:{port}"), "PUT", "/bucket", &[], b"");
        if made.status == 200 {
            Ok(s3)
        } else {
            Err(format!("no bucket: {}", made.text()))
        }
    }

    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A registry in a folder, with its commands.
pub(crate) struct Registry(pub tempfile::TempDir);

impl Registry {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.0.path().join("store").display())
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// Runs a command; returns its exit code, output and error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = ortus()
            .args(arguments)
            .arg("--registry")
            .arg(self.url())
            .output()
            .expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        (
            output.status.code().expect("an exit code"),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// Runs a command that must succeed; returns its output.
    pub(crate) fn does(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out} {err}");
        out
    }

    /// Runs a command that must be refused; returns its one line of error.
    pub(crate) fn refuses(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(
            (code, err.lines().count()),
            (1, 1),
            "{arguments:?}: {out} {err}"
        );
        err
    }

    /// Pushes a model whose output is `mark`; returns its version.
    pub(crate) fn push(&self, model: &str, mark: f32) -> String {
        let file = self.0.path().join("model.onnx");
        std::fs::write(&file, graphs::demanding(mark)).expect("written");
        self.does(&["push", model, file.to_str().expect("text")])
    }

    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        let (url, cache) = (self.url(), self.0.path().join("cache"));
        let mut all = vec!["--registry", &url, "--cache", cache.to_str().expect("text")];
        all.extend(["--set", "registry.poll=20ms"]);
        all.extend(arguments);
        Server::start_from(&all)
    }
}

/// Asks for a prediction over REST: the status, the version that served, and
/// the mark of the model that ran.
pub(crate) fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, String, f64) {
    let body = br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[1]}]}"#;
    let answer = http(
        &server.http,
        "POST",
        &format!("/v2/models/{path}/infer"),
        headers,
        body,
    );
    let version = answer
        .headers
        .get("ortus-model-version")
        .cloned()
        .unwrap_or_default();
    let mark = if answer.status == 200 {
        answer.json()["outputs"][0]["data"][0].as_f64()
    } else {
        None
    };
    (answer.status, version, mark.unwrap_or(f64::NAN))
}

pub(crate) fn serves(server: &Server, version: &str, mark: f64) -> bool {
    let (status, by, ran) = ask(server, "m", &[]);
    assert!(status == 200 || status == 404, "{status}");
    status == 200 && by == version && ran == mark
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed") {
        let (path, target) = entry
            .map(|e| (e.path(), to.join(e.file_name())))
            .expect("an entry");
        if path.is_dir() {
            copy(&path, &target)
        } else {
            std::fs::copy(&path, &target).map(drop).expect("copied")
        }
    }
}

/// Every file of a folder, sorted.
pub(crate) fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found)
        } else {
            found.push(path)
        }
    }
    found.sort();
}

/// The versions of `m` in the registry.
pub(crate) fn versions(registry: &Registry) -> u64 {
    let (code, out, _) = registry.run(&["show", "m", "--json"]);
    if code != 0 {
        return 0;
    }
    serde_json::from_str::<serde_json::Value>(&out).expect("JSON")["versions"]
        .as_array()
        .expect("versions")
        .len() as u64
}

/// The champion of `m` in the registry.
pub(crate) fn champion(registry: &Registry) -> u64 {
    let shown: serde_json::Value =
        serde_json::from_str(&registry.does(&["show", "m", "--json"])).expect("JSON");
    shown["aliases"]["champion"].as_u64().expect("a champion")
}

/// Marks a test as done when it is dropped, also when the test fails.
pub(crate) struct Done<'d>(pub &'d AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Flips a bit of a version's model in the store; returns its digest.
pub(crate) fn damage(registry: &Registry, version: &str) -> String {
    let target = format!("m:{version}");
    let shown: serde_json::Value =
        serde_json::from_str(&registry.does(&["show", &target, "--json"])).expect("JSON");
    let all = shown["manifest"]["files"].as_array().expect("files");
    let model = all
        .iter()
        .find(|f| f["path"] == "model.onnx")
        .expect("a model");
    let digest = model["digest"].as_str().expect("a digest")["sha256:".len()..].to_owned();
    let blob = registry
        .store()
        .join("ns/default/blobs/sha256")
        .join(&digest[..2])
        .join(&digest);
    let mut bytes = std::fs::read(&blob).expect("a blob");
    bytes[100] ^= 1;
    std::fs::write(&blob, &bytes).expect("damaged");
    digest
}
