//! The state of a registry after a command was killed: at random moments, and before
//! each of its operations on the store.

use crate::support::optional::is_long;
use crate::support::registry::{Registry, champion, copy, versions};
use crate::support::{command_of, ortus, ortus_built_for_tests};
use ortus::testing::graphs;
use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_push_killed_at_any_moment_leaves_all_or_nothing_and_can_be_repeated() {
    let registry = Registry::new();
    let file = registry.0.path().join("model.onnx");
    let path = file.to_str().expect("text");
    let kills = if is_long() { 1_000 } else { 100 };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut whole_before_the_end = 0;
    for kill in 1..=kills {
        std::fs::write(&file, graphs::marked(kill as f32, 1 << 16)).expect("written");
        let mut push = ortus();
        push.args([
            "push",
            "m",
            path,
            "--no-probe",
            "--alias",
            "champion",
            "--registry",
            &registry.url(),
        ]);
        let mut child = push
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Up to a little more than a push takes. The moment of the kill is what this test
        // varies: there is no condition to wait for.
        std::thread::sleep(Duration::from_micros(random % 40_000));
        let _ = child.kill();
        let ended = child.wait().expect("waited for");
        let before: u64 = versions(&registry);
        assert!(
            before == kill || before == kill - 1,
            "{before} versions after kill {kill}"
        );
        assert!(
            !ended.success() || before == kill,
            "an acknowledged version is lost"
        );
        whole_before_the_end += u64::from(!ended.success() && before == kill);
        assert_eq!(
            registry.does(&["push", "m", path, "--no-probe", "--alias", "champion"]),
            kill.to_string()
        );
        assert_eq!((versions(&registry), champion(&registry)), (kill, kill));
        if kill % 10 == 0 {
            registry.does(&["gc", "--grace", "0", "--retain", "0"]);
            registry.does(&["audit", "verify"]);
        }
    }
    registry.does(&["audit", "verify"]);
    println!(
        "{kills} kills: {whole_before_the_end} had committed unseen; whole after each, repeated each once"
    );
}

/// Runs a command on copies of a registry and kills it before one operation on the store:
/// in the first copy before the `from`-th, in the next one before the following one, until
/// the command succeeds. After each kill the registry is intact, in the state before or
/// after the command, and a retry succeeds. Returns the number of kills.
fn kill_everywhere(
    prepared: &Registry,
    from: u64,
    command: &[&str],
    shows: &dyn Fn(&Registry) -> String,
) -> u64 {
    let before = shows(prepared);
    let mut after = None;
    for at in from..1_000 {
        let registry = Registry::new();
        copy(&prepared.store(), &registry.store());
        let mut run = command_of(ortus_built_for_tests());
        run.args(command)
            .args(["--registry", &registry.url()])
            .env("ORTUS_TEST_ABORT_AT", at.to_string());
        let output = run.stderr(Stdio::piped()).output().expect("runs");
        registry.does(&["audit", "verify"]);
        if output.status.success() {
            assert!(
                after.is_none_or(|a| a == shows(&registry)),
                "the same end whichever way"
            );
            return at - from;
        }
        assert_eq!(
            output.status.signal(),
            Some(Signal::ABORT.as_raw()),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let left = shows(&registry);
        // A rollback that had happened cannot be repeated, and is refused.
        let (code, out, err) = registry.run(command);
        assert!(
            code == 0 || left != before,
            "killed at {at}: the retry is refused: {out} {err}"
        );
        registry.does(&["audit", "verify"]);
        let done = after.get_or_insert_with(|| shows(&registry)).clone();
        assert_eq!(
            shows(&registry),
            done,
            "killed at {at}: the retry ends elsewhere"
        );
        assert!(
            left == before || left == done,
            "killed at {at}: neither as before nor done: {left}"
        );
    }
    panic!("{command:?} never came through");
}

/// The model's history without times and hashes.
fn history(registry: &Registry) -> String {
    let all: serde_json::Value =
        serde_json::from_str(&registry.does(&["history", "m", "--json"])).expect("JSON");
    let line = |e: &serde_json::Value| format!("{} {} {}; ", e["seq"], e["did"], e["champion"]);
    all.as_array().expect("a list").iter().map(line).collect()
}

#[test]
fn a_command_killed_before_any_of_its_operations_leaves_all_or_nothing() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1"]);
    registry.push("m", 2.0);
    // Large enough for an upload in parts.
    let file = registry.0.path().join("large.onnx");
    std::fs::write(&file, graphs::marked(3.0, 5 << 20)).expect("written");
    let push = [
        "push",
        "m",
        file.to_str().expect("text"),
        "--alias",
        "champion",
        "--allow-signature-change",
    ];
    let push = [&push[..], &["--no-probe"]].concat();
    let mut kills = vec![("push", kill_everywhere(&registry, 1, &push, &history))];
    kills.push((
        "promote",
        kill_everywhere(&registry, 1, &["promote", "m", "2"], &history),
    ));
    registry.does(&["promote", "m", "2"]);
    kills.push((
        "rollback",
        kill_everywhere(&registry, 1, &["rollback", "m"], &history),
    ));
    // Version 1, the champion after the rollback, is retired and its files removed.
    registry.does(&["retire", "m", "1"]);
    let files = |registry: &Registry| {
        let listed = |below: &str| {
            let folder = registry.store().join("ns/default").join(below);
            let mut found = Vec::new();
            crate::support::registry::files(&folder, &mut found);
            found.len()
        };
        // A repeated collection writes no second tombstone.
        format!("{} blobs, {}", listed("blobs"), history(registry))
    };
    let gc = ["gc", "--grace", "0", "--retain", "0"];
    let end = |registry: &Registry| {
        registry.does(&gc);
        files(registry)
    };
    kills.push(("gc", kill_everywhere(&registry, 1, &gc, &end)));
    // The 64th entry is followed by a checkpoint; the entries before it are read first.
    const LOGGED: u64 = 63;
    let logged = || {
        std::fs::read_dir(registry.store().join("ns/default/log"))
            .expect("a log")
            .count()
    };
    while logged() < LOGGED as usize {
        registry.does(&["tag", "m", &format!("count={}", logged())]);
    }
    let tag = ["tag", "m", "the=last"];
    kills.push((
        "checkpoint",
        kill_everywhere(&registry, LOGGED, &tag, &|r| {
            let shown: serde_json::Value =
                serde_json::from_str(&r.does(&["show", "m", "--json"])).expect("JSON");
            shown["tags"].to_string()
        }),
    ));
    assert!(kills.iter().all(|(_, n)| *n >= 5), "{kills:?}");
    println!("killed before each operation: {kills:?}");
}
