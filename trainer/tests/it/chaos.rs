//! Trainers that are killed at any moment, requested twice, or without disk space: each
//! run has one version, each cause is dealt with once, and nothing is half published.

use crate::place::{Place, check_audit, table, trainer};
use crate::support::optional::{is_long, run};
use crate::support::registry::{copy, files};
use crate::support::{eventually_within, ortus};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The longest wait for the runs of all requests: only against a test that hangs.
const TIMEOUT: Duration = Duration::from_secs(300);

fn spec(place: &Place, triggers: &str) -> PathBuf {
    place.write(
        "train.toml",
        &format!(
            "[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n\
             [fit.trees]\nrounds_max = 10\nleaves_max = 7\n[gates]\nregression_max = 5.0\n[publish]\npolicy = \"champion\"\n\
             [triggers]\nlease = \"1s\"\npoll = \"100ms\"\ncooldown = \"0s\"\n{triggers}"
        ),
    )
}

/// Replaces the rows with one rename, so that no reader sees half of them.
fn rows(place: &Place, seed: usize) {
    let text = table(600 + 5 * seed, seed as f64 * 0.01);
    place.write("rows.new", &text);
    std::fs::rename(place.at("rows.new"), place.at("rows.csv")).expect("renamed");
}

/// Requests a run; returns the name of the request's event.
fn ask(url: &str) -> String {
    let mut ask = trainer();
    ask.args([
        "trigger",
        "m",
        "--json",
        "--reason",
        "chaos",
        "--registry",
        url,
    ]);
    let said: Value = serde_json::from_str(&run(&mut ask).expect("asked")).expect("JSON");
    format!("ask-{}", said["id"].as_str().expect("an id"))
}

fn watch(url: &str, spec: &Path, once: bool) -> Command {
    let mut command = trainer();
    command.arg("watch").arg(spec).args(["--registry", url]);
    if once {
        command.arg("--once");
    }
    command
}

fn runs(url: &str) -> Vec<Value> {
    let text = run(trainer().args(["runs", "m", "--json", "--registry", url])).expect("lists");
    serde_json::from_str(&text).expect("JSON")
}

/// The run key of each version, the last version first, after an audit of the registry.
fn versions(url: &str) -> Vec<String> {
    check_audit(url);
    let Ok(text) = run(ortus().args(["show", "m", "--json", "--registry", url])) else {
        return Vec::new();
    };
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    let count = shown["versions"].as_array().expect("versions").len();
    let key = |version: usize| {
        let lineage = run(ortus().args([
            "lineage",
            &format!("m:{version}"),
            "--json",
            "--registry",
            url,
        ]))
        .expect("told");
        let lineage: Value = serde_json::from_str(&lineage).expect("JSON");
        lineage[0]["lineage"]["run"]
            .as_str()
            .expect("a key")
            .to_owned()
    };
    (1..=count).rev().map(key).collect()
}

/// How many runs dealt with an event.
fn dealt(runs: &[Value], event: &str) -> usize {
    let of = |ran: &&Value| {
        ran["events"]
            .as_array()
            .is_some_and(|all| all.iter().any(|e| e == event))
    };
    runs.iter().filter(of).count()
}

/// Lets a trainer look for work until an event is dealt with; returns what it logged.
fn settle(url: &str, spec: &Path, event: &str) -> String {
    let mut said = String::new();
    eventually_within(TIMEOUT, &format!("a run of {event}"), || {
        let output = watch(url, spec, true).output().expect("runs");
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        dealt(&runs(url), event) > 0
    });
    said
}

