//! The registry as its users meet it: on a real S3 server, through its
//! commands, and as what a server follows.

use crate::support::optional::{is_long, or_not_run};
use crate::support::registry::{Registry, S3, ask, champion, copy, files, serves};
use crate::support::{Server, eventually, http, ortus};
use ortus::proto::inference;
use ortus::testing::conformance::{self, Scale};
use ortus::testing::graphs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[test]
fn the_suite_holds_on_an_s3_server() {
    let Some(s3) = or_not_run("an S3 server", S3::start()) else {
        return;
    };
    let commits = if is_long() { 100 } else { 25 };
    let scale = Scale {
        writers: 8,
        commits,
        blob_bytes: 20 << 20,
    };
    conformance::run("s3://bucket/some/folder", &s3.env(), scale);
}

#[test]
fn a_server_follows_champions_and_answers_to_aliases() {
    let registry = Registry::new();
    assert_eq!(
        (
            registry.push("m", 1.0),
            registry.push("m", 2.0),
            registry.push("other", 9.0)
        ),
        ("1".to_owned(), "2".to_owned(), "1".to_owned())
    );
    let server = registry.serve(&["--model", "m"]);
    // Nothing points at anything: nothing is loaded, and nobody answers.
    assert_eq!(
        (
            ask(&server, "m", &[]).0,
            ask(&server, "m/versions/1", &[]).0
        ),
        (404, 404)
    );
    registry.does(&["promote", "m", "1", "--reason", "first"]);
    eventually("version 1 is champion", || serves(&server, "1", 1.0));
    assert_eq!(
        ask(&server, "m/versions/2", &[]).0,
        404,
        "nothing points at version 2"
    );
    registry.does(&["alias", "m", "challenger", "2"]);
    eventually("the challenger answers", || {
        ask(&server, "m/versions/challenger", &[]) == (200, "2".into(), 2.0)
    });
    assert_eq!(
        ask(&server, "m/versions/champion", &[]),
        (200, "1".into(), 1.0)
    );
    registry.does(&["promote", "m", "challenger"]);
    eventually("version 2 is champion", || serves(&server, "2", 2.0));
    assert_eq!(
        ask(&server, "m/versions/previous", &[]),
        (200, "1".into(), 1.0)
    );
    registry.does(&["rollback", "m"]);
    eventually("version 1 is back", || serves(&server, "1", 1.0));
    let metadata = server.get("/v2/models/m").json();
    let entry = metadata["properties"]["ortus.registry.entry"]
        .as_str()
        .expect("an entry")
        .to_owned();
    assert_eq!(
        server.metric("ortus_registry_entry").map(|n| n.to_string()),
        Some(entry)
    );
    assert_eq!(server.metric("ortus_registry_refused"), Some(0.0));
    assert_eq!(
        ask(&server, "other", &[]).0,
        404,
        "only the models asked for are served"
    );
    assert_eq!(ask(&server, "m/versions/nobody", &[]).0, 404);
    assert_eq!(ask(&server, "m/versions/No-body", &[]).0, 400);
}

#[test]
fn a_shadow_is_sent_copies_and_only_compared() {
    let registry = Registry::new();
    for mark in [1.0, 2.0, 1.000_01] {
        registry.push("m", mark);
    }
    registry.does(&["promote", "m", "1"]);
    registry.does(&["alias", "m", "shadow", "2"]);
    let server = registry.serve(&[]);
    let copies = |version: u32, outcome: &str| {
        let series = format!(
            "ortus_shadow_total{{model=\"m\",outcome=\"{outcome}\",version=\"{version}\"}}"
        );
        server.metric(&series).unwrap_or(0.0)
    };
    for _ in 0..20 {
        assert!(
            serves(&server, "1", 1.0),
            "the answer is the champion's alone"
        );
    }
    eventually("the copies", || {
        copies(2, "different") + copies(2, "dropped") == 20.0
    });
    assert!(copies(2, "different") > 0.0);
    registry.does(&["alias", "m", "shadow", "3"]);
    eventually("the other shadow", || {
        serves(&server, "1", 1.0) && copies(3, "same") > 0.0
    });
    registry.does(&["alias", "m", "shadow", "--remove"]);
    eventually("no shadow", || {
        server
            .metric("ortus_model_ready{model=\"m\",version=\"3\"}")
            .is_none()
    });
    assert!(serves(&server, "1", 1.0));
}

