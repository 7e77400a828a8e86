//! The registry as its users meet it: on a real S3 server, through its
//! commands, and as what a server follows.

use crate::optional::{or_not_run, python};
use crate::support::http;
use ortus::testing::conformance::{self, Scale};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// An S3 server with one empty bucket; ends with the test.
struct S3 {
    child: Child,
    port: u16,
}

impl S3 {
    fn start() -> Result<Self, String> {
        let python = python("test-s3", "s3/requirements.txt")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/serve.py");
        let mut server = Command::new(python);
        server.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = server.spawn().map_err(|e| e.to_string())?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|e| e.to_string())?;
        let port = line.trim().parse().map_err(|_| format!("the S3 server said {line:?}"))?;
        let s3 = Self { child, port };
        let made = http(&format!("127.0.0.1:{port}"), "PUT", "/bucket", &[("Authorization", "none")], b"");
        if made.status == 200 { Ok(s3) } else { Err(format!("no bucket: {}", made.text())) }
    }

    fn env(&self) -> Vec<(&'static str, String)> {
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

#[test]
fn the_suite_holds_on_an_s3_server() {
    let Some(s3) = or_not_run("an S3 server", S3::start()) else { return };
    let scale = Scale { writers: 8, commits: 100, blob_bytes: 20 << 20 };
    conformance::run("s3://bucket/some/folder", &s3.env(), scale);
}
