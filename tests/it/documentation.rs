//! README and the book in docs/: every example runs, every link leads somewhere,
//! every page is in the summary.
//!
//! A page is run from top to bottom, as a reader would do it, in a folder of its
//! own that holds copies of `models/` and `examples/` (see `session.rs`):
//!
//! - `sh`: command by command. `ortus serve` stays in the background until the
//!   next one or the end of the page.
//! - `python`: with the clients of `tests/clients/requirements.txt`.
//! - `toml`: by `ortus config check`, or by `ortus-trainer plan` where its tables
//!   are those of a training specification.
//! - `json`: must parse.
//!
//! An HTML comment above a block is a directive: `<!-- file: NAME -->`,
//! `<!-- output -->`, `<!-- output in the end -->`, `<!-- exit code: N -->`. Any
//! other block carries `<!-- not run: REASON -->`, or the test fails.
//!
//! Ports and host names: 8000, 8001, 8002 and 8003 of `localhost` or `127.0.0.1` are
//! replaced by the addresses of the running server; `/tmp/`, `/srv/`, `/etc/ortus` and
//! `/var/lib/ortus` by folders of the page's own.

mod markdown;
mod messages;
mod session;

use crate::support::optional::{or_not_run, python};
use crate::support::root;
use markdown::{Block, Directive, anchors, blocks, links};
use session::{Session, trainer};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|e| panic!("{page}: {e}"))
}

/// Runs the examples of each page, one test a page.
macro_rules! pages {
    ($($name:ident = $page:literal;)*) => {
        /// README and every page of the book.
        const PAGES: &[&str] = &[$($page),*];

        $(
            #[test]
            fn $name() {
                run_page($page);
            }
        )*
    };
}

pages! {
    readme_runs = "README.md";
    install_runs = "docs/install.md";
    first_model_runs = "docs/first-model.md";
    serving_runs = "docs/serving.md";
    model_directories_run = "docs/serving/model-directories.md";
    model_lists_run = "docs/serving/model-lists.md";
    config_pbtxt_runs = "docs/serving/config-pbtxt.md";
    requests_run = "docs/serving/requests.md";
    open_inference_rest_runs = "docs/serving/open-inference-rest.md";
    binary_tensors_run = "docs/serving/binary-tensors.md";
    open_inference_grpc_runs = "docs/serving/open-inference-grpc.md";
    shared_memory_runs = "docs/serving/shared-memory.md";
    tensorflow_serving_rest_runs = "docs/serving/tensorflow-serving-rest.md";
    tensorflow_serving_grpc_runs = "docs/serving/tensorflow-serving-grpc.md";
    tables_run = "docs/serving/tables.md";
    clients_run = "docs/serving/clients.md";
    batching_runs = "docs/batching.md";
    operators_run = "docs/operators.md";
    configuring_runs = "docs/configuring.md";
    configuration_runs = "docs/configuration.md";
    registry_runs = "docs/registry.md";
    signatures_run = "docs/registry/signatures.md";
    monitoring_runs = "docs/monitoring.md";
    labels_run = "docs/labels.md";
    capture_runs = "docs/capture.md";
    records_run = "docs/records.md";
    observability_runs = "docs/observability.md";
    metrics_run = "docs/metrics.md";
    training_runs = "docs/training.md";
    training_data_runs = "docs/training/data.md";
    algorithms_run = "docs/training/algorithms.md";
    objectives_run = "docs/training/objectives.md";
    gates_run = "docs/training/gates.md";
    automation_runs = "docs/training/automation.md";
    explanations_run = "docs/explanations.md";
    operator_api_runs = "docs/operator-api.md";
    security_runs = "docs/security.md";
    troubleshooting_runs = "docs/troubleshooting.md";
    upgrade_runs = "docs/upgrade.md";
    glossary_runs = "docs/glossary.md";
}

/// The table of contents of the book, which is no page of its own.
const SUMMARY: &str = "docs/SUMMARY.md";
/// Pages beside the book whose links must lead somewhere as well.
const OTHERS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "models/README.md",
    "loadtest/README.md",
    "tests/gpu/README.md",
];