#[test]
fn the_operator_listener_has_the_same_verbs() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.push("m", 2.0);
    let server = registry.serve(&["--set", "registry.poll=1h"]);
    let call = |method: &str, path: &str, body: &str| {
        let path = format!("/v1/registry/{path}");
        let answer = http(
            &server.operator,
            method,
            &path,
            &[("ortus-operator", "1")],
            body.as_bytes(),
        );
        (answer.status, answer.json())
    };
    let (status, said) = call(
        "POST",
        "models/m/promote",
        r#"{"version":"1","reason":"first","actor":"ann"}"#,
    );
    assert_eq!((status, &said["seq"]), (200, &3.into()), "{said}");
    eventually("the champion", || serves(&server, "1", 1.0));
    assert_eq!(
        call(
            "POST",
            "models/m/alias",
            r#"{"alias":"challenger","version":"2"}"#
        )
        .0,
        200
    );
    eventually("the challenger", || {
        ask(&server, "m/versions/challenger", &[]).1 == "2"
    });
    assert_eq!(
        call(
            "POST",
            "models/m/traffic",
            r#"{"weights":{"champion":40,"challenger":60}}"#
        )
        .0,
        200
    );
    assert_eq!(
        call("POST", "models/m/tag", r#"{"key":"team","value":"risk"}"#).0,
        200
    );
    assert_eq!(
        call("GET", "models?tag=team=risk", "").1[0]["traffic"]["challenger"],
        60
    );
    assert_eq!(call("POST", "policy", r#"{"approvals":1}"#).0, 200);
    let (status, said) = call("POST", "models/m/promote", r#"{"version":"2"}"#);
    assert_eq!((status, &said["waiting"]), (202, &true.into()));
    assert_eq!(
        call(
            "POST",
            "models/m/approve",
            r#"{"version":"2","actor":"bob"}"#
        )
        .0,
        200
    );
    assert_eq!(
        call("POST", "models/m/promote", r#"{"version":"challenger"}"#).0,
        200
    );
    eventually("the new champion", || serves(&server, "2", 2.0));
    assert_eq!(call("POST", "models/m/rollback", "").1["version"], 1);
    assert_eq!(call("GET", "models/m/history", "").1[2]["reason"], "first");
    assert_eq!(
        call("GET", "models/m?version=1", "").1["manifest"]["model"],
        "m"
    );
    assert_eq!(call("GET", "models/m?x=1&version=9", "").0, 404);
    assert_eq!(
        call("GET", "models?x=1&tag=te%61m=risk", "").1[0]["name"],
        "m"
    );
    assert_eq!(call("GET", "models/m/diff?from=1&to=2", "").1["to"], 2);
    assert_eq!(call("POST", "verify", "").1["void"], serde_json::json!([]));
    assert_eq!(call("POST", "gc", r#"{"dry_run":true}"#).1["dry_run"], true);
    for (method, path, body, status) in [
        ("POST", "models/m/promote", "{}", 400),
        ("POST", "models/m/promote", "nonsense", 400),
        ("POST", "models/m/promote", r#"{"versoin":"1"}"#, 400),
        ("POST", "models/m/promote", r#"{"version":"9"}"#, 404),
        ("POST", "models/q/rollback", "", 404),
        ("POST", "models/m/burn", "", 404),
        ("GET", "models/%2e%2e/history", "", 400),
        ("GET", "nothing", "", 404),
    ] {
        assert_eq!(call(method, path, body).0, status, "{method} {path} {body}");
    }
    let large = call(
        "POST",
        "models/m/tag",
        &format!(r#"{{"key":"{}"}}"#, "k".repeat(100_000)),
    );
    assert_eq!(large.0, 413);
    let bare = http(
        &server.operator,
        "POST",
        "/v1/registry/models/m/rollback",
        &[],
        b"",
    );
    assert_eq!(bare.status, 403, "without the header");
}

#[test]
fn retiring_the_old_champion_at_once_leaves_no_gap() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.push("m", 2.0);
    registry.does(&["promote", "m", "1"]);
    let server = registry.serve(&["--set", "registry.poll=300ms"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Acquire) {
                let (status, version, mark) = ask(&server, "m", &[]);
                assert_eq!(
                    (status, version.parse().ok()),
                    (200, Some(mark)),
                    "a gap after {count} answers"
                );
                count += 1;
            }
            count
        });
        let _done = Done(&done);
        // Nobody is nudged: both are seen in one look.
        let away = ["--nudge", "127.0.0.1:1"];
        registry.does(&[&["promote", "m", "2"][..], &away].concat());
        registry.does(&[&["retire", "m", "1"][..], &away].concat());
        eventually("version 2", || ask(&server, "m", &[]).1 == "2");
        eventually("version 1 is gone", || {
            server
                .metric("ortus_model_ready{model=\"m\",version=\"1\"}")
                .is_none()
        });
        done.store(true, Ordering::Release);
        assert!(asking.join().expect("no gap") > 10);
    });
}

#[test]
fn a_log_from_the_future_is_refused_by_name_and_serving_goes_on() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1"]);
    let server = registry.serve(&[]);
    let log = registry.store().join("ns/default/log");
    let last = std::fs::read_to_string(log.join("00000000000000000002.json")).expect("an entry");
    let future = last
        .replace("\"format\":1,\"seq\":2", "\"format\":9,\"seq\":3")
        .replace("ortus 0.1.0", "ortus 9.0.0");
    std::fs::write(log.join("00000000000000000003.json"), future).expect("written");
    eventually("the refusal", || {
        server.metric("ortus_registry_refused") == Some(1.0)
    });
    assert!(
        serves(&server, "1", 1.0) && server.log().contains("ortus 9.0.0"),
        "{}",
        server.log()
    );
    for refused in [
        vec!["list"],
        vec!["promote", "m", "1"],
        vec!["audit", "verify"],
    ] {
        let said = registry.refuses(&refused);
        assert!(
            said.contains("is of format 9") && said.contains("written by ortus 9.0.0"),
            "{said}"
        );
    }
}

#[test]
fn a_store_that_cannot_be_written_refuses_and_changes_nothing() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    let before = registry.does(&["history", "m", "--json"]);
    // No space: a limit on the size of files, which the process does not die of.
    let file = registry.0.path().join("large.onnx");
    std::fs::write(&file, graphs::marked(1.0, 1 << 20)).expect("written");
    let push = format!(
        "trap '' XFSZ; ulimit -f 1024; exec {} push m {} --no-probe --allow-signature-change --registry {}",
        env!("CARGO_BIN_EXE_ortus"),
        file.display(),
        registry.url()
    );
    let output = Command::new("bash")
        .arg("-c")
        .arg(push)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        (output.status.code(), said.lines().count()),
        (Some(1), 1),
        "{said}"
    );
    assert!(said.contains("in the store"), "{said}");
    assert_eq!(registry.does(&["history", "m", "--json"]), before);
    registry.does(&["audit", "verify"]);
    // A file where a folder should be.
    let other = Registry::new();
    std::fs::write(other.store(), "a file").expect("written");
    assert!(other.refuses(&["list"]).contains("is not a folder"));
    let third = Registry::new();
    std::fs::create_dir(third.store()).expect("made");
    std::fs::write(third.store().join("ns"), "a file").expect("written");
    assert_eq!(
        third
            .run(&["push", "m", file.to_str().expect("text"), "--no-probe"])
            .0,
        1
    );
}

/// This program, run by somebody who may not write to what is the registry's.
fn stranger(registry: &Registry) -> Command {
    let copy = registry.0.path().join("ortus");
    std::fs::copy(env!("CARGO_BIN_EXE_ortus"), &copy).expect("copied");
    // SAFETY: geteuid takes nothing and cannot fail.
    let mut command = if unsafe { libc::geteuid() } == 0 {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(copy);
        command
    } else {
        Command::new(copy)
    };
    command.env("HOME", "/nonexistent").current_dir("/");
    command
}

#[test]
fn who_may_only_read_reads_and_is_refused_in_one_line() {
    use std::os::unix::fs::PermissionsExt;
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1"]);
    let before = registry.does(&["history", "m", "--json"]);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set")
    };
    let mut folders = vec![registry.store()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .expect("listed")
            .map(|e| e.expect("an entry").path());
        folders.extend(entries.filter(|p| p.is_dir()));
        mode(&folder, 0o555);
    }
    mode(registry.0.path(), 0o755);
    let run = |arguments: &[&str]| {
        let output = stranger(&registry)
            .args(arguments)
            .arg("--registry")
            .arg(registry.url())
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned();
        (output.status.code(), said)
    };
    for reads in [
        vec!["list"],
        vec!["history", "m"],
        vec!["audit", "verify"],
        vec!["fleet"],
    ] {
        assert_eq!(run(&reads), (Some(0), String::new()), "{reads:?}");
    }
    let file = registry.0.path().join("model.onnx");
    mode(&file, 0o644);
    let push = ["push", "m", file.to_str().expect("text"), "--no-probe"];
    for writes in [
        &push[..],
        &["promote", "m", "1"],
        &["gc"],
        &["tag", "m", "a=b"],
    ] {
        let (code, said) = run(writes);
        assert_eq!(
            (code, said.lines().count()),
            (Some(1), 1),
            "{writes:?}: {said}"
        );
        assert!(said.to_lowercase().contains("permission"), "{said}");
    }
    assert_eq!(registry.does(&["history", "m", "--json"]), before);
    // The folder itself must be ours again to be removed, where we are not root.
    let mut folders = vec![registry.store()];
    while let Some(folder) = folders.pop() {
        mode(&folder, 0o755);
        let entries = std::fs::read_dir(&folder)
            .expect("listed")
            .map(|e| e.expect("an entry").path());
        folders.extend(entries.filter(|p| p.is_dir()));
    }
}

#[test]
fn the_fleet_tells_who_follows_and_commands_nudge_it() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1"]);
    // It would not look by itself within this test.
    let server = registry.serve(&["--set", "registry.poll=1h"]);
    let fleet = || {
        let said: serde_json::Value =
            serde_json::from_str(&registry.does(&["fleet", "--json"])).expect("JSON");
        (
            said["newest"].as_u64(),
            said["servers"].as_array().expect("servers").clone(),
        )
    };
    // The server learns its own address last; a nudge makes it look, and tell.
    http(
        &server.operator,
        "POST",
        "/v1/nudge",
        &[("ortus-operator", "1")],
        b"",
    );
    eventually("the server tells of itself", || fleet().1.len() == 1);
    let (newest, servers) = fleet();
    assert_eq!(
        (
            newest,
            &servers[0]["entry"],
            &servers[0]["addresses"]["http"]
        ),
        (Some(2), &2.into(), &server.http.as_str().into())
    );
    registry.push("m", 2.0);
    registry.does(&["promote", "m", "2"]);
    eventually("the nudge", || serves(&server, "2", 2.0));
    eventually("its entry", || fleet().1[0]["entry"] == 4);
    assert!(registry.does(&["fleet"]).contains(&server.http));
    let mut server = server;
    server.signal(libc::SIGTERM);
    assert_eq!(
        (server.wait(), fleet().1.len()),
        (Some(0), 0),
        "who stops takes leave"
    );
}

