//! The rules of the source tree, as data: which wing may import which, which libraries, variables and
//! clocks only some files may name, how long a file may be and how it begins, and that a type's name
//! means one thing. Each breach is printed with its file, its line and the rule.

mod imports;
mod wings;

use imports::{
    Module, Modules, circles, code_of, imports as imports_of, names_child, without_tests,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use wings::WINGS;

/// A word that only some files may name.
struct Fence {
    word: &'static str,
    /// Files, or folders, in which it may stand.
    allowed: &'static [&'static str],
    why: &'static str,
}

const FENCES: &[Fence] = &[
    Fence {
        word: "ort::",
        allowed: &["src/onnx/runtime/"],
        why: "ONNX Runtime stays behind one room",
    },
    Fence {
        word: "unsafe ",
        allowed: &[
            "src/app/end.rs",
            "src/app/signals.rs",
            "src/onnx/runtime/onnx",
            "src/sandbox/limits.rs",
            "src/bin/",
            "trainer/src/main.rs",
            "trainer/src/values.rs",
            "trainer/src/fit/prefetch.rs",
        ],
        why: "few places to review",
    },
    Fence {
        word: "object_store::",
        allowed: &["src/storage/store"],
        why: "object stores stay behind one room",
    },
    Fence {
        word: "parquet::",
        allowed: &["src/storage/table/columnar.rs"],
        why: "Parquet stays behind one file",
    },
    Fence {
        word: "datafusion::",
        allowed: &[
            "trainer/src/data/source.rs",
            "trainer/src/data/columns.rs",
            "trainer/src/data/tables",
            "trainer/src/data/joins.rs",
            "trainer/src/data/query_error.rs",
        ],
        why: "SQL stays behind one room",
    },
    Fence {
        word: "hyper::",
        allowed: &[
            "src/api",
            "src/client",
            "src/app.rs",
            "trainer/src/listen.rs",
        ],
        why: "HTTP stays at the edge",
    },
    Fence {
        word: "tonic::",
        allowed: &["src/api", "src/client", "src/proto.rs"],
        why: "gRPC stays at the edge",
    },
    Fence {
        word: "env::var",
        allowed: &[
            "src/app/watching.rs",
            "src/cli.rs",
            "src/cli/",
            "src/observe/logging.rs",
            "src/onnx/first_run.rs",
            "src/onnx/runtime/library.rs",
            "src/storage/store",
            "trainer/src/command.rs",
        ],
        why: "settings come from the configuration; credentials and what other programs define come from variables",
    },
    Fence {
        word: "SystemTime::now",
        allowed: WALL_CLOCK,
        why: WALL_CLOCK_WHY,
    },
    Fence {
        word: "Utc::now",
        allowed: WALL_CLOCK,
        why: WALL_CLOCK_WHY,
    },
];

/// Files that read the wall clock: they record events, or call code that decides by a time.
const WALL_CLOCK: &[&str] = &[
    "src/api/connection/http2/exchange.rs",
    "src/api/operator/views.rs",
    "src/app/watching.rs",
    "src/cli/",
    "src/client/webhook.rs",
    "src/core/request/id.rs",
    "src/observe/alarms.rs",
    "src/observe/drift/observer.rs",
    "src/observe/fleet.rs",
    "src/observe/labels",
    "src/observe/metrics/statistics.rs",
    "src/observe/report/alarm.rs",
    "src/observe/traces.rs",
    "src/registry/log.rs",
    "src/serve/manager.rs",
    "trainer/src/cli/",
    "trainer/src/data.rs",
    "trainer/src/demo",
    "trainer/src/lease.rs",
    "trainer/src/listen.rs",
    "trainer/src/recorded_run.rs",
    "trainer/src/sweep.rs",
    "trainer/src/watch.rs",
];
const WALL_CLOCK_WHY: &str = "code that decides by a time takes it as an argument";

/// Names of types that two files may declare, each with its reason.
const SHARED_NAMES: &[(&str, &str)] = &[];

const LINES_MAX: usize = 500;