#[test]
fn a_run_killed_before_any_of_its_operations_is_continued_and_published_once() {
    let prepared = Place::new();
    rows(&prepared, 1);
    let file = spec(&prepared, "");
    let event = ask(&prepared.registry.url());
    let (mut kills, mut gone_on_with) = (0, 0);
    // Every operation in the long form of the test, some in the short one.
    let step = if is_long() { 1 } else { 6 };
    for at in (1..1_000).step_by(step) {
        let place = Place::new();
        copy(&prepared.registry.store(), &place.registry.store());
        let url = place.registry.url();
        let mut command = watch(&url, &file, true);
        let output = command
            .env("ORTUS_TEST_ABORT_AT", at.to_string())
            .output()
            .expect("runs");
        let came_through = output.status.success();
        assert!(
            came_through || output.status.signal() == Some(Signal::ABORT.as_raw()),
            "{output:?}"
        );
        assert!(versions(&url).len() <= 1);
        let said = settle(&url, &file, &event);
        gone_on_with += usize::from(said.contains("done by an earlier attempt"));
        let all = runs(&url);
        assert_eq!(
            (versions(&url).len(), dealt(&all, &event)),
            (1, 1),
            "killed at {at}: {all:?}"
        );
        let left = left_behind(&place);
        assert!(left.is_empty(), "killed at {at}: {left:?}");
        if came_through {
            break;
        }
        kills += 1;
    }
    println!(
        "killed before {kills} operations on the store; {gone_on_with} runs went on with what was learned"
    );
    assert!(kills >= 8 && gone_on_with >= 1, "{kills} {gone_on_with}");
}

#[test]
fn the_pin_of_a_trainer_killed_between_record_and_removal_is_removed_by_the_next() {
    let prepared = Place::new();
    rows(&prepared, 1);
    // A lease that is not renewed during the run, so that each attempt does the same operations.
    let text = std::fs::read_to_string(spec(&prepared, "")).expect("a specification");
    let text = text.replace("lease = \"1s\"", "lease = \"10m\"");
    let file = prepared.write("train.toml", &text);
    let event = ask(&prepared.registry.url());
    let killed_at = |at: usize| {
        let place = Place::new();
        copy(&prepared.registry.store(), &place.registry.store());
        let mut command = watch(&place.registry.url(), &file, true);
        command
            .env("ORTUS_TEST_ABORT_AT", at.to_string())
            .output()
            .expect("runs");
        place
    };
    let is_recorded = |place: &Place| dealt(&runs(&place.registry.url()), &event) > 0;

    // The operation after the one that stores the record removes the pin.
    let (mut before, mut after) = (1, 1_000);
    while after - before > 1 {
        let middle = usize::midpoint(before, after);
        if is_recorded(&killed_at(middle)) {
            after = middle;
        } else {
            before = middle;
        }
    }
    let place = killed_at(after);
    assert!(is_recorded(&place));
    assert_eq!(
        left_behind(&place).len(),
        1,
        "the pin of the killed trainer"
    );

    let output = watch(&place.registry.url(), &file, true).output();
    assert!(output.expect("runs").status.success());
    let left = left_behind(&place);
    assert!(left.is_empty(), "{left:?}");
}

/// A trainer that is started again after each kill.
struct Mortal {
    child: Child,
    url: String,
    spec: PathBuf,
}