#[test]
fn traffic_is_split_by_weight_and_a_key_sticks() {
    let registry = Registry::new();
    for mark in [1.0, 2.0] {
        registry.push("m", mark);
    }
    registry.does(&["promote", "m", "1"]);
    registry.does(&["alias", "m", "challenger", "2"]);
    let server = registry.serve(&[]);
    registry.does(&["traffic", "m", "champion=50", "challenger=50"]);
    eventually("the split", || ask(&server, "m", &[]).1 == "2");
    let served = |key: &str| ask(&server, "m", &[("ortus-route-key", key)]).1;
    let keys: Vec<String> = (0..60).map(|i| format!("user {i}")).collect();
    let first: Vec<String> = keys.iter().map(|key| served(key)).collect();
    let share = first.iter().filter(|v| *v == "2").count();
    assert!(
        (15..45).contains(&share),
        "{share} of 60 keys went to the challenger"
    );
    assert_eq!(
        keys.iter().map(|key| served(key)).collect::<Vec<_>>(),
        first,
        "a key did not stick"
    );
    // The same key as a parameter goes the same way, over both protocols; the header comes first.
    let body = |key: &str| {
        format!(
            r#"{{"parameters":{{"route_key":"{key}"}},"inputs":[{{"name":"x","datatype":"INT64","shape":[1],"data":[1]}}]}}"#
        )
    };
    let infer = |headers: &[(&str, &str)], body: &str| {
        let answer = http(
            &server.http,
            "POST",
            "/v2/models/m/infer",
            headers,
            body.as_bytes(),
        );
        answer
            .headers
            .get("ortus-model-version")
            .cloned()
            .unwrap_or_else(|| answer.status.to_string())
    };
    assert_eq!(
        keys.iter()
            .map(|key| infer(&[], &body(key)))
            .collect::<Vec<_>>(),
        first
    );
    assert_eq!(
        keys.iter()
            .map(|key| infer(&[("ortus-route-key", key)], &body("x")))
            .collect::<Vec<_>>(),
        first
    );
    assert_eq!(infer(&[], &body("x").replace("\"x\"}", "7}")), "400");
    let by_grpc = grpc_versions(&server, &keys);
    assert_eq!(by_grpc, first);
    // An explicit version is never split.
    assert!((0..20).all(|_| ask(&server, "m/versions/1", &[]).1 == "1"));
    registry.does(&["promote", "m", "2"]);
    eventually("promotion ends the split", || {
        keys.iter().all(|key| served(key) == "2")
    });
}

#[test]
fn a_restart_without_the_store_serves_the_last_known_good() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1"]);
    let server = registry.serve(&[]);
    assert!(serves(&server, "1", 1.0));
    let aside = registry.0.path().join("aside");
    std::fs::rename(registry.store(), &aside).expect("moved");
    eventually("the silence is seen", || {
        server.metric("ortus_registry_refused") == Some(1.0)
    });
    assert!(serves(&server, "1", 1.0));
    assert!(
        server
            .metric("ortus_registry_staleness_seconds")
            .is_some_and(|s| s > 0.0)
    );
    drop(server);
    // A folder that is there and empty is a log that was rolled back.
    std::fs::create_dir(registry.store()).expect("made");
    let server = registry.serve(&[]);
    assert!(serves(&server, "1", 1.0));
    assert_eq!(server.metric("ortus_registry_refused"), Some(1.0));
    assert!(
        server.log().contains("forked or rolled back"),
        "{}",
        server.log()
    );
    // The server keeps its records there meanwhile.
    std::fs::remove_dir_all(registry.store()).expect("removed");
    std::fs::rename(&aside, registry.store()).expect("moved back");
    registry.push("m", 2.0);
    registry.does(&["promote", "m", "2"]);
    eventually("it is followed again", || serves(&server, "2", 2.0));
    assert_eq!(server.metric("ortus_registry_refused"), Some(0.0));
}

