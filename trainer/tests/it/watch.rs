//! `ortus-trainer watch`: what starts a run, what is skipped and why, and that
//! many watchers do the work of one.

use crate::place::{Place, table, trainer};
use crate::support::optional::run;
use crate::support::{eventually_within, http};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A specification of a quick run, with its triggers.
fn spec(place: &Place, triggers: &str) -> std::path::PathBuf {
    place.write(
        "train.toml",
        &format!(
            "[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n\
             [fit.trees]\nrounds_max = 15\n[gates]\nregression_max = 0.5\n[publish]\npolicy = \"champion\"\n[triggers]\nlease = \"2s\"\n{triggers}"
        ),
    )
}

fn command(place: &Place, arguments: &[&str], spec: &Path) -> Command {
    let mut command = trainer();
    command
        .args(arguments)
        .arg(spec)
        .args(["--registry", &place.registry.url(), "--json"]);
    command
}

/// Looks for work once; returns the exit code and the runs.
fn once(place: &Place, spec: &Path) -> (i32, Vec<Value>) {
    let output = command(place, &["watch", "--once"], spec)
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code().expect("an exit code");
    assert!(code != 1, "{}", String::from_utf8_lossy(&output.stderr));
    (
        code,
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect(),
    )
}

fn status(place: &Place, spec: &Path) -> Value {
    serde_json::from_str(&run(&mut command(place, &["status"], spec)).expect("says")).expect("JSON")
}

fn runs(place: &Place) -> Vec<Value> {
    let text = run(trainer().args(["runs", "m", "--json", "--registry", &place.registry.url()]))
        .expect("lists");
    serde_json::from_str::<Vec<Value>>(&text).expect("JSON")
}

fn became(runs: &[Value]) -> Vec<&str> {
    runs.iter()
        .map(|ran| ran["became"].as_str().expect("a word"))
        .collect()
}

struct Watcher {
    child: Child,
    address: String,
}

impl Watcher {
    fn start(place: &Place, spec: &Path) -> Self {
        let mut command = command(place, &["watch", "--listen", "127.0.0.1:0"], spec);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut lines = BufReader::new(child.stderr.take().expect("output")).lines();
        let first = lines.next().expect("a line").expect("text");
        let address = first
            .split("http://")
            .nth(1)
            .expect("an address")
            .to_owned();
        std::thread::spawn(move || {
            lines.for_each(|line| println!("watch: {}", line.unwrap_or_default()))
        });
        Self { child, address }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `find` finds something, for example a run, which may wait for others.
fn eventually<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually_within(Duration::from_secs(300), what, || {
        found = find();
        found.is_some()
    });
    found.expect("found")
}

#[test]
fn each_trigger_of_the_specification_starts_one_run() {
    let place = Place::new();
    place.write("rows.csv", &table(2_000, 0.0));
    let file = spec(&place, "new_rows = 300\nspec = true\ncooldown = \"1h\"\n");
    check_first_run(&place, &file);
    check_cooldown(&place, &file);
    check_request(&place, &file);

    let file = spec(&place, "spec = true\ncooldown = \"0s\"\n");
    check_changed_specification(&place, &file);
    assert_eq!(
        became(&runs(&place)),
        ["published", "skipped", "published", "published"]
    );

    check_backfill(&place, &file);
    check_champion_after_backfill(&place, &file);
}

/// Before the first run all rows are new.
fn check_first_run(place: &Place, file: &Path) {
    let (code, did) = once(place, file);
    assert_eq!((code, became(&did)), (0, vec!["published"]), "{did:?}");
    assert_eq!(did[0]["trigger"], json!("2000 new rows"));
    assert_eq!(once(place, file), (0, Vec::new()), "none are new");
}

/// New rows within the cooldown are skipped once, and stay due.
fn check_cooldown(place: &Place, file: &Path) {
    place.write("rows.csv", &table(2_500, 0.0));
    let (code, did) = once(place, file);
    assert_eq!((code, became(&did)), (0, vec!["skipped"]), "{did:?}");
    let reason = did[0]["record"]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("'cooldown' lasts until"), "{reason}");
    assert_eq!(once(place, file), (0, Vec::new()), "told once");

    let now = status(place, file);
    assert_eq!(
        (now["new_rows"].clone(), now["champion"].clone()),
        (json!(500), json!(1)),
        "{now}"
    );
    assert!(
        now["due"][0]["why"] == json!("500 new rows") && now["waits"].is_string(),
        "{now}"
    );
}

/// A person's request does not wait for the cooldown.
fn check_request(place: &Place, file: &Path) {
    let mut ask = trainer();
    ask.args([
        "trigger",
        "m",
        "--reason",
        "a new year",
        "--actor",
        "ada",
        "--registry",
        &place.registry.url(),
    ]);
    run(&mut ask).expect("asked");

    let (_, did) = once(place, file);
    assert_eq!(became(&did), ["published"], "{did:?}");
    assert_eq!(
        did[0]["trigger"],
        json!("requested by ada: a new year; 500 new rows")
    );
    assert_eq!(did[0]["record"]["parent"], json!(1));
}

/// A change of the triggers starts no run; a change of what is learned does.
fn check_changed_specification(place: &Place, file: &Path) {
    assert_eq!(
        once(place, file),
        (0, Vec::new()),
        "what starts it is not what is learned"
    );

    let text = std::fs::read_to_string(file)
        .expect("text")
        .replace("rounds_max = 15", "rounds_max = 16");
    std::fs::write(file, text).expect("written");
    let (_, did) = once(place, file);
    assert_eq!(
        (became(&did), did[0]["trigger"].clone()),
        (vec!["published"], json!("the specification changed"))
    );
    assert_eq!(once(place, file), (0, Vec::new()));
}

