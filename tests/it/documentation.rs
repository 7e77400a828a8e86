//! README and the book in docs/: every example runs, every link leads somewhere,
//! every page is in the summary.
//!
//! A page is run from top to bottom, as a reader would do it, in a folder of its
//! own that holds a copy of `models/` (see `session.rs`):
//!
//! - `sh`: command by command. `ortus serve` stays in the background until the
//!   next one or the end of the page.
//! - `python`: with the clients of `tests/clients/requirements.txt`.
//! - `toml`: by `ortus config check`, or by `ortus-trainer plan` where its tables
//!   are those of a training specification.
//! - `json`: must parse.
//!
//! An HTML comment above a block says more: `<!-- file: NAME -->`,
//! `<!-- output -->`, `<!-- output in the end -->`, `<!-- exit code: N -->`. Any
//! other block carries `<!-- not run: REASON -->`, or the test fails.
//!
//! Ports and host names: wherever a page says 8000, 8001, 8002 or 8003 of
//! `localhost` or `127.0.0.1`, the running server's own address is put in its
//! place. `/tmp/`, `/srv/`, `/etc/ortus` and `/var/lib/ortus` become folders of
//! the page's own.

mod markdown;
mod session;

use markdown::{Block, Directive, anchors, blocks, links};
use session::Session;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

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
    config_pbtxt_runs = "docs/serving/config-pbtxt.md";
    requests_run = "docs/serving/requests.md";
    open_inference_rest_runs = "docs/serving/open-inference-rest.md";
    binary_tensors_run = "docs/serving/binary-tensors.md";
    open_inference_grpc_runs = "docs/serving/open-inference-grpc.md";
    tensorflow_serving_rest_runs = "docs/serving/tensorflow-serving-rest.md";
    tensorflow_serving_grpc_runs = "docs/serving/tensorflow-serving-grpc.md";
    batching_runs = "docs/batching.md";
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
    gates_run = "docs/training/gates.md";
    automation_runs = "docs/training/automation.md";
    operator_api_runs = "docs/operator-api.md";
    security_runs = "docs/security.md";
    troubleshooting_runs = "docs/troubleshooting.md";
    upgrade_runs = "docs/upgrade.md";
    glossary_runs = "docs/glossary.md";
}

/// The table of contents of the book, which is no page of its own.
const SUMMARY: &str = "docs/SUMMARY.md";

fn run_page(page: &str) {
    let blocks = blocks(&read(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
    let mut session = Session::start();
    for (at, block) in blocks.iter().enumerate() {
        if let Err(why) = run_block(&mut session, block, blocks.get(at + 1)) {
            panic!("{page}:{}: {why}", block.line);
        }
    }
}

fn run_block(session: &mut Session, block: &Block, next: Option<&Block>) -> Result<(), String> {
    let file = match &block.directive {
        Some(Directive::NotRun(_)) => return Ok(()),
        Some(Directive::Output) => return session.printed(&block.text),
        Some(Directive::OutputInTheEnd) => return session.prints_in_the_end(&block.text),
        Some(Directive::File(name)) => Some(session.write(name, &block.text)?),
        Some(Directive::ExitCode(_)) | None => None,
    };
    let is_repeated = next.is_some_and(|b| b.directive == Some(Directive::OutputInTheEnd));
    match (block.language.as_str(), &block.directive) {
        ("sh", Some(Directive::ExitCode(code))) => session.run_to(&block.text, Some(*code)),
        ("sh", None) if is_repeated => session.run_to(&block.text, None),
        ("sh", None) => session.run(&block.text),
        ("python", None) => session.python(&block.text),
        ("toml", _) => session.check_toml(&block.text),
        ("json", _) => serde_json::from_str::<serde_json::Value>(&block.text)
            .map(drop)
            .map_err(|e| format!("no JSON: {e}")),
        (_, Some(Directive::File(_))) => Ok(()),
        (language, _) => Err(format!(
            "a block of '{language}' is neither run nor marked; put `<!-- not run: REASON -->` above it"
        )),
    }
    .map_err(|why| match file {
        Some(file) => format!("{}: {why}", file.display()),
        None => why,
    })
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
    pages.extend(["README.md", "models/README.md", "loadtest/README.md"].map(str::to_owned));
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

    let block = |language: &str, directive| Block {
        line: 1,
        language: language.to_owned(),
        text: "{".to_owned(),
        directive,
    };
    let mut session = Session::start();
    let mut run = |language, directive| run_block(&mut session, &block(language, directive), None);
    assert!(run("text", None).is_err());
    assert!(run("json", None).is_err());
    assert!(run("sh", None).is_err());
    assert!(run("text", Some(Directive::NotRun("a picture".to_owned()))).is_ok());
}
