//! The page about a model, of real rows: it tells the true story, and a real
//! browser shows it.

use crate::support::optional::{or_not_run, python, run};
use crate::support::{Directory, Server, eventually, model_file, ortus};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

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

/// What the browser makes of a page: its text and elements.
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

/// Holds what a server says and keeps against the published schemas, and damaged
/// copies of it too.
fn documents(python: &Path, server: &Server, folder: &Path) {
    let json = |arguments: &[&str]| -> Value {
        let text = run(ortus().args(arguments)).expect("answers");
        serde_json::from_str(&text).expect("JSON")
    };
    let records = folder.join("records").display().to_string();
    let alarms = json(&["alarms", "breast-cancer", "--records", &records, "--json"]);
    let alarms = alarms["alarms"].as_array().expect("a list").clone();
    assert!(
        alarms.iter().any(|a| a["alarm"]["column"] == "mean_radius"),
        "{alarms:?}"
    );
    let table = run(ortus().args(["alarms", "--records", &records])).expect("answers");
    assert!(table.contains("mean_radius ks"), "{table}");
    let first = |below: &str, ending: &str| {
        let found = files(&folder.join("records/ns/default/records").join(below));
        found
            .into_iter()
            .find(|f| f.to_string_lossy().ends_with(ending))
            .unwrap_or_else(|| panic!("{below}"))
    };
    let text = |path: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
    };
    let label = std::fs::read_to_string(first("labels", ".jsonl")).expect("labels");
    let label: Value = serde_json::from_str(label.lines().next().expect("a line")).expect("JSON");
    assert!(
        label["joined"]["slices"]["mean_texture"].is_string(),
        "{label}"
    );
    let script = "import sys, pyarrow.parquet as p; print(p.read_metadata(sys.argv[1]).metadata[b'ortus.capture'].decode())";
    let note = run(Command::new(python)
        .args(["-c", script])
        .arg(first("capture", ".parquet")))
    .expect("a note");
    let request =
        json!({"labels": [{"prediction_id": label["prediction_id"], "row": 0, "label": 1}]});
    let reply = server
        .post("/v1/feedback", request.to_string().as_bytes())
        .json();
    let golden: Value =
        text(&crate::support::root().join("src/observe/drift/golden/baseline-1.json"));
    let mut sound = vec![
        ("baseline", text(&folder.join("baseline.json"))),
        ("baseline", golden),
        ("label", label),
        ("feedback", request),
        ("feedback-reply", reply),
        ("capture", serde_json::from_str(&note).expect("JSON")),
        ("windows", text(&first("windows/told", ".json"))),
        (
            "drift",
            json(&[
                "drift",
                "breast-cancer",
                "--json",
                "--server",
                &server.operator,
            ]),
        ),
        (
            "performance",
            json(&[
                "performance",
                "breast-cancer",
                "--json",
                "--server",
                &server.operator,
            ]),
        ),
    ];
    sound.extend(alarms.into_iter().map(|alarm| ("alarm", alarm)));
    let golden = crate::support::root().join("src/observe/report/golden");
    sound.extend([
        ("drift", text(&golden.join("drift-1.json"))),
        ("performance", text(&golden.join("performance-1.json"))),
        ("alarm", text(&golden.join("alarm-drift-1.json"))),
        ("alarm", text(&golden.join("alarm-performance-1.json"))),
    ]);
    let named = run(ortus().arg("schema")).expect("names");
    assert!(
        named
            .lines()
            .all(|name| sound.iter().any(|(n, _)| *n == name)),
        "a schema without a document: {named}"
    );
    let schema = |name: &str| json(&["schema", name]);
    let mut pairs = Vec::new();
    for (name, document) in sound {
        let mut strange = document.clone();
        strange["something else"] = 1.into();
        let mut lacking = document.clone();
        let required = schema(name)["required"][0]
            .as_str()
            .expect("a member")
            .to_owned();
        lacking
            .as_object_mut()
            .expect("an object")
            .remove(&required);
        pairs.push(json!([schema(name), document, true]));
        pairs.push(json!([schema(name), strange, false]));
        pairs.push(json!([schema(name), lacking, false]));
    }
    let script = crate::support::root().join("tests/monitor/schemas.py");
    let said = fed(
        Command::new(python).arg(script),
        json!(pairs).to_string().as_bytes(),
    );
    assert!(said.is_empty(), "{said}");
    let refused = ortus().args(["schema", "nothing"]).output().expect("runs");
    assert!(
        !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("baseline")
    );
}