#[test]
fn a_store_restored_from_an_old_copy_is_refused_and_serving_goes_on() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1"]);
    let old = registry.0.path().join("old");
    copy(&registry.store(), &old);
    registry.push("m", 2.0);
    registry.does(&["promote", "m", "2"]);
    let server = registry.serve(&[]);
    assert!(serves(&server, "2", 2.0));
    std::fs::remove_dir_all(registry.store()).expect("removed");
    copy(&old, &registry.store());
    eventually("the rollback is seen", || {
        server.metric("ortus_registry_refused") == Some(1.0)
    });
    // Others go on writing to the old copy: another history of the same numbers, and more.
    for mark in [3.0, 4.0] {
        let version = registry.push("m", mark);
        registry.does(&["promote", "m", &version]);
    }
    eventually("the fork is told", || {
        server.log().contains("is another than the one applied")
    });
    assert!(
        serves(&server, "2", 2.0),
        "what was champion before the fork goes on"
    );
    assert_eq!(server.metric("ortus_registry_refused"), Some(1.0));
}

#[test]
fn bad_versions_change_nothing_that_serves() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1"]);
    let server = registry.serve(&[]);
    assert!(serves(&server, "1", 1.0));
    registry.push("m", 2.0);
    let digest = damage(&registry, "2");
    registry.does(&["promote", "m", "2"]);
    eventually("the refusal", || {
        server.metric("ortus_model_load_failures_total{model=\"m\"}") == Some(1.0)
    });
    assert!(serves(&server, "1", 1.0));
    assert!(
        server.log().contains(&digest),
        "the log names the object: {}",
        server.log()
    );
    registry.does(&["rollback", "m"]);
    registry.push("m", 3.0);
    registry.does(&["promote", "m", "3"]);
    eventually("a good one serves", || serves(&server, "3", 3.0));
}

#[test]
fn golden_rows_are_made_at_push_and_must_hold_before_a_version_serves() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    let shown = json(registry.does(&["show", "m:1", "--json"]));
    assert_eq!(shown["evidence"][0]["values"]["golden"], "made", "{shown}");
    let folder = registry.0.path().join("pulled");
    registry.does(&["pull", "m:1", "-o", folder.to_str().expect("text")]);
    let made = std::fs::read_to_string(folder.join("golden.json")).expect("golden rows");
    let output = json(made.clone())["cases"][0]["outputs"][0].clone();
    assert_eq!(
        (&output["name"], &output["data"][0]),
        (&"y".into(), &1.0.into()),
        "{made}"
    );
    registry.does(&["promote", "m", "1"]);
    let server = registry.serve(&[]);
    assert!(serves(&server, "1", 1.0));
    // Rows that another model would answer so.
    let (file, wrong) = (
        registry.0.path().join("two.onnx"),
        registry.0.path().join("wrong.json"),
    );
    std::fs::write(&file, graphs::demanding(2.0)).expect("written");
    std::fs::write(&wrong, &made).expect("written");
    let push = [
        "push",
        "m",
        file.to_str().expect("text"),
        "--golden",
        wrong.to_str().expect("text"),
    ];
    let said = registry.refuses(&push);
    assert!(
        said.contains("does not answer golden case 0: output 'y' is 2 and not 1 at element 0"),
        "{said}"
    );
    assert_eq!(
        registry.does(&[&push[..], &["--no-probe", "--alias", "champion"]].concat()),
        "2"
    );
    eventually("the refusal", || {
        server.log().contains("does not answer golden case 0")
    });
    assert!(serves(&server, "1", 1.0));
    std::fs::write(&wrong, "{}").expect("written");
    assert!(
        registry
            .refuses(&[&push[..], &["--no-probe"]].concat())
            .contains("the golden file: has no format")
    );
    // The same again, from a machine that rounds otherwise or makes no rows, is the same version.
    registry.does(&["push", "m", file.to_str().expect("text"), "--no-probe"]);
    assert!(
        registry
            .does(&["push", "m", file.to_str().expect("text"), "--json"])
            .contains("\"version\":2")
    );
    // What a first run says may be longer than a pipe holds.
    let mask = registry.0.path().join("mask.onnx");
    std::fs::write(&mask, graphs::mask(5_000)).expect("written");
    let said = json(registry.does(&["push", "mask", mask.to_str().expect("text"), "--json"]));
    assert_eq!(said["version"], 1);
    let shown = json(registry.does(&["show", "mask:1", "--json"]));
    let golden = shown["manifest"]["files"].as_array().expect("files")[0].clone();
    assert!(
        golden["bytes"].as_u64().is_some_and(|n| n > 65_536),
        "{golden}"
    );
    // In a plain directory the file lies beside the model.
    let directory = crate::support::Directory::empty();
    directory.put_with(
        "m",
        1,
        &graphs::demanding(1.0),
        &[("golden.json", made.as_bytes())],
    );
    let server = Server::start(directory.path());
    assert!(serves(&server, "1", 1.0));
    directory.put_with(
        "m",
        2,
        &graphs::demanding(2.0),
        &[("golden.json", made.as_bytes())],
    );
    eventually("the refusal", || {
        server.log().contains("does not answer golden case 0")
    });
    assert!(serves(&server, "1", 1.0));
}

#[test]
fn verifying_names_the_object_of_any_flipped_byte() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1", "--reason", "because"]);
    registry.push("m", 2.0);
    assert!(
        registry
            .does(&["audit", "verify"])
            .starts_with("whole: 3 entries, 6 blobs")
    );
    let mut all = Vec::new();
    files(&registry.store(), &mut all);
    assert_eq!(all.len(), 9, "{all:?}");
    for path in all {
        let good = std::fs::read(&path).expect("read");
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        // The last entry has none after it whose chain would tell: only what it says can be wrong.
        let last = name.ends_with("3.json");
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            std::fs::write(&path, &bad).expect("written");
            let (code, out, err) = registry.run(&["audit", "verify"]);
            let named = err.contains(name)
                || name.strip_suffix(".json").is_some_and(|n| {
                    // A changed entry is seen by itself or by the one after it.
                    let number: u64 = n.parse().expect("a number");
                    err.contains(&format!("entry {number}"))
                        || err.contains(&format!("{:020}", number + 1))
                });
            assert!(
                (code == 1 && named) || (last && code == 0 && at == good.len() / 2),
                "{name} at {at}: {out} {err}"
            );
            std::fs::write(&path, &good).expect("written back");
        }
        let gone = path.with_extension("gone");
        std::fs::rename(&path, &gone).expect("moved");
        let (code, _, err) = registry.run(&["audit", "verify"]);
        assert!(code == 1 || last, "{name} is gone: {err}");
        std::fs::rename(&gone, &path).expect("moved back");
    }
    registry.does(&["audit", "verify"]);
}

