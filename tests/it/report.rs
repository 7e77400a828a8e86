//! The HTML report of a model, from real rows: what it must show, and that a browser
//! displays it.

mod documents;

use crate::support::baseline::profile;
use crate::support::optional::{or_not_run, python, run};
use crate::support::{Directory, Server, eventually, model_file, ortus, settings};
use documents::{check_documents, record};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// A browser, of Debian's package `chromium`.
fn chromium() -> Result<(), String> {
    let ran = Command::new("chromium").arg("--version").output();
    ran.map(drop).map_err(|e| format!("chromium: {e}"))
}

fn table(path: &Path) -> (String, Vec<Vec<f64>>) {
    let text = std::fs::read_to_string(path).expect("a table");
    let mut lines = text.lines();
    let head = lines.next().expect("a head").to_owned();
    (
        head,
        lines
            .map(|l| l.split(',').map(|v| v.parse().expect("a number")).collect())
            .collect(),
    )
}

/// The text and elements of a page after a browser has loaded it.
fn shown(page: &Path) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut browser = Command::new("chromium");
    browser.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--dump-dom",
    ]);
    browser
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg(format!("file://{}", page.display()));
    run(&mut browser).expect("the browser shows it")
}

#[test]
fn the_report_shows_which_inputs_of_larger_tumours_drifted() {
    let Some(python) = or_not_run(
        "scikit-learn",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let baseline = prepare(&python, folder.path());
    check_baseline(&baseline);

    let directory = Directory::empty();
    let model = model_file("breast-cancer", "1");
    directory.put_with("breast-cancer", 1, &model, &[("baseline.json", &baseline)]);
    let server = serve(&directory, folder.path());
    let (_, rows) = table(&folder.path().join("large.csv"));
    assert!(rows.len() > 250, "{}", rows.len());
    send_windows(&server, &rows);

    let page = folder.path().join("report.html");
    let text = complete_report(&server, &page);
    check_report(&text);
    if let Ok(kept) = std::env::var("ORTUS_TEST_KEEP") {
        std::fs::copy(&page, Path::new(&kept).join("report.html")).expect("kept");
    }
    if or_not_run("chromium", chromium()).is_some() {
        check_browser(&page, &text);
    }

    check_documents(&python, &server, folder.path());

    check_refused_reports(&server, &page);
}

/// Makes the tables and the baseline; returns the baseline.
fn prepare(python: &Path, folder: &Path) -> Vec<u8> {
    let at = |name: &str| folder.join(name);
    let script = crate::support::root().join("tests/monitor/tumours.py");
    run(Command::new(python)
        .arg(script)
        .args([at("all.csv"), at("large.csv")]))
    .expect("the tables");

    // The baseline comes from Parquet that another tool wrote.
    let to_parquet = "import sys, pyarrow.csv as c, pyarrow.parquet as p; p.write_table(c.read_csv(sys.argv[1]), sys.argv[2])";
    run(Command::new(python)
        .args(["-c", to_parquet])
        .args([at("all.csv"), at("all.parquet")]))
    .expect("Parquet");

    std::fs::write(at("model.onnx"), model_file("breast-cancer", "1")).expect("written");
    profile(folder, "all.parquet", "benign")
}

fn check_baseline(baseline: &[u8]) {
    let made: Value = serde_json::from_slice(baseline).expect("JSON");
    assert!(
        made["performance"]["accuracy"]
            .as_f64()
            .is_some_and(|a| a > 0.97),
        "{}",
        made["performance"]
    );
    assert!(
        made["calibration"]["points"]
            .as_array()
            .is_some_and(|p| p.len() > 2)
    );
}

fn serve(directory: &Directory, folder: &Path) -> Server {
    let records = folder.join("records").display().to_string();
    let store = format!("records.store={records:?}");
    let set = [
        "monitor.window_rows=100",
        "monitor.window_min=1s",
        "monitor.cpu_share=1.0",
        "monitor.fleet_window=1s",
        "feedback.poll=200ms",
        "capture.share=1.0",
        "capture.age_max=1s",
        "model.breast-cancer.slices=[\"mean_texture\"]",
        store.as_str(),
    ];
    Server::start_with(directory.path(), &settings(&set))
}

/// Sends all rows twice, window by window, and waits until each window is closed.
fn send_windows(server: &Server, rows: &[Vec<f64>]) {
    for (window, part) in rows
        .chunks(100)
        .chain(rows.chunks(100))
        .filter(|p| p.len() == 100)
        .enumerate()
    {
        send_window(server, part);
        eventually("the window closes", || {
            let text = run(ortus().args([
                "drift",
                "breast-cancer",
                "--json",
                "--server",
                &server.operator,
            ]));
            let text = text.expect("answers");
            serde_json::from_str::<Value>(&text).expect("JSON")["versions"][0]["windows"]
                == window + 1
        });
    }
}

/// Predicts a hundred rows one by one, then sends their labels.
fn send_window(server: &Server, rows: &[Vec<f64>]) {
    let mut labels = Vec::new();
    for row in rows {
        let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 30], "data": row[..30]}]});
        let answer = server.post(
            "/v2/models/breast-cancer/infer",
            body.to_string().as_bytes(),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        labels
            .push(json!({"prediction_id": answer.header("ortus-prediction-id"), "label": row[30]}));
    }

    let taken = server.post(
        "/v1/feedback",
        json!({"labels": labels}).to_string().as_bytes(),
    );
    assert_eq!(
        (taken.status, &taken.json()["accepted"]),
        (200, &json!(100)),
        "{}",
        taken.text()
    );
}