/// Files that are lists and may be longer.
const LISTS: &[&str] = &["src/config/tests.rs", "src/onnx/rows/table.rs"];

/// Wings of the library that the trainer never imports: it has no server.
const NOT_FOR_TRAINER: &[&str] = &["serve", "api"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The Rust files of folders, relative to the root, with their text.
fn tree(folders: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in folders {
        files_below(&root().join(folder), &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(root()).expect("below the root");
            let text = fs::read_to_string(&path).expect("text");
            (relative.to_string_lossy().into_owned(), text)
        })
        .collect()
}

/// The modules of a package whose sources lie in `folder`. Test code is left out.
fn modules(folder: &str) -> Modules {
    let mut modules = Modules::new();
    for (file, text) in tree(&[folder]) {
        if is_test(&file) {
            continue;
        }
        let name = file[folder.len()..].trim_start_matches('/');
        let path = name.trim_end_matches(".rs").replace('/', "::");
        let path = match path.as_str() {
            "lib" | "main" => String::new(),
            _ => path,
        };
        let code = code_of(&text);
        modules.insert(path, Module { file, code });
    }
    modules
}

fn is_test(file: &str) -> bool {
    ["tests.rs", "proof.rs", "fake.rs", "conformance.rs"]
        .iter()
        .any(|end| file.ends_with(end))
        || file.contains("/tests/")
        || file.contains("/conformance/")
}

fn wing(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

/// Imports of one wing by another that the table does not allow.
fn broken_wings(modules: &Modules) -> Vec<String> {
    let mut broken = Vec::new();
    for (path, module) in modules.iter().filter(|(path, _)| !path.is_empty()) {
        let here = wing(path);
        let Some((_, allowed)) = WINGS.iter().find(|(name, _)| *name == here) else {
            broken.push(format!(
                "{}: the wing '{here}' is not in the table",
                module.file
            ));
            continue;
        };
        for target in imports_of(modules, path) {
            let there = wing(&target);
            if there != here && !allowed.contains(&there) {
                broken.push(format!("{}: {here} may not import {target}", module.file));
            }
        }
    }
    broken
}

fn broken_fences(file: &str, text: &str) -> Vec<String> {
    let code = code_of(text);
    let mut broken = Vec::new();
    for (number, line) in without_tests(&code).lines().enumerate() {
        for fence in FENCES {
            let is_whole = |at: usize| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
            };
            let is_named = line.match_indices(fence.word).any(|(at, _)| is_whole(at));
            if is_named
                && !fence
                    .allowed
                    .iter()
                    .any(|allowed| file.starts_with(allowed))
            {
                broken.push(format!(
                    "{file}:{}: names {} ({})",
                    number + 1,
                    fence.word.trim(),
                    fence.why
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

/// Imports of the server's wings by the trainer, in paths and in groups of `use`.
fn broken_trainer(file: &str, text: &str) -> Vec<String> {
    let code = code_of(text);
    NOT_FOR_TRAINER
        .iter()
        .filter(|wing| names_child(&code, "ortus", wing))
        .map(|wing| format!("{file}: the trainer may not import ortus::{wing}"))
        .collect()
}

/// The name of the type that a line of code declares. A `type` inside an `impl`
/// belongs to its trait and is left out.
fn declared_type(line: &str) -> Option<&str> {
    let declaration = line.trim_start();
    let is_inner = declaration.len() < line.len();
    let declaration = match declaration.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.strip_prefix(' ')?,
        None => declaration,
    };
    let (keyword, rest) = declaration.split_once(' ')?;
    match keyword {
        "struct" | "enum" | "union" | "trait" => {}
        "type" if !is_inner => {}
        _ => return None,
    }
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

/// Names of types that more than one file declares.
fn broken_names(files: &[(String, String)]) -> Vec<String> {
    let mut files_of: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in files {
        for name in without_tests(&code_of(text))
            .lines()
            .filter_map(declared_type)
        {
            files_of.entry(name.to_owned()).or_default().insert(file);
        }
    }
    files_of
        .iter()
        .filter(|(name, files)| {
            files.len() > 1 && !SHARED_NAMES.iter().any(|(shared, _)| shared == name)
        })
        .map(|(name, files)| format!("{name} is declared in {files:?}"))
        .collect()
}

fn assert_none(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn a_wing_imports_only_what_the_table_allows() {
    assert_none(broken_wings(&modules("src")));
}

#[test]
fn no_two_files_import_each_other_in_a_circle() {
    let circles = circles(&modules("src"));
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn no_two_files_of_the_trainer_import_each_other_in_a_circle() {
    let circles = circles(&modules("trainer/src"));
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn the_trainer_imports_nothing_of_the_server() {
    let files = tree(&["trainer/src"]);
    assert_none(
        files
            .iter()
            .flat_map(|(file, text)| broken_trainer(file, text))
            .collect(),
    );
}

#[test]
fn libraries_stay_behind_their_rooms() {
    let files = tree(&["src", "trainer/src"]);
    let files = files.iter().filter(|(file, _)| !is_test(file));
    assert_none(
        files
            .flat_map(|(file, text)| broken_fences(file, text))
            .collect(),
    );
}

#[test]
fn a_types_name_is_declared_once() {
    let files: Vec<_> = tree(&["src", "trainer/src"])
        .into_iter()
        .filter(|(file, _)| !is_test(file))
        .collect();
    assert_none(broken_names(&files));
}

#[test]
fn files_keep_their_form() {
    let files = tree(&["src", "tests", "benches", "loadtest", "trainer"]);
    assert_none(
        files
            .iter()
            .flat_map(|(file, text)| broken_form(file, text))
            .collect(),
    );
}

#[test]
fn each_rule_can_fail() {
    let module = |file: &str, text: &str| Module {
        file: file.to_owned(),
        code: code_of(text),
    };
    let mut upwards = Modules::new();
    upwards.insert(
        "core::error".to_owned(),
        module("src/core/error.rs", "use crate::api::Front;"),
    );
    upwards.insert("api".to_owned(), module("src/api.rs", ""));
    upwards.insert("nowhere".to_owned(), module("src/nowhere.rs", ""));
    assert_eq!(broken_wings(&upwards).len(), 2);

    assert_eq!(
        broken_fences("src/api.rs", "let s = ort::Session;\n").len(),
        1
    );
    assert_eq!(
        broken_fences("src/api.rs", "let s = \"ort::Session\";\n").len(),
        0
    );
    assert_eq!(
        broken_fences("src/core/model.rs", "let s = x.unwrap();\n").len(),
        1
    );
    assert_eq!(
        broken_fences("src/serve/batch.rs", "let now = Utc::now();\n").len(),
        1
    );

    let declares = |file: &str, text: &str| (file.to_owned(), text.to_owned());
    let twice = [
        declares("src/core/a.rs", "pub(crate) struct Head<'a> {\n"),
        declares("src/serve/b.rs", "fn read() {\n    enum Head {\n"),
        declares(
            "src/serve/c.rs",
            "impl Iterator for C {\n    type Item = u8;\n",
        ),
        declares(
            "src/serve/d.rs",
            "impl Iterator for D {\n    type Item = u8;\n",
        ),
    ];
    assert_eq!(broken_names(&twice).len(), 1);

    let trainer = "use ortus::{core::error::Error, serve::{Routes}};\n";
    assert_eq!(broken_trainer("trainer/src/data.rs", trainer).len(), 1);
    let trainer = "let front = ortus::api::Front::new();\n";
    assert_eq!(broken_trainer("trainer/src/data.rs", trainer).len(), 1);
    let trainer = "use ortus::core::serve;\n";
    assert_eq!(broken_trainer("trainer/src/data.rs", trainer).len(), 0);
    assert_eq!(broken_form("src/core/model.rs", "use std::fmt;\n").len(), 1);
    assert_eq!(broken_form("src/a/mod.rs", "//! x\n").len(), 1);
    assert_eq!(
        broken_form("src/core/model.rs", &"//! x\n".repeat(LINES_MAX + 1)).len(),
        1
    );
}