#[test]
fn commands_keep_their_contract() {
    let registry = Registry::new();
    assert!(
        registry
            .refuses(&["list"])
            .contains("find the registry's folder")
    );
    assert_eq!(registry.push("m", 1.0), "1");
    assert_eq!(
        registry.push("m", 1.0),
        "1",
        "the same again is the same version"
    );
    let json: serde_json::Value =
        serde_json::from_str(&registry.does(&["promote", "m", "1", "--json"])).expect("JSON");
    assert_eq!(
        (&json["name"], &json["version"], &json["seq"]),
        (&"m".into(), &1.into(), &2.into())
    );
    assert!(
        registry
            .refuses(&["rollback", "m"])
            .contains("no champion before")
    );
    assert!(
        registry
            .refuses(&["promote", "m", "7"])
            .contains("no version or alias '7'")
    );
    assert!(
        registry
            .refuses(&["promote", "q", "1"])
            .contains("no model 'q'")
    );
    assert!(
        registry
            .refuses(&["push", "../m", "x"])
            .contains("model name")
    );
    assert!(
        registry
            .refuses(&["push", "m", "/nonexistent"])
            .contains("cannot be read")
    );
    let text = registry.0.path().join("text.onnx");
    std::fs::write(&text, "not a model").expect("written");
    assert!(
        registry
            .refuses(&["push", "m", text.to_str().expect("text")])
            .contains("not an ONNX model")
    );
    registry.does(&["policy", "--approvals", "1"]);
    registry.push("m", 2.0);
    let (code, _, err) = registry.run(&["promote", "m", "2"]);
    assert_eq!((code, err.lines().count()), (4, 1), "{err}");
    registry.does(&[
        "approve",
        "m",
        "2",
        "--actor",
        "somebody else",
        "--reason",
        "looked at it",
    ]);
    registry.does(&["promote", "m", "2"]);
    let history: serde_json::Value =
        serde_json::from_str(&registry.does(&["history", "m", "--json"])).expect("JSON");
    let last = history.as_array().and_then(|h| h.last()).expect("an entry");
    assert_eq!(
        (&last["champion"], &last["did"][0]),
        (
            &2.into(),
            &"promoted version 2 to champion in place of version 1".into()
        )
    );
    assert!(registry.does(&["list"]).contains("m"));
    let folder = registry.0.path().join("pulled");
    registry.does(&["pull", "m:1", "-o", folder.to_str().expect("text")]);
    assert_eq!(
        std::fs::read(folder.join("model.onnx")).expect("pulled"),
        graphs::demanding(1.0)
    );
    assert!(
        registry
            .refuses(&["pull", "m:1", "-o", folder.to_str().expect("text")])
            .contains("is there already")
    );
}

/// Answers to requests by a server that is being changed, over one protocol.
struct Answers {
    count: AtomicU64,
    newest: AtomicU64,
    done: AtomicBool,
}

impl Answers {
    /// Counts an answer: what the header says must be what the model says.
    fn take(&self, version: &str, mark: f32) {
        let version: u64 = version.parse().expect("a version");
        assert_eq!(
            mark, version as f32,
            "an answer of version {version} is not its own"
        );
        self.count.fetch_add(1, Ordering::Relaxed);
        self.newest.store(version, Ordering::Release);
    }
}

#[test]
fn versions_travel_in_bundles_and_from_model_directories() {
    let (here, there) = (Registry::new(), Registry::new());
    let models = crate::support::models_folder();
    let digits = models.join("digits");
    let (card, source) = (digits.join("README.md"), digits.join("1"));
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    here.does(&[
        "push",
        "digits",
        &text(&source),
        "--card",
        &text(&card),
        "--tag",
        "team=vision",
        "--licence",
        "MIT",
    ]);
    here.does(&["promote", "digits", "1"]);
    let bundle = here.0.path().join("bundle");
    here.does(&["export", "digits", "-o", &text(&bundle)]);
    assert!(bundle.join("oci-layout").is_file() && bundle.join("index.json").is_file());
    assert_eq!(there.does(&["import", &text(&bundle)]), "digits:1");
    assert_eq!(
        there.does(&["import", &text(&bundle)]),
        "digits:1",
        "the same again is the same version"
    );
    let manifest = |registry: &Registry| {
        let shown: serde_json::Value =
            serde_json::from_str(&registry.does(&["show", "digits:1", "--json"])).expect("JSON");
        (shown["digest"].clone(), shown["manifest"].clone())
    };
    assert_eq!(
        manifest(&here),
        manifest(&there),
        "a version is the same wherever it goes"
    );
    let mut all = Vec::new();
    files(&bundle.join("blobs"), &mut all);
    for path in all {
        let good = std::fs::read(&path).expect("read");
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        std::fs::write(&path, &bad).expect("damaged");
        let third = Registry::new();
        assert_eq!(
            third.run(&["import", &text(&bundle)]).0,
            1,
            "{}",
            path.display()
        );
        std::fs::write(&path, &good).expect("written back");
    }
    // A directory as Triton and TensorFlow Serving lay it out.
    let directory = crate::support::Directory::empty();
    directory.put("wine", 3, &crate::support::model_file("wine", "1"));
    directory.put("wine", 7, &crate::support::model_file("wine", "next"));
    directory.put("digits", 1, &crate::support::model_file("digits", "next"));
    let imported = there.does(&["import", &text(directory.path())]);
    assert_eq!(
        imported.lines().collect::<Vec<_>>(),
        ["digits:2", "wine:1", "wine:2"]
    );
    assert!(
        there
            .refuses(&["import", &text(&models.join("wine/1"))])
            .contains("neither a bundle nor a model directory")
    );
}

