//! A trainer's folder with its data and registry, and tables to learn from.

use crate::support::optional::run;
use crate::support::ortus;
use crate::support::registry::Registry;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn trainer() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ortus-trainer"));
    command.env("ORT_DISABLE_TELEMETRY", "1");
    command
}

/// A trainer's folder with its data and registry.
pub(crate) struct Place {
    pub folder: tempfile::TempDir,
    pub registry: Registry,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            registry: Registry::new(),
        }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.at(name), text).expect("written");
        self.at(name)
    }

    /// Gives a command about a specification that must succeed; returns its JSON output.
    pub(crate) fn does(&self, arguments: &[&str], spec: &Path) -> String {
        let mut command = trainer();
        command
            .args(arguments)
            .arg(spec)
            .args(["--registry", &self.registry.url(), "--json"]);
        run(&mut command).expect("says")
    }

    /// Looks once whether a run is due; returns what was done.
    pub(crate) fn watch_once(&self, spec: &Path) -> Vec<Value> {
        let text = self.does(&["watch", "--once"], spec);
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// Runs a specification; returns its exit code, JSON output and errors.
    pub(crate) fn run(&self, spec: &Path) -> (i32, Value, String) {
        let mut command = trainer();
        command
            .arg("run")
            .arg(spec)
            .args(["--registry", &self.registry.url(), "--json"]);
        let output = command.output().expect("runs");
        let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (
            output.status.code().expect("an exit code"),
            said,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
}

pub(crate) fn noise(row: usize, of: usize) -> f64 {
    let mut z = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (of as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Rows with a time, numbers with gaps, a category, and a class.
pub(crate) fn table(rows: usize, shift: f64) -> String {
    let mut text = "id,at,age,income,colour,bought\n".to_owned();
    for row in 0..rows {
        let (age, income) = (20.0 + 60.0 * noise(row, 1), 1e3 * noise(row, 2));
        let colour = ["red", "green", "blue"][(3.0 * noise(row, 3)) as usize];
        let score = (age - 50.0) / 10.0
            + if colour == "red" { 2.0 } else { -1.0 }
            + (income - 500.0) / 300.0
            + shift;
        let bought = if noise(row, 4) < 1.0 / (1.0 + (-score).exp()) {
            "yes"
        } else {
            "no"
        };
        let age = if noise(row, 5) < 0.1 {
            String::new()
        } else {
            format!("{age:.2}")
        };
        let (day, minute) = (row / 1440, row % 1440);
        let at = format!(
            "2026-{:02}-{:02}T{:02}:{:02}:00",
            1 + day / 28,
            1 + day % 28,
            minute / 60,
            minute % 60
        );
        text.push_str(&format!(
            "id{row},{at},{age},{income:.3},{colour},{bought}\n"
        ));
    }
    text
}

/// Checks that every object of a registry matches its digest.
pub(crate) fn check_audit(registry: &str) {
    let audit = ortus()
        .args(["audit", "verify", "--registry", registry])
        .output()
        .expect("runs");
    assert!(
        audit.status.success(),
        "{}",
        String::from_utf8_lossy(&audit.stderr)
    );
}
