//! Drift monitoring as its users meet it: a baseline made from a table, rows served,
//! and the report of `ortus drift`, compared with NumPy and SciPy.

use crate::support::optional::{or_not_run, python, run};
use crate::support::{Directory, Posted, Server, eventually, http, listener, ortus};
use ortus::testing::graphs;
use std::fmt::Write as _;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Numbers that look random and are always the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (a, b) = (self.next(), self.next());
        (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

/// A row: a normal number, a count, a number with a heavy tail, one that is mostly 0, and a word.
type Row = (Option<f64>, u32, f64, f64, String);

fn rows(n: usize, seed: u64, shift: f64) -> Vec<Row> {
    let mut random = Random(seed);
    let row = |_| {
        let word =
            ["red", "green", "blue", ""][((random.next() + shift / 4.0) * 4.0).min(3.99) as usize];
        let first = random.normal() + shift;
        let known = random.next() >= 0.02 + shift / 20.0;
        let tail = (random.normal() * (1.0 + shift)).exp();
        let more = u32::from(shift > 0.0 && random.next() < 0.2);
        let count = ((random.next() * 12.0) as u32 + more).min(11);
        let is_zero = random.next() < 0.88 - shift / 10.0;
        let claims = if is_zero {
            0.0
        } else {
            (6.0 + 1.5 * random.normal()).exp()
        };
        (known.then_some(first), count, tail, claims, word.to_owned())
    };
    (0..n).map(row).collect()
}

fn table(path: &Path, rows: &[Row]) {
    let mut text = "amount,items,delay,claims,colour\n".to_owned();
    for (amount, items, delay, claims, colour) in rows {
        let amount = amount.map_or_else(String::new, |v| v.to_string());
        writeln!(text, "{amount},{items},{delay},{claims},{colour}").expect("a string");
    }
    std::fs::write(path, text).expect("written");
}

/// Sends rows, 50 at a time; a number without a value is sent as NaN.
fn send(server: &Server, rows: &[Row]) {
    for part in rows.chunks(50) {
        let mut raw = Vec::new();
        let floats: Vec<f32> = part
            .iter()
            .flat_map(|(a, b, c, d, _)| {
                let first = a.map_or(f32::NAN, |v| v as f32);
                [first, *b as f32, *c as f32, *d as f32]
            })
            .collect();
        floats.iter().for_each(|v| raw.extend(v.to_le_bytes()));
        let numbers = raw.len();
        for (.., word) in part {
            raw.extend((word.len() as u32).to_le_bytes());
            raw.extend(word.as_bytes());
        }
        let n = part.len();
        let head = serde_json::json!({"inputs": [
            {"name": "x", "datatype": "FP32", "shape": [n, 4], "parameters": {"binary_data_size": numbers}},
            {"name": "colour", "datatype": "BYTES", "shape": [n], "parameters": {"binary_data_size": raw.len() - numbers}},
        ]})
        .to_string();
        let length = head.len().to_string();
        let body = [head.as_bytes(), &raw].concat();
        let headers = [("Inference-Header-Content-Length", length.as_str())];
        let answer = http(&server.http, "POST", "/v2/models/m/infer", &headers, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// A model with a baseline of its training rows, in a directory.
struct Watched {
    directory: Directory,
    folder: tempfile::TempDir,
}

impl Watched {
    fn new() -> Self {
        let watched = Self {
            directory: Directory::empty(),
            folder: tempfile::tempdir().expect("a folder"),
        };
        table(&watched.at("before.csv"), &rows(20_000, 1, 0.0));
        let model = watched.at("model.onnx");
        std::fs::write(&model, graphs::mixed(4)).expect("written");
        let out = watched.profile(&["--features", "amount,items,delay,claims,colour"]);
        assert!(out.contains("20000 rows, 5 inputs, 1 output"), "{out}");
        let baseline = std::fs::read(watched.at("baseline.json")).expect("a baseline");
        watched
            .directory
            .put_with("m", 1, &graphs::mixed(4), &[("baseline.json", &baseline)]);
        watched
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn profile(&self, extra: &[&str]) -> String {
        let mut command = ortus();
        command
            .arg("profile")
            .arg(self.at("before.csv"))
            .arg("--onnx")
            .arg(self.at("model.onnx"));
        command.arg("-o").arg(self.at("baseline.json")).args(extra);
        run(&mut command).expect("profiled")
    }

    /// Serves with windows of `rows` rows, all of which are sampled.
    fn serve(&self, rows: usize) -> Server {
        self.serve_with(rows, "monitor.enabled=true")
    }

    fn serve_with(&self, rows: usize, more: &str) -> Server {
        let window = format!("monitor.window_rows={rows}");
        let set = [
            "monitor.window_min=1s",
            "monitor.cpu_share=1.0",
            &window,
            more,
        ];
        Server::start_with(
            self.directory.path(),
            &set.iter().flat_map(|s| ["--set", s]).collect::<Vec<_>>(),
        )
    }
}

/// The report of `ortus drift NAME --json` about the only version.
fn drift(server: &Server) -> serde_json::Value {
    let text =
        run(ortus().args(["drift", "m", "--json", "--server", &server.operator])).expect("answers");
    serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["versions"][0].clone()
}

fn column<'d>(drift: &'d serde_json::Value, name: &str) -> &'d serde_json::Value {
    drift["columns"]
        .as_array()
        .expect("columns")
        .iter()
        .find(|c| c["name"] == name)
        .expect("the column")
}

#[test]
fn every_drift_metric_agrees_with_numpy_and_scipy() {
    let Some(python) = or_not_run(
        "NumPy and SciPy",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    let watched = Watched::new();
    let server = watched.serve(5_000);
    let after = rows(5_000, 2, 0.3);
    table(&watched.at("after.csv"), &after);
    send(&server, &after);
    eventually("the window closes", || drift(&server)["windows"] == 1);
    let script = crate::support::root().join("tests/monitor/reference.py");
    let tables = [
        watched.at("before.csv"),
        watched.at("after.csv"),
        watched.at("baseline.json"),
    ];
    let said = run(Command::new(python).arg(script).args(tables)).expect("the reference runs");
    let reference: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let found = drift(&server);
    assert_eq!(
        (&found["rows"], &found["sampled_rows"], &found["baseline"]),
        (&5_000.into(), &5_000.into(), &"training".into())
    );
    let mut compared = 0;
    for (name, of) in reference.as_object().expect("columns") {
        let tests = column(&found, name)["tests"]
            .as_array()
            .expect("tests")
            .clone();
        for (metric, value) in of["binned"].as_object().expect("metrics") {
            let test = tests
                .iter()
                .find(|t| t["metric"] == *metric && t["span"] == 1)
                .expect("the test");
            let (ours, theirs) = (
                test["value"].as_f64().expect("a number"),
                value.as_f64().expect("a number"),
            );
            assert!(
                (ours - theirs).abs() < 1e-9,
                "{name} {metric}: {ours} and not {theirs}"
            );
            assert!(test["lower"].as_f64().is_some_and(|l| l <= ours), "{test}");
            if let Some(exact) = of["exact"][metric].as_f64() {
                let bound = of["bound"][metric].as_f64().expect("a bound");
                assert!(
                    (ours - exact).abs() <= bound + 1e-9,
                    "{name} {metric}: {ours}, SciPy {exact}, bound {bound}"
                );
                // Each of the twelve counts has a bin of its own, so binning loses nothing.
                assert!(
                    name != "items" || (ours - exact).abs() < 1e-6,
                    "{name} {metric}: {ours}, SciPy {exact}"
                );
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 5 + 5 + 5 + 5 + 4);
}

#[test]
fn drift_is_reported_by_column_everywhere_and_its_series_end_with_the_version() {
    let watched = Watched::new();
    let (hook, events) = listener();
    let server = watched.serve_with(1_000, &format!("monitor.webhook=\"http://{hook}/alarms\""));
    for n in 1..=3 {
        send_window(&server, n, 0.0);
    }
    assert_eq!(drift(&server)["alarms"], 0, "{}", drift(&server));
    for n in 4..=7 {
        send_window(&server, n, 0.6);
    }
    check_alarms(&drift(&server));
    check_series(&server);
    check_event(&events);
    let table = run(ortus().args(["drift", "m", "--server", &server.operator])).expect("a table");
    assert!(
        table.contains("amount") && table.contains("ALARM"),
        "{table}"
    );

    watched.directory.put("m", 2, &graphs::mixed(4));
    eventually("the series are gone", || {
        server
            .metric("ortus_drift{column=\"amount\",metric=\"ks\",model=\"m\",version=\"1\"}")
            .is_none()
    });
    let gone = ortus()
        .args(["drift", "m:1", "--server", &server.operator])
        .output()
        .expect("runs");
    assert_eq!(gone.status.code(), Some(1));
}

/// Sends the rows of window `n` and waits until it is closed.
fn send_window(server: &Server, n: u64, shift: f64) {
    send(server, &rows(1_000, 10 + n, shift));
    eventually("the window closes", || {
        drift(server)["windows"].as_u64() >= Some(n)
    });
}

fn check_alarms(now: &serde_json::Value) {
    let alarmed = |name: &str| {
        column(now, name)["tests"]
            .as_array()
            .expect("tests")
            .iter()
            .any(|t| t["alarm"] == true)
    };
    assert!(alarmed("amount") && alarmed("colour"), "{now}");

    // Missing numbers and empty words are counted in all rows, not only in sampled ones.
    let counted = |name: &str, kind: &str| {
        column(now, name)["contract"][kind]
            .as_u64()
            .expect("a count")
    };
    assert!(counted("amount", "nan") > 100 && counted("colour", "empty") > 100);
}

fn check_series(server: &Server) {
    let series = |name: &str| server.metric(name);
    eventually("the series", || {
        series("ortus_drift_alarms{model=\"m\",version=\"1\"}").is_some_and(|n| n > 0.0)
    });
    assert!(
        series("ortus_drift{column=\"amount\",metric=\"ks\",model=\"m\",version=\"1\"}")
            .is_some_and(|v| v > 0.1)
    );
    assert!(
        series("ortus_contract_breaches_total{column=\"amount\",kind=\"nan\",model=\"m\",version=\"1\"}").is_some()
    );
    assert_eq!(
        series("ortus_monitor_rows_total{model=\"m\",version=\"1\"}"),
        Some(7_000.0)
    );
    assert!(server.log().contains("incident opened"), "{}", server.log());
}

fn check_event(events: &std::sync::mpsc::Receiver<Posted>) {
    let event = events
        .recv_timeout(Duration::from_secs(20))
        .expect("an event")
        .body;
    assert_eq!(
        (&event["specversion"], &event["type"], &event["subject"]),
        (
            &"1.0".into(),
            &"ortus.incident.opened".into(),
            &"m:1".into()
        )
    );
    let incident = &event["data"];
    let columns = incident["columns"].as_array().expect("columns");
    assert_eq!(incident["phase"], "opened", "{event}");
    assert!(!columns.is_empty(), "{event}");
    let tests = |column: &serde_json::Value| column["tests"].as_array().cloned();
    for test in columns.iter().filter_map(tests).flatten() {
        let bound = test["lower"].as_f64();
        assert!(
            bound > test["threshold"].as_f64() && test["alarm"] == true,
            "{event}"
        );
    }
    // One cause is one event, however many tests and columns are in alarm.
    let more = events.recv_timeout(Duration::from_secs(2));
    assert!(more.is_err(), "{:?}", more.map(|event| event.body));
}

#[test]
fn the_baseline_of_another_model_is_refused_wherever_it_enters() {
    let watched = Watched::new();
    let server = watched.serve(1_000);
    let good = std::fs::read_to_string(watched.at("baseline.json")).expect("a baseline");
    let registry = crate::support::registry::Registry::new();
    let model = watched.at("model.onnx");
    let model = model.to_str().expect("text");
    for (version, (bad, part)) in [
        (
            good.replace("\"format\":3", "\"format\":9"),
            "is of format 9",
        ),
        (
            good.replace("\"amount\"", "\"price\"")
                .replace("\"features\":[\"price\"", "\"features\":[\"amount\""),
            "belongs to another model",
        ),
        (good[..good.len() / 2].to_owned(), "is malformed"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = watched.at("bad.json");
        std::fs::write(&file, &bad).expect("written");
        let said = registry.refuses(&[
            "push",
            "m",
            model,
            "--baseline",
            file.to_str().expect("text"),
        ]);
        assert!(said.contains(part), "{said}");
        watched.directory.put_with(
            "m",
            version as u64 + 2,
            &graphs::mixed(4),
            &[("baseline.json", bad.as_bytes())],
        );
        eventually("the refusal", || server.log().contains(part));
    }
    send(&server, &rows(10, 1, 0.0));

    // The model's own baseline is stored with it and served.
    let own = watched.at("baseline.json");
    registry.does(&[
        "push",
        "m",
        model,
        "--baseline",
        own.to_str().expect("text"),
        "--alias",
        "champion",
    ]);
    let server = registry.serve(&[]);
    assert_eq!(drift(&server)["baseline"], "training");
}