#[test]
fn a_model_that_mlflow_saved_is_pushed_with_its_columns_and_its_run() {
    let registry = Registry::new();
    let folder = registry.0.path().join("saved");
    std::fs::create_dir(&folder).expect("made");
    let description = include_str!("../../src/registry/commands/mlflow/MLmodel-3.17.2");
    std::fs::write(folder.join("MLmodel"), description).expect("written");
    std::fs::write(
        folder.join("model.onnx"),
        crate::support::model_file("wine", "1"),
    )
    .expect("written");
    std::fs::write(folder.join("requirements.txt"), "mlflow==3.17.2\n").expect("written");
    let folder = folder.to_str().expect("text");
    assert_eq!(
        registry.does(&["push", "wine", "--from-mlflow", folder]),
        "1"
    );
    assert_eq!(
        registry.does(&["push", "wine", "--from-mlflow", folder]),
        "1",
        "the same again"
    );
    let shown: serde_json::Value =
        serde_json::from_str(&registry.does(&["show", "wine:1", "--json"])).expect("JSON");
    let manifest = &shown["manifest"];
    assert_eq!(
        (&manifest["features"][0], &manifest["features"][12]),
        (&"alcohol".into(), &"proline".into())
    );
    assert_eq!(
        manifest["lineage"]["mlflow"]["run_id"],
        "f99b1f50d2d343bdbeb2a29ff7318b84"
    );
    let files = manifest["files"].as_array().expect("files");
    assert!(
        files.iter().any(|f| f["path"] == "requirements.txt"),
        "the environment comes with it"
    );
    let other = ["push", "wine", "--from-mlflow", folder, "--features", "a,b"];
    assert_eq!(registry.does(&other), "2", "what is given goes first");
    std::fs::write(
        registry.0.path().join("saved/MLmodel"),
        "flavors: {sklearn: {}}",
    )
    .expect("written");
    assert!(
        registry
            .refuses(&["push", "wine", "--from-mlflow", folder])
            .contains("no flavour `onnx`")
    );
    assert_eq!(registry.run(&["push", "wine"]).0, 2, "misuse");
}

#[test]
fn what_readme_says_of_the_registry_can_be_done_as_it_stands() {
    let registry = Registry::new();
    let readme = include_str!("../../README.md");
    let section = readme
        .split("## Serve a registry")
        .nth(1)
        .expect("the section");
    let block = section.split("```").nth(1).expect("its commands");
    let mut ran = Vec::new();
    for line in block
        .lines()
        .filter(|l| l.starts_with("ortus ") && !l.starts_with("ortus serve"))
    {
        let line = line
            .replace("file:///tmp/registry", &registry.url())
            .replace("ortus ", concat!(env!("CARGO_BIN_EXE_ortus"), " "));
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &line])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = shell.output().expect("runs");
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        ran.push(line);
    }
    assert!(ran.len() >= 5, "{ran:?}");
    let history: serde_json::Value =
        serde_json::from_str(&registry.does(&["history", "digits", "--json"])).expect("JSON");
    assert_eq!(
        history
            .as_array()
            .expect("a list")
            .last()
            .expect("an entry")["champion"],
        1
    );
}