/// A backfill learns from the rows that were known at each time.
fn check_backfill(place: &Place, file: &Path) {
    let mut back = command(
        place,
        &[
            "backfill",
            "--cron",
            "0 18 * * *",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-02",
        ],
        file,
    );
    let output = back.output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );

    let filled: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    // The champion learned from the same rows as the second.
    assert_eq!(became(&filled), ["published", "unchanged"]);
    let rows = filled
        .iter()
        .map(|ran| ran["record"]["data"]["rows"].as_u64().expect("rows"));
    assert!(rows.eq([1_081, 2_500]), "later rows are not seen at all");
    let learned = |ran: &Value| {
        ["train", "stop", "test"]
            .map(|p| ran["record"]["split"][p].as_u64().unwrap_or(0))
            .iter()
            .sum::<u64>()
    };
    assert_eq!(
        (learned(&filled[0]), learned(&filled[1])),
        (1_081, 2_500),
        "{filled:?}"
    );
}

/// A backfill publishes versions without promoting them.
fn check_champion_after_backfill(place: &Place, file: &Path) {
    assert_eq!(
        status(place, file)["champion"],
        json!(3),
        "it is left alone"
    );
}

/// A CloudEvent as a server's webhook sends it.
fn event(id: &str, kind: &str, model: &str, version: u32) -> String {
    json!({"specversion": "1.0", "id": id, "source": "/ortus", "type": kind, "time": chrono_now(),
            "data": {"model": model, "version": version, "column": "age"}})
    .to_string()
}

fn post(at: &str, body: &str) -> u16 {
    http(
        at,
        "POST",
        "/",
        &[("content-type", "application/cloudevents+json")],
        body.as_bytes(),
    )
    .status
}

fn drift_alarm(id: &str, version: u32) -> String {
    event(id, "ortus.drift.alarm", "m", version)
}

#[test]
fn an_alarm_sent_to_many_watchers_starts_one_run() {
    let place = Place::new();
    place.write("rows.csv", &table(2_000, 0.0));
    let (code, said, error) = place.run(&spec(&place, ""));
    assert_eq!(code, 0, "{said} {error}");
    let file = spec(
        &place,
        "drift = true\nalarm_rows = 0\ncooldown = \"0s\"\npoll = \"300ms\"\nruns_max = 1\n",
    );
    let watchers = [Watcher::start(&place, &file), Watcher::start(&place, &file)];

    let at = &watchers[0].address;
    check_refused_events(at);

    place.write("rows.csv", &table(2_600, 0.5));
    let champion = check_one_run(&place, &watchers);

    post(at, &drift_alarm("3", 7));
    skip_of_other_version(&place, 7, champion);
    post(at, &drift_alarm("4", champion));
    eventually("a skip", || {
        runs(&place).into_iter().find(|ran| {
            ran["record"]["reason"]
                .as_str()
                .is_some_and(|r| r.contains("'runs_max' is 1"))
        })
    });

    // One more event for each watcher: once it is dealt with, so are the earlier ones.
    for (watcher, version) in watchers.iter().zip([8, 9]) {
        post(
            &watcher.address,
            &drift_alarm(&version.to_string(), version),
        );
        skip_of_other_version(&place, version, champion);
    }
    let all = runs(&place);
    assert_eq!(
        all.len(),
        4 + watchers.len(),
        "each once: {:#?}",
        all.iter()
            .map(|ran| (&ran["became"], &ran["trigger"], &ran["record"]["reason"]))
            .collect::<Vec<_>>()
    );
}

fn check_refused_events(at: &str) {
    assert_eq!(post(at, "{"), 400);
    assert_eq!(post(at, &event("1", "ortus.drift.alarm", "other", 1)), 404);
    assert_eq!(post(at, &event("1", "something else", "m", 1)), 400);
    assert_eq!(post(at, &"x".repeat(2 << 20)), 413);
    assert_eq!(http(at, "GET", "/", &[], b"").status, 405);
}

/// Sends one alarm twice to each watcher; returns the champion after its one run.
fn check_one_run(place: &Place, watchers: &[Watcher]) -> u32 {
    // Sent again, an event has the same time.
    let event = event("2", "ortus.drift.alarm", "m", 1);
    for watcher in watchers {
        assert_eq!(post(&watcher.address, &event), 202);
        assert_eq!(post(&watcher.address, &event), 202);
    }

    let run = |list: &[Value]| {
        list.iter()
            .find(|ran| ran["trigger"] == json!("alarm: drift of 'age', version 1"))
            .cloned()
    };
    let ran = eventually("a run", || run(&runs(place)));
    assert!(
        matches!(
            ran["became"].as_str(),
            Some("published" | "failed" | "inconclusive")
        ),
        "{ran}"
    );
    if ran["became"] == json!("published") {
        2
    } else {
        1
    }
}

fn skip_of_other_version(place: &Place, version: u32, champion: u32) {
    eventually("a skip", || {
        runs(place).into_iter().find(|ran| {
            ran["record"]["reason"]
                == json!(format!(
                    "the alarm is about version {version}, and version {champion} is champion"
                ))
        })
    });
}

fn chrono_now() -> String {
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%S.%3NZ"])
        .output()
        .expect("runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
