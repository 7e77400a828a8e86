//! The rules of the source tree, as data: who may import whom, how long a file
//! may be, what every file begins with. Fails with the line and the rule.

use std::fs;
use std::path::{Path, PathBuf};

/// The vocabulary: every room may import it.
const VOCABULARY: [&str; 4] = ["error", "model", "request", "tensor"];

/// Room → what it may import beside itself and the vocabulary.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("tensor", &[]),
    ("model", &[]),
    ("request", &[]),
    ("proto", &[]),
    ("metrics", &[]),
    ("graph", &["proto"]),
    ("runtime", &[]),
    ("store", &[]),
    ("table", &[]),
    ("monitor", &["metrics", "graph", "runtime"]),
    ("records", &["store"]),
    ("traces", &[]),
    ("windows", &["monitor", "metrics", "records", "store"]),
    ("page", &[]),
    (
        "capture",
        &["monitor", "metrics", "records", "table", "elements"],
    ),
    (
        "feedback",
        &["capture", "table", "monitor", "metrics", "records", "store"],
    ),
    ("elements", &[]),
    ("golden", &["elements", "runtime"]),
    ("probe", &["runtime", "graph", "golden"]),
    ("registry", &["graph", "store"]),
    ("client", &["proto", "traces"]),
    ("batch", &["runtime", "metrics"]),
    ("servable", &["monitor", "batch", "runtime", "metrics"]),
    ("route", &["servable"]),
    (
        "manager",
        &[
            "monitor", "route", "servable", "registry", "graph", "runtime", "metrics", "batch",
            "predict", "probe", "golden",
        ],
    ),
    (
        "operate",
        &[
            "table", "monitor", "golden", "registry", "store", "graph", "probe", "runtime",
            "testing",
        ],
    ),
    ("shadow", &["servable", "metrics"]),
    (
        "predict",
        &["traces", "route", "servable", "shadow", "metrics"],
    ),
    (
        "api",
        &[
            "feedback", "monitor", "elements", "predict", "manager", "route", "servable",
            "metrics", "proto", "operate", "registry",
        ],
    ),
    (
        "cli",
        &[
            "metrics", "page", "capture", "records", "client", "config", "app", "elements",
            "logging", "runtime", "api", "operate", "registry", "train",
        ],
    ),
    ("config", &["logging"]),
    ("logging", &[]),
    (
        "app",
        &[
            "traces", "windows", "client", "capture", "feedback", "records", "monitor", "graph",
            "api", "probe", "config", "manager", "metrics", "predict", "registry", "route",
            "runtime", "store",
        ],
    ),
    (
        "train",
        &[
            "capture", "config", "feedback", "golden", "graph", "monitor", "operate", "page",
            "probe", "proto", "records", "registry", "runtime", "store", "table",
        ],
    ),
    ("testing", &["monitor", "proto", "operate"]),
    ("lib", &[]),
    ("bin", &["cli"]),
];

/// Libraries that only some rooms may name.
const FENCED: &[(&str, &[&str])] = &[
    (
        "ort::",
        &[
            "runtime/onnx.rs",
            "runtime/provider.rs",
            "runtime/library.rs",
        ],
    ),
    (
        "unsafe ",
        &[
            "runtime/onnx.rs",
            "probe/limits.rs",
            "bin/ortus.rs",
            "bin/ortus-trainer.rs",
        ],
    ),
    ("object_store::", &["store"]),
    ("parquet::", &["table/columnar.rs"]),
    (
        "datafusion::",
        &[
            "train/data/source.rs",
            "train/data/columns.rs",
            "train/data/joins.rs",
        ],
    ),
    (
        "hyper::",
        &["api", "client.rs", "app.rs", "train/listen.rs"],
    ),
    (
        "tonic::",
        &["api", "client.rs", "client/otlp.rs", "proto.rs"],
    ),
];

const LINES_MAX: usize = 700;

/// Files that are lists and may be longer.
const LISTS: &[&str] = &["metrics.rs"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// A file relative to `src/`, with its text.
fn tree() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found.sort();
    let relative = |path: &Path| {
        path.strip_prefix(&root)
            .expect("below src")
            .to_string_lossy()
            .into_owned()
    };
    found
        .iter()
        .map(|path| (relative(path), fs::read_to_string(path).expect("text")))
        .collect()
}

fn room(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or_default()
}

/// What is not test code: everything before the first test module, and no file
/// of tests.
fn production<'t>(file: &str, text: &'t str) -> &'t str {
    if file.ends_with("tests.rs") || file.contains("/tests/") || file.ends_with("fake.rs") {
        return "";
    }
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn broken_layers(file: &str, text: &str) -> Vec<String> {
    let here = room(file);
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == here) else {
        return vec![format!(
            "{file}: the room '{here}' is not in the table of layers"
        )];
    };
    let mut broken = Vec::new();
    for (number, line) in production(file, text)
        .lines()
        .enumerate()
        .filter(|(_, l)| !is_comment(l))
    {
        for import in line.split("crate::").skip(1) {
            let name: String = import
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let known = LAYERS.iter().any(|(room, _)| *room == name);
            if known
                && name != here
                && !VOCABULARY.contains(&name.as_str())
                && !allowed.contains(&name.as_str())
            {
                broken.push(format!(
                    "{file}:{}: {here} may not import {name}",
                    number + 1
                ));
            }
        }
    }
    broken
}

fn broken_fences(file: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for (number, line) in production(file, text)
        .lines()
        .enumerate()
        .filter(|(_, l)| !is_comment(l))
    {
        for (word, rooms) in FENCED {
            let names =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let named = line.match_indices(word).any(|(at, _)| names(at));
            if named && !rooms.iter().any(|r| file.starts_with(r)) {
                broken.push(format!(
                    "{file}:{}: names {word} outside its rooms",
                    number + 1
                ));
            }
        }
        if line.contains(".unwrap()") {
            broken.push(format!("{file}:{}: unwrap() outside tests", number + 1));
        }
    }
    broken
}

fn broken_form(file: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if !text.starts_with("//!") {
        broken.push(format!(
            "{file}:1: the file does not begin with a //! header"
        ));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX && !LISTS.contains(&file) {
        broken.push(format!("{file}: {lines} lines are over {LINES_MAX}"));
    }
    if file.ends_with("/mod.rs") {
        broken.push(format!("{file}: is a mod.rs"));
    }
    broken
}

#[test]
fn the_source_tree_keeps_its_rules() {
    let rules = [broken_layers, broken_fences, broken_form];
    let broken: Vec<String> = tree()
        .iter()
        .flat_map(|(file, text)| rules.map(|rule| rule(file, text)))
        .flatten()
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn each_rule_can_fail() {
    assert_eq!(
        broken_layers("batch/queue.rs", "//! x\nuse crate::api::Front;\n").len(),
        1
    );
    assert_eq!(broken_layers("nowhere.rs", "//! x\n").len(), 1);
    assert_eq!(
        broken_layers("batch.rs", "//! x\nuse crate::tensor::Tensor;\n").len(),
        0
    );
    assert_eq!(
        broken_fences("api.rs", "//! x\nlet s = ort::Session;\n").len(),
        1
    );
    assert_eq!(
        broken_fences("model.rs", "//! x\nlet s = x.unwrap();\n").len(),
        1
    );
    assert_eq!(broken_form("model.rs", "use std::fmt;\n").len(), 1);
    assert_eq!(
        broken_form("model.rs", &"//! x\n".repeat(LINES_MAX + 1)).len(),
        1
    );
}