fn run_page(page: &str) {
    let blocks = blocks(&read(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
    if let Some(unused) = unused_file(&blocks) {
        panic!("{page}:{}: nothing below uses this file", unused.line);
    }
    let mut session = Session::start();
    for (at, block) in blocks.iter().enumerate() {
        if let Err(why) = run_block(&mut session, block, blocks.get(at + 1)) {
            panic!("{page}:{}: {why}", block.line);
        }
    }
}

/// A file that no command below it names. `ortus` finds these by itself.
fn unused_file(blocks: &[Block]) -> Option<&Block> {
    const FOUND: [&str; 2] = ["ortus.toml", "config.pbtxt"];
    let is_unused = |(at, block): (usize, &Block)| {
        let Some(Directive::File(name)) = &block.directive else {
            return false;
        };
        let own_name = name.rsplit('/').next().unwrap_or(name);
        let needed = if FOUND.contains(&own_name) {
            "ortus "
        } else {
            own_name
        };
        let mut below = blocks[at + 1..].iter();
        !below.any(|b| b.language == "sh" && b.text.contains(needed))
    };
    let found = blocks.iter().enumerate().find(|found| is_unused(*found));
    found.map(|(_, block)| block)
}

fn run_block(session: &mut Session, block: &Block, next: Option<&Block>) -> Result<(), String> {
    let is_repeated = next.is_some_and(|b| b.directive == Some(Directive::OutputInTheEnd));
    let text = &block.text;
    match (&block.directive, block.language.as_str()) {
        (Some(Directive::NotRun(_)), _) => Ok(()),
        (Some(Directive::Output), _) => session.printed(text),
        (Some(Directive::OutputInTheEnd), _) => session.prints_in_the_end(text),
        (Some(Directive::ExitCode(code)), "sh") => session.run_to(text, Some(*code)),
        (Some(Directive::File(name)), language) => {
            session.write(name, text)?;
            match language {
                "toml" => session.check_toml(text),
                "json" => parses(text),
                // The commands below it show whether it is right.
                _ => Ok(()),
            }
        }
        (None, "sh") if is_repeated => session.run_to(text, None),
        (None, "sh") => session.run(text),
        (None, "python") => session.python(text),
        (None, "toml") => session.check_toml(text),
        (None, "json") => parses(text),
        (_, language) => Err(format!(
            "a block of '{language}' is neither run nor marked; put `<!-- not run: REASON -->` above it"
        )),
    }
}

fn parses(text: &str) -> Result<(), String> {
    serde_json::from_str::<serde_json::Value>(text)
        .map(drop)
        .map_err(|e| format!("no JSON: {e}"))
}

/// The Markdown files below docs/, relative to the repository.
fn book() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_page = path.extension().is_some_and(|e| e == "md");
            if path.is_dir() {
                folders.push(path);
            } else if is_page {
                let relative = path.strip_prefix(root()).expect("in the repository");
                found.insert(relative.display().to_string());
            }
        }
    }
    found
}

/// A page's link as a file and an anchor; `None` where it leads out of the repository.
fn resolve(page: &str, target: &str) -> Option<(PathBuf, Option<String>)> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (target, None),
    };
    let file = match path {
        "" => root().join(page),
        path => root().join(page).parent().expect("a folder").join(path),
    };
    Some((file, anchor))
}

