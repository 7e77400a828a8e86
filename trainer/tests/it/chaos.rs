//! Trainers killed at any moment, asked twice, and left without room: each run
//! has one version, each cause is dealt with once, and nothing is half there.

use crate::place::{Place, table, trainer};
use crate::support::optional::{is_long, run};
use crate::support::ortus;
use crate::support::registry::{copy, files};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

/// Replaces the rows at once, as whoever writes data should.
fn rows(place: &Place, seed: usize) {
    let text = table(600 + 5 * seed, seed as f64 * 0.01);
    place.write("rows.new", &text);
    std::fs::rename(place.at("rows.new"), place.at("rows.csv")).expect("renamed");
}

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

/// The key of each version's run, the last version first; all of them whole.
fn versions(url: &str) -> Vec<String> {
    let audit = ortus()
        .args(["audit", "verify", "--registry", url])
        .output()
        .expect("runs");
    assert!(
        audit.status.success(),
        "{}",
        String::from_utf8_lossy(&audit.stderr)
    );
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

/// How often each cause was dealt with.
fn dealt(runs: &[Value], event: &str) -> usize {
    let of = |ran: &&Value| {
        ran["events"]
            .as_array()
            .is_some_and(|all| all.iter().any(|e| e == event))
    };
    runs.iter().filter(of).count()
}

/// Looks until there is nothing to do any more; what it says of its steps.
fn settle(url: &str, spec: &Path, event: &str) -> String {
    let until = Instant::now() + Duration::from_secs(60);
    let mut said = String::new();
    loop {
        let output = watch(url, spec, true).output().expect("runs");
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        if dealt(&runs(url), event) > 0 {
            return said;
        }
        assert!(
            Instant::now() < until,
            "{event} is never dealt with: {said}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_trainer_killed_before_any_of_its_operations_leaves_a_run_that_is_gone_on_with() {
    let prepared = Place::new();
    rows(&prepared, 1);
    let file = spec(&prepared, "");
    let event = ask(&prepared.registry.url());
    let (mut kills, mut gone_on_with) = (0, 0);
    // Every operation in the long run, some in the short one.
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

/// A trainer that is started again whenever it is killed.
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

#[test]
fn two_trainers_killed_at_random_and_asked_twice_publish_each_run_once() {
    let place = Place::new();
    rows(&place, 0);
    let (file, url) = (spec(&place, "new_rows = 1\n"), place.registry.url());
    let kills = if is_long() { 200 } else { 20 };
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut mortals = [Mortal::start(&url, &file), Mortal::start(&url, &file)];
    let mut asked = Vec::new();
    for kill in 0..kills {
        if kill % 3 == 0 {
            rows(&place, 1 + kill);
            asked.extend([ask(&url), ask(&url)]);
        }
        std::thread::sleep(Duration::from_millis(next(1_800)));
        mortals[next(2) as usize].kill();
    }
    let until = Instant::now() + Duration::from_secs(120);
    while asked.iter().any(|event| dealt(&runs(&url), event) == 0) {
        assert!(
            Instant::now() < until,
            "some are never dealt with: {:?}",
            runs(&url)
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    // A run is recorded before it takes back what it wrote down on the way.
    while !left_behind(&place).is_empty() {
        assert!(Instant::now() < until, "{:?}", left_behind(&place));
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(mortals);
    let (all, keys) = (runs(&url), versions(&url));
    let unique: BTreeSet<&String> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len(), "a run has two versions");
    for event in &asked {
        assert_eq!(dealt(&all, event), 1, "{event}");
    }
    let became = |word: &str| {
        all.iter()
            .filter(|ran| ran["became"] == json!(word))
            .count()
    };
    println!(
        "{kills} kills, {} asked: {} versions; {} published, {} found what another had published, {} skipped, {} ended with an error",
        asked.len(),
        keys.len(),
        became("published"),
        became("equal"),
        became("skipped"),
        became("broken")
    );
    assert!(keys.len() > kills / 6, "{} versions", keys.len());
    // No cause has two versions: a run that published is the only record of its version, and of its causes.
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
        // No file may be larger: what a full disk answers, it answers.
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