#[test]
fn an_auditor_reads_who_put_what_into_production_and_what_it_was_made_from() {
    let registry = Registry::new();
    let file = |name: &str, text: &str| {
        let path = registry.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let lineage = file(
        "lineage.json",
        r#"{"data":"sha256:da7a","code":"c0de","seed":7}"#,
    );
    let metrics = file("metrics.json", r#"{"auc":0.91}"#);
    registry.push("m", 1.0);
    registry.does(&[
        "promote",
        "m",
        "1",
        "--actor",
        "ann",
        "--reason",
        "the first",
    ]);
    let model = registry.0.path().join("two.onnx");
    std::fs::write(&model, graphs::demanding(2.0)).expect("written");
    let model = model.to_str().expect("text");
    registry.does(&[
        "push",
        "m",
        model,
        "--parent",
        "1",
        "--lineage",
        &lineage,
        "--metrics",
        &metrics,
        "--actor",
        "eve",
    ]);
    registry.does(&[
        "promote",
        "m",
        "2",
        "--actor",
        "bob",
        "--reason",
        "better *everywhere*",
    ]);
    registry.does(&["rollback", "m", "--actor", "cyd", "--reason", "worse"]);
    let report = registry.does(&["audit", "report"]);
    for part in [
        "3 changes",
        "promoted to version 2 (version 1 before)",
        "who: bob",
        "better \\*everywhere\\*",
        "pushed by eve",
        "auc",
        "measured",
        "rolled back to version 1",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    registry.does(&[
        "promote",
        "m",
        "2",
        "--reason",
        "<script>alert(1)</script> & \"more\"",
    ]);
    let page = registry.does(&["audit", "report", "--html"]);
    for part in [
        "<h2>m: rolled back to version 1",
        "<dd>worse</dd>",
        "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script"), "what people wrote is not markup");
    assert!(
        registry
            .does(&["audit", "report", "--until", "2020-01-01"])
            .contains("0 changes")
    );
    let made: serde_json::Value =
        serde_json::from_str(&registry.does(&["lineage", "m:2", "--json"])).expect("JSON");
    assert_eq!(
        (&made[0]["lineage"]["code"], &made[1]["version"]),
        (&"c0de".into(), &1.into())
    );
}

#[test]
fn a_server_that_asks_for_signatures_takes_only_what_a_trusted_key_vouches_for() {
    let registry = Registry::new();
    let at = |name: &str| {
        registry
            .0
            .path()
            .join(name)
            .to_str()
            .expect("text")
            .to_owned()
    };
    let run = |arguments: &[&str]| {
        let output = ortus().args(arguments).output().expect("runs");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    };
    let (ann, eve, trust) = (at("ann"), at("eve"), at("trust.json"));
    let public = run(&["key", "generate", "-o", &ann]);
    run(&["key", "generate", "-o", &eve]);
    assert_eq!(run(&["key", "public", &ann]), public);
    run(&["key", "trust", &trust, &public, "--name", "ann"]);
    let push = |mark: f32, key: &[&str]| {
        let file = at("model.onnx");
        std::fs::write(&file, graphs::demanding(mark)).expect("written");
        registry.does(&[&["push", "m", &file, "--alias", "champion"], key].concat())
    };
    push(1.0, &["--key", &ann]);
    let trusted = format!("registry.trust=\"{trust}\"");
    let server = registry.serve(&["--set", "registry.signatures=require", "--set", &trusted]);
    assert!(serves(&server, "1", 1.0));
    let failures = || {
        server
            .metric("ortus_model_load_failures_total{model=\"m\"}")
            .unwrap_or(0.0)
    };
    for (mark, key, said) in [
        (2.0, vec![], "it is not signed"),
        (3.0, vec!["--key", eve.as_str()], "not trusted here"),
    ] {
        push(mark, &key);
        eventually("the refusal", || {
            failures() > 0.0 && server.log().contains(said)
        });
        assert!(serves(&server, "1", 1.0));
    }
    push(4.0, &["--key", &ann]);
    eventually("a signed one", || serves(&server, "4", 4.0));
    run(&["key", "revoke", &trust, &public, "--reason", "lost"]);
    push(5.0, &["--key", &ann]);
    eventually("the revocation", || server.log().contains("revoked since"));
    assert!(serves(&server, "4", 4.0));
    // A key that is trusted later is enough: the refusal is tried again.
    let other = run(&["key", "public", &eve]);
    push(6.0, &["--key", &eve]);
    run(&["key", "trust", &trust, &other, "--name", "eve"]);
    eventually("the second look", || serves(&server, "6", 6.0));
    let history = registry.does(&["history", "m", "--json"]);
    assert!(
        history.contains(&public),
        "the log says by which key a change was signed"
    );
}

#[test]
fn approvals_are_by_keys_where_the_namespace_asks_for_signatures() {
    let registry = Registry::new();
    let at = |name: &str| {
        registry
            .0
            .path()
            .join(name)
            .to_str()
            .expect("text")
            .to_owned()
    };
    let run = |arguments: &[&str]| {
        let output = ortus().args(arguments).output().expect("runs");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    };
    let (ann, bob, eve, trust) = (at("ann"), at("bob"), at("eve"), at("trust.json"));
    for key in [&ann, &bob, &eve] {
        let public = run(&["key", "generate", "-o", key]);
        if *key != eve {
            run(&["key", "trust", &trust, &public]);
        }
    }
    let file = |mark: f32| {
        std::fs::write(at("model.onnx"), graphs::demanding(mark)).expect("written");
        at("model.onnx")
    };
    registry.does(&[
        "push",
        "m",
        &file(1.0),
        "--alias",
        "champion",
        "--key",
        &ann,
    ]);
    assert!(
        registry
            .refuses(&["policy", "--signatures", "require"])
            .contains("give a key")
    );
    let policy = [
        "policy",
        "--approvals",
        "1",
        "--signatures",
        "require",
        "--key",
        &ann,
        "--json",
    ];
    assert!(
        registry
            .does(&policy)
            .contains("\"signatures\":\"require\"")
    );
    assert!(
        registry
            .refuses(&["push", "m", &file(2.0)])
            .contains("asks for signed")
    );
    assert!(
        registry
            .refuses(&["policy", "--signatures", "none"])
            .contains("asks for signed changes")
    );
    let trusted = format!("registry.trust=\"{trust}\"");
    let server = registry.serve(&["--set", &trusted]);
    assert!(serves(&server, "1", 1.0));
    let (code, out, _) = registry.run(&[
        "push",
        "m",
        &file(2.0),
        "--alias",
        "champion",
        "--key",
        &ann,
    ]);
    assert_eq!((code, out.as_str()), (4, "2"), "pushed, and waiting");
    let own = registry.refuses(&[
        "approve",
        "m",
        "2",
        "--actor",
        "somebody else",
        "--key",
        &ann,
    ]);
    assert!(
        own.contains("the key that signed version 2 cannot approve it"),
        "{own}"
    );
    assert_eq!(registry.run(&["promote", "m", "2", "--key", &ann]).0, 4);
    // The log counts any key; a server only those that it trusts.
    registry.does(&["approve", "m", "2", "--actor", "eve", "--key", &eve]);
    registry.does(&["promote", "m", "2", "--key", &ann]);
    eventually("the refusal", || {
        server.log().contains("trusted keys did not approve it")
    });
    assert!(serves(&server, "1", 1.0));
    assert_eq!(
        ask(&server, "m/versions/champion", &[]),
        (200, "1".into(), 1.0)
    );
    registry.does(&["approve", "m", "2", "--actor", "bob", "--key", &bob]);
    eventually("the approval", || serves(&server, "2", 2.0));
    let report = registry.does(&["audit", "report"]);
    assert!(
        report.contains("eve approved (advisory: a claim)") && report.contains("approved (signed)"),
        "{report}"
    );
}

/// What is wrong with the bad versions, in turn.
const BAD: [&str; 5] = [
    "damaged in the store",
    "wants all memory",
    "hangs",
    "signed by a stranger",
    "other golden rows",
];

#[test]
fn promotions_and_rollbacks_under_load_lose_nothing_and_no_bad_version_serves() {
    let (promotions, table) = if is_long() {
        (300, 22 << 20)
    } else {
        (60, 1 << 20)
    };
    let registry = Registry::new();
    let file = registry.0.path().join("model.onnx");
    let path = file.to_str().expect("text");
    let [ann, eve, trust] =
        ["ann", "eve", "trust.json"].map(|f| registry.0.path().join(f).display().to_string());
    let key = |arguments: &[&str]| {
        let output = ortus().arg("key").args(arguments).output().expect("runs");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    };
    let public = key(&["generate", "-o", &ann]);
    key(&["generate", "-o", &eve]);
    key(&["trust", &trust, &public]);
    let push_by = |signer: &str, bytes: Vec<u8>, extra: &[&str]| {
        std::fs::write(&file, bytes).expect("written");
        registry.does(&[&["push", "m", path, "--key", signer], extra].concat())
    };
    let push = |bytes: Vec<u8>, extra: &[&str]| push_by(&ann, bytes, extra);
    let wrong = registry.0.path().join("wrong.json").display().to_string();
    std::fs::write(
        &wrong,
        r#"{"format":1,"cases":[{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[0]}],
            "outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[0.5]}]}]}"#,
    )
    .expect("written");
    push(graphs::marked(1.0, table), &[]);
    registry.does(&["promote", "m", "1"]);
    let trusted = format!("registry.trust=\"{trust}\"");
    let settings = [
        "registry.previous_warm=0s",
        "models.probe_timeout=2s",
        "registry.signatures=require",
        &trusted,
    ];
    let server = registry.serve(
        &settings
            .iter()
            .flat_map(|s| ["--set", s])
            .collect::<Vec<_>>(),
    );
    let answers = Answers {
        count: AtomicU64::new(0),
        newest: AtomicU64::new(1),
        done: AtomicBool::new(false),
    };
    let before = server
        .metric("process_resident_memory_bytes")
        .expect("a metric");
    let (mut good, mut bad, mut peak) = (1_u64, 0, Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| load_over_http(&server, &answers));
        scope.spawn(|| load_over_grpc(&server, &answers));
        let _done = Done(&answers.done);
        let reached = |version: u64| {
            eventually(&format!("version {version}"), || {
                answers.newest.load(Ordering::Acquire) == version
            });
        };
        for round in 1..=promotions {
            let failures = || {
                server
                    .metric("ortus_model_load_failures_total{model=\"m\"}")
                    .unwrap_or(0.0)
            };
            let refused = failures();
            if round % 10 == 0 {
                let bytes = graphs::marked(-(round as f32), table);
                let unseen = ["--no-probe", "--allow-signature-change"];
                let version = match bad % BAD.len() {
                    0 => {
                        let version = push(bytes, &[]);
                        damage(&registry, &version);
                        version
                    }
                    1 => push(graphs::hungry((1 << 20) + round as i64), &unseen),
                    2 => push(graphs::hungry(9_000 + round as i64), &unseen),
                    3 => push_by(&eve, bytes, &[]),
                    _ => push(bytes, &["--no-probe", "--golden", &wrong]),
                };
                registry.does(&["promote", "m", &version, "--allow-signature-change"]);
                eventually("the refusal", || failures() > refused);
                registry.does(&["rollback", "m"]);
                bad += 1;
            } else if round % 7 == 0 && good > 1 {
                // Back and forth between two good ones.
                registry.does(&["rollback", "m"]);
                let back = champion(&registry);
                reached(back);
                registry.does(&["promote", "m", &good.to_string()]);
                reached(good);
            } else {
                let next = 1 + serde_json::from_str::<serde_json::Value>(
                    &registry.does(&["show", "m", "--json"]),
                )
                .expect("JSON")["versions"]
                    .as_array()
                    .expect("versions")
                    .len() as u64;
                push(
                    graphs::marked(next as f32, table),
                    &["--alias", "champion", "--allow-signature-change"],
                );
                good = next;
                reached(good);
            }
            peak.push(
                server
                    .metric("process_resident_memory_bytes")
                    .expect("a metric"),
            );
        }
    });
    let count = answers.count.load(Ordering::Relaxed);
    assert!(
        count > 10 * promotions as u64,
        "{count} answers are too few to have been under load"
    );
    eventually("memory is given back", || {
        server
            .metric("process_resident_memory_bytes")
            .is_some_and(|now| now - before <= f64::from(32 << 20))
    });
    let now = server
        .metric("process_resident_memory_bytes")
        .expect("a metric");
    println!(
        "{promotions} rounds, {bad} of them bad (in turn: {}), {count} answers, 0 lost, 0 wrong (fewer than {:.0e} at 95 %); \
         memory {:.1} MB before, {:.1} MB at the end, {:.1} MB at most, model {:.1} MB",
        BAD.join(", "),
        3.0 / count as f64,
        before / 1e6,
        now / 1e6,
        peak.iter().fold(0.0, |a: f64, b| a.max(*b)) / 1e6,
        table as f64 * 4.0 / 1e6
    );
}