fn fed(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input)
        .expect("written");
    let output = child.wait_with_output().expect("ends");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|e| e.path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn the_page_tells_the_true_story_of_the_larger_tumours() {
    let Some(python) = or_not_run(
        "scikit-learn",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let script = crate::support::root().join("tests/monitor/tumours.py");
    run(Command::new(&python)
        .arg(script)
        .args([at("all.csv"), at("large.csv")]))
    .expect("the tables");
    // The baseline is made of Parquet that another tool wrote.
    let to_parquet = "import sys, pyarrow.csv as c, pyarrow.parquet as p; p.write_table(c.read_csv(sys.argv[1]), sys.argv[2])";
    run(Command::new(&python)
        .args(["-c", to_parquet])
        .args([at("all.csv"), at("all.parquet")]))
    .expect("Parquet");
    let model = model_file("breast-cancer", "1");
    std::fs::write(at("model.onnx"), &model).expect("written");
    let mut profile = ortus();
    profile
        .arg("profile")
        .arg(at("all.parquet"))
        .arg("--onnx")
        .arg(at("model.onnx"));
    run(profile
        .args(["--label", "benign", "-o"])
        .arg(at("baseline.json")))
    .expect("profiled");
    let baseline = std::fs::read(at("baseline.json")).expect("a baseline");
    let made: Value = serde_json::from_slice(&baseline).expect("JSON");
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
    let directory = Directory::empty();
    directory.put_with("breast-cancer", 1, &model, &[("baseline.json", &baseline)]);
    let store = format!("records.store={:?}", at("records").display().to_string());
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
    let server = Server::start_with(
        directory.path(),
        &set.iter().flat_map(|s| ["--set", s]).collect::<Vec<_>>(),
    );
    let (_, rows) = table(&at("large.csv"));
    assert!(rows.len() > 250, "{}", rows.len());
    // Row by row, window by window; what every clinic sends once, this one sends on two days.
    for (window, part) in rows
        .chunks(100)
        .chain(rows.chunks(100))
        .filter(|p| p.len() == 100)
        .enumerate()
    {
        let mut labels = Vec::new();
        for row in part {
            let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 30], "data": row[..30]}]});
            let answer = server.post(
                "/v2/models/breast-cancer/infer",
                body.to_string().as_bytes(),
            );
            assert_eq!(answer.status, 200, "{}", answer.text());
            labels.push(
                json!({"prediction_id": answer.header("ortus-prediction-id"), "label": row[30]}),
            );
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
    std::thread::sleep(Duration::from_millis(1_100));
    let page = at("report.html");
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
        .arg(&page);
    run(&mut report).expect("a page");
    let text = std::fs::read_to_string(&page).expect("a page");
    // Radius, perimeter and area are size; those must stand out. The texture of larger ones is not that different.
    for name in ["mean_radius", "mean_perimeter", "mean_area", "worst_radius"] {
        assert!(
            text.contains(&format!(
                "<b>{name}</b> is not distributed as in the training baseline"
            )),
            "{name}"
        );
    }
    assert!(
        text.contains("findings to check") && text.contains("labels"),
        "{text}"
    );
    // It is no worse than it was: most of the large ones are malignant, and it sees that.
    assert!(
        !text.contains("Performance alarm"),
        "the model does well on these"
    );
    assert!(text.len() < 2 << 20, "{} bytes", text.len());
    if let Ok(kept) = std::env::var("ORTUS_TEST_KEEP") {
        std::fs::copy(&page, Path::new(&kept).join("report.html")).expect("kept");
    }
    if or_not_run("chromium", chromium()).is_some() {
        let shown = shown(&page);
        assert!(
            shown.contains("<h1>breast-cancer</h1>") && shown.matches("<svg").count() > 30,
            "{}",
            shown.len()
        );
        assert!(shown.contains("Performance</h3>") && shown.contains("Latency</h3>"));
        // The browser closes what is left open; a sound page is what it was.
        assert_eq!(
            shown.matches("<figure>").count(),
            text.matches("<figure>").count()
        );
        assert_eq!(shown.matches("<td").count(), text.matches("<td").count());
    }
    documents(&python, &server, folder.path());
    let refused = ortus()
        .args(["report", "nobody", "-o"])
        .arg(&page)
        .args(["--server", &server.operator])
        .output();
    assert!(!refused.expect("runs").status.success());
    let refused = ortus()
        .args(["report", "breast-cancer", "--window", "7x", "-o"])
        .arg(&page)
        .output()
        .expect("runs");
    assert_eq!(refused.status.code(), Some(2));
}