impl Mortal {
    fn start(url: &str, spec: &Path) -> Self {
        let child = watch(url, spec, false)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        Self {
            child,
            url: url.to_owned(),
            spec: spec.to_owned(),
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        *self = Self::start(&self.url, &self.spec);
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers that look random and are the same in each run of the test.
struct KillMoments(u64);

impl KillMoments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[test]
fn two_trainers_killed_at_random_and_requested_twice_publish_each_run_once() {
    let place = Place::new();
    rows(&place, 0);
    let (file, url) = (spec(&place, "new_rows = 1\n"), place.registry.url());
    let kills = if is_long() { 200 } else { 20 };
    let mortals = [Mortal::start(&url, &file), Mortal::start(&url, &file)];
    let asked = kill_at_random(&place, mortals, kills);

    let (all, keys) = (runs(&url), versions(&url));
    let unique: BTreeSet<&String> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len(), "a run has two versions");
    for event in &asked {
        assert_eq!(dealt(&all, event), 1, "{event}");
    }
    report(kills, asked.len(), &keys, &all);
    assert!(keys.len() > kills / 6, "{} versions", keys.len());

    check_causes(&all, &keys);
}

/// Kills one of two trainers at random moments and requests runs meanwhile. Returns the
/// requests once all are dealt with and nothing is left of the last run.
fn kill_at_random(place: &Place, mut mortals: [Mortal; 2], kills: usize) -> Vec<String> {
    let url = place.registry.url();
    let mut random = KillMoments(0x2545_f491_4f6c_dd1d);
    let mut asked = Vec::new();
    for kill in 0..kills {
        if kill % 3 == 0 {
            rows(place, 1 + kill);
            asked.extend([ask(&url), ask(&url)]);
        }
        // The moment of a kill is what this test varies: there is no condition to wait for.
        std::thread::sleep(Duration::from_millis(random.next(1_800)));
        mortals[random.next(2) as usize].kill();
    }

    // The trainers are not killed any more, and this run leaves nothing. A killed one may
    // leave its checkpoint, which is kept for some days in case the same run comes again.
    rows(place, 1 + kills);
    let last = ask(&url);
    asked.push(last.clone());
    eventually_within(TIMEOUT, "a run for each request", || {
        let runs = runs(&url);
        asked.iter().all(|event| dealt(&runs, event) > 0)
    });
    // A run is recorded before it removes its pins and checkpoints.
    let key = run_key(&runs(&url), &last);
    eventually_within(TIMEOUT, "no pin or checkpoint of the last run", || {
        let is_of_last = |file: &PathBuf| {
            let file = file.to_string_lossy();
            file.contains(&last) || file.contains(&key)
        };
        !left_behind(place).iter().any(is_of_last)
    });
    let checkpoints = left_behind(place)
        .iter()
        .filter(|file| file.ends_with("fit"))
        .count();
    assert!(checkpoints <= kills, "{checkpoints} checkpoints are left");
    asked
}

/// The key of the run that dealt with an event, without its algorithm.
fn run_key(runs: &[Value], event: &str) -> String {
    let ran = runs
        .iter()
        .find(|ran| {
            ran["events"]
                .as_array()
                .is_some_and(|all| all.iter().any(|e| e == event))
        })
        .expect("a run of the event");
    ran["record"]["run"].as_str().expect("a key")["sha256:".len()..].to_owned()
}

fn report(kills: usize, asked: usize, keys: &[String], all: &[Value]) {
    let became = |word: &str| {
        all.iter()
            .filter(|ran| ran["became"] == json!(word))
            .count()
    };
    println!(
        "{kills} kills, {} asked: {} versions; {} published, {} found what another had published, {} skipped, {} ended with an error",
        asked,
        keys.len(),
        became("published"),
        became("equal"),
        became("skipped"),
        became("broken")
    );
}

/// No cause has two versions: a run that published is the only record of its version, and
/// of its causes.
fn check_causes(all: &[Value], keys: &[String]) {
    let published: Vec<&Value> = all
        .iter()
        .filter(|ran| ran["became"] == json!("published"))
        .collect();
    let causes: Vec<String> = all
        .iter()
        .filter(|ran| ran["became"] == json!("published") || ran["became"] == json!("equal"))
        .flat_map(|ran| ran["events"].as_array().cloned().unwrap_or_default())
        .filter_map(|event| {
            event
                .as_str()
                .filter(|e| e.starts_with("ask-"))
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(
        causes.iter().collect::<BTreeSet<_>>().len(),
        causes.len(),
        "a cause has two runs"
    );
    assert!(
        published.len() <= keys.len()
            && keys.len()
                <= all
                    .iter()
                    .filter(|ran| !ran["record"]["version"].is_null())
                    .count()
    );
}

/// The trainer's records of the model.
fn records_of(place: &Place) -> PathBuf {
    place.registry.store().join("ns/default/records/train/m")
}

/// Pins and checkpoints that runs have not removed.
fn left_behind(place: &Place) -> Vec<PathBuf> {
    let train = records_of(place);
    let mut left = Vec::new();
    files(&train.join("pins"), &mut left);
    files(&train.join("steps"), &mut left);
    left
}

#[test]
fn a_full_store_leaves_nothing_half_published_and_is_tried_again() {
    let place = Place::new();
    rows(&place, 1);
    let (file, url) = (spec(&place, ""), place.registry.url());
    let event = ask(&url);
    for blocks in [1, 4, 12] {
        // A limit on the size of files stands for a full disk.
        let own = trainer().get_program().to_owned();
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""),
            ])
            .arg(own);
        command
            .arg("watch")
            .arg("--once")
            .arg(&file)
            .args(["--registry", &url])
            .env("ORT_DISABLE_TELEMETRY", "1");
        let output = command.output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{blocks}: {said}");
        assert!(versions(&url).is_empty(), "{blocks}");
        assert_eq!(dealt(&runs(&url), &event), 0, "{blocks}: it is still due");
    }
    settle(&url, &file, &event);
    assert_eq!((versions(&url).len(), dealt(&runs(&url), &event)), (1, 1));
}