fn broken_links(page: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for (line, target) in links(&read(page)) {
        let Some((file, anchor)) = resolve(page, &target) else {
            continue;
        };
        let Ok(file) = file.canonicalize() else {
            broken.push(format!("{page}:{line}: {target} is no file"));
            continue;
        };
        let Some(anchor) = anchor else { continue };
        let text = fs::read_to_string(&file).unwrap_or_default();
        if !anchors(&text).contains(&anchor) {
            broken.push(format!("{page}:{line}: {target} is no heading"));
        }
    }
    broken
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut pages = book();
    pages.extend(OTHERS.map(str::to_owned));
    let broken: Vec<String> = pages.iter().flat_map(|page| broken_links(page)).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_page_is_run_and_is_in_the_summary() {
    let mut written = book();
    assert!(written.remove(SUMMARY), "{SUMMARY} is missing");
    let run: BTreeSet<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    let mut expected = written.clone();
    expected.insert("README.md".to_owned());
    assert_eq!(run, expected, "the list of pages in documentation.rs");

    let listed: BTreeSet<String> = links(&read(SUMMARY))
        .into_iter()
        .map(|(_, target)| format!("docs/{target}"))
        .collect();
    assert_eq!(listed, written, "{SUMMARY}");
}

#[test]
fn readme_stays_short() {
    let lines = read("README.md").lines().count();
    assert!(lines < 200, "README.md has {lines} lines");
}

#[test]
fn troubleshooting_quotes_messages_that_exist() {
    let quoted = messages::quoted(&read("docs/troubleshooting.md"));
    assert!(quoted.len() > 100, "{quoted:?}");
    let source = messages::source();
    let gone: Vec<_> = quoted
        .iter()
        .filter(|(_, text)| !source.contains(text))
        .collect();
    assert!(gone.is_empty(), "no message says (line, text): {gone:#?}");
}

#[test]
fn readme_works_with_a_registry() {
    let readme = read("README.md");
    let section = readme.split("## Serve from a registry").nth(1);
    let commands = blocks(section.expect("the section")).expect("its blocks");
    let text = &commands.first().expect("commands").text;
    for does in ["push", "promote", "rollback", "history", "serve"] {
        assert!(text.contains(&format!("ortus {does} ")), "{does}: {text}");
    }
    assert!(text.matches("ortus ").count() >= 6, "{text}");
}

fn block(language: &str, text: &str, directive: Option<Directive>) -> Block {
    Block {
        line: 1,
        language: language.to_owned(),
        text: text.to_owned(),
        directive,
    }
}

#[test]
fn each_rule_of_the_pages_can_fail() {
    let refused = |text: &str| blocks(text).expect_err("refused");
    assert!(refused("```\nls\n```\n").contains("no language"));
    assert!(refused("```sh\nls\n").contains("does not end"));
    assert!(refused("<!-- not run: -->\n```sh\n```\n").contains("needs a reason"));
    assert!(refused("<!-- output -->\n\ntext\n").contains("above no block"));

    let page = "# Über uns, `ortus serve`!\n\n```sh\n# no heading\n```\n[a](b.md#c) `[x](y)`\n## Two\n## Two\n";
    assert_eq!(anchors(page), ["über-uns-ortus-serve", "two", "two-1"]);
    assert_eq!(links(page), [(6, "b.md#c".to_owned())]);
    assert_eq!(resolve("README.md", "https://example.org"), None);

    let table = "| code | the message contains |\n|---|---|\n| 1 | `a … b`, `'…' c` |\n";
    let quoted = ["a", "b", "c"].map(|text| (3, text.to_owned()));
    assert_eq!(messages::quoted(table), quoted);
    assert_eq!(messages::quoted("| you see |\n|---|\n| `a` |\n"), []);

    let file = |name: &str| block("text", "", Some(Directive::File(name.to_owned())));
    let used = |name: &str, command: &str| {
        unused_file(&[file(name), block("sh", command, None)]).is_none()
    };
    assert!(used("a/data.py", "python3 a/data.py"));
    assert!(!used("a/data.py", "ls"));
    assert!(used("ortus.toml", "ortus serve"));
    assert!(!used("ortus.toml", "ls"));
}

#[test]
fn each_kind_of_example_can_fail() {
    let mut session = Session::start();
    let mut run = |language: &str, text: &str, directive: Option<Directive>| {
        run_block(&mut session, &block(language, text, directive), None)
    };
    let picture = Directive::NotRun("a picture".to_owned());
    let fails = |result: Result<(), String>, with: &str| {
        let why = result.expect_err(with);
        assert!(why.contains(with), "{why}");
    };

    fails(run("text", "", None), "neither run nor marked");
    assert_eq!(run("text", "", Some(picture)), Ok(()));
    fails(run("json", "{", None), "no JSON");
    fails(run("sh", "ls (", None), "no whole command");
    fails(
        run("sh", "true\nfalse\ntrue\n", None),
        "false\n\nended with 1",
    );
    fails(run("sh", "curl localhost:8000/v2", None), "no server runs");
    fails(
        run("sh", "true", Some(Directive::ExitCode(2))),
        "ended with 0",
    );
    fails(
        run("toml", "[server]\nhtpp = \"0.0.0.0:1\"\n", None),
        "htpp",
    );

    assert_eq!(run("sh", "echo one two\n", None), Ok(()));
    assert_eq!(run("text", "one … two", Some(Directive::Output)), Ok(()));
    fails(run("text", "one", Some(Directive::Output)), "and not");
    fails(run("text", "two … one", Some(Directive::Output)), "and not");

    if trainer().is_some() {
        let misspelt = "[fit]\nalgoritm = \"trees\"\n";
        fails(run("toml", misspelt, None), "algoritm");
    }
    let clients = python("test-clients", "clients/requirements.txt");
    if or_not_run("Python with its packages", clients).is_some() {
        assert_eq!(run("python", "print(3)", None), Ok(()));
        assert_eq!(run("text", "3", Some(Directive::Output)), Ok(()));
        fails(run("python", "raise SystemExit(4)", None), "ended with 4");
    }
}