struct Done<'d>(&'d AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Flips a bit of a version's model in the store; returns its digest.
fn damage(registry: &Registry, version: &str) -> String {
    let target = format!("m:{version}");
    let shown: serde_json::Value =
        serde_json::from_str(&registry.does(&["show", &target, "--json"])).expect("JSON");
    let all = shown["manifest"]["files"].as_array().expect("files");
    let model = all
        .iter()
        .find(|f| f["path"] == "model.onnx")
        .expect("a model");
    let digest = model["digest"].as_str().expect("a digest")["sha256:".len()..].to_owned();
    let blob = registry
        .store()
        .join("ns/default/blobs/sha256")
        .join(&digest[..2])
        .join(&digest);
    let mut bytes = std::fs::read(&blob).expect("a blob");
    bytes[100] ^= 1;
    std::fs::write(&blob, &bytes).expect("damaged");
    digest
}

fn load_over_http(server: &Server, answers: &Answers) {
    let body = br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[0]}]}"#;
    while !answers.done.load(Ordering::Acquire) {
        let answer = http(&server.http, "POST", "/v2/models/m/infer", &[], body);
        assert_eq!(answer.status, 200, "lost over HTTP: {}", answer.text());
        let mark = answer.json()["outputs"][0]["data"][0]
            .as_f64()
            .expect("a number");
        answers.take(&answer.headers["ortus-model-version"], mark as f32);
    }
}

/// The version that serves each key, sent as a parameter over gRPC.
fn grpc_versions(server: &Server, keys: &[String]) -> Vec<String> {
    use inference::infer_parameter::ParameterChoice;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut client = server.grpc().await;
        let mut versions = Vec::new();
        for key in keys {
            let mut request = mark_request();
            let choice = Some(ParameterChoice::StringParam(key.clone()));
            request.parameters.insert(
                "route_key".to_owned(),
                inference::InferParameter {
                    parameter_choice: choice,
                },
            );
            versions.push(
                client
                    .model_infer(request)
                    .await
                    .expect("answers")
                    .into_inner()
                    .model_version,
            );
        }
        versions
    })
}

/// Asks for the first number of the model's table.
fn mark_request() -> inference::ModelInferRequest {
    inference::ModelInferRequest {
        model_name: "m".to_owned(),
        inputs: vec![inference::model_infer_request::InferInputTensor {
            name: "x".to_owned(),
            datatype: "INT64".to_owned(),
            shape: vec![1],
            ..Default::default()
        }],
        raw_input_contents: vec![0_i64.to_le_bytes().to_vec().into()],
        ..Default::default()
    }
}

fn load_over_grpc(server: &Server, answers: &Answers) {
    let request = mark_request();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut client = server.grpc().await;
        while !answers.done.load(Ordering::Acquire) {
            let answer = client
                .model_infer(request.clone())
                .await
                .expect("lost over gRPC")
                .into_inner();
            let mark: [u8; 4] = answer.raw_output_contents[0][..]
                .try_into()
                .expect("one number");
            answers.take(&answer.model_version, f32::from_le_bytes(mark));
        }
    });
}