/// Inputs that measure the size of a tumour. Texture differs less and is not among them.
const SIZES: [&str; 4] = ["mean_radius", "mean_perimeter", "mean_area", "worst_radius"];

/// Tells whether the table of columns has this one in alarm.
fn has_drifted(text: &str, name: &str) -> bool {
    let row = text
        .split("<tr>")
        .find(|row| row.contains(&format!("<b>{name}</b>")));
    row.is_some_and(|row| row.contains("class=\"alarm\""))
}

/// Writes the report until it covers the windows that the fleet's totals are made of, and
/// until captured rows, labels and totals, which background threads store, can be read.
fn complete_report(server: &Server, page: &Path) -> String {
    let folder = page.parent().expect("a folder");
    eventually("the report covers all windows", || {
        write_report(server, page);
        let text = std::fs::read_to_string(page).expect("a page");
        SIZES.iter().all(|name| has_drifted(&text, name))
            && record(folder, "capture", ".parquet").is_some()
            && record(folder, "labels", ".jsonl").is_some()
            && record(folder, "windows/told", ".json").is_some()
    });
    std::fs::read_to_string(page).expect("a page")
}

fn write_report(server: &Server, page: &Path) {
    let mut report = ortus();
    report
        .args([
            "report",
            "breast-cancer",
            "--window",
            "7d",
            "--server",
            &server.operator,
            "-o",
        ])
        .arg(page);
    run(&mut report).expect("a page");
}

fn check_report(text: &str) {
    for name in SIZES {
        assert!(has_drifted(text, name), "{name}");
    }
    assert!(
        text.contains("verdict bad") && text.contains("labels"),
        "{text}"
    );

    // The model is not worse than before: most of the large tumours are malignant, and it
    // predicts that.
    assert!(
        !text.contains("wrong more often than it was"),
        "the model does well on these"
    );
    assert!(text.len() < 2 << 20, "{} bytes", text.len());
}

fn check_browser(page: &Path, text: &str) {
    let shown = shown(page);
    assert!(
        shown.contains("<h1>breast-cancer</h1>") && shown.matches("<svg").count() > 30,
        "{}",
        shown.len()
    );
    assert!(shown.contains("Performance</h3>") && shown.contains("Latency</h3>"));

    // A browser closes elements that are left open; a correct page stays as it is.
    assert_eq!(
        shown.matches("<figure>").count(),
        text.matches("<figure>").count()
    );
    assert_eq!(shown.matches("<td").count(), text.matches("<td").count());
}

fn check_refused_reports(server: &Server, page: &Path) {
    let refused = ortus()
        .args(["report", "nobody", "-o"])
        .arg(page)
        .args(["--server", &server.operator])
        .output();
    assert!(!refused.expect("runs").status.success());

    let refused = ortus()
        .args(["report", "breast-cancer", "--window", "7x", "-o"])
        .arg(page)
        .output()
        .expect("runs");
    assert_eq!(refused.status.code(), Some(2));
}
