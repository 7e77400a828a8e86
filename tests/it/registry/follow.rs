//! A server that follows a registry: champions, aliases, restarts, and logs that are
//! damaged, rolled back or of a newer format.

use crate::support::registry::{Done, Registry, ask, copy, damage, serves};
use crate::support::{eventually, http};
use std::sync::atomic::{AtomicBool, Ordering};

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
    // Without an alias no version is loaded.
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
        // No server is notified, so that one poll sees both changes.
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
fn a_log_of_a_newer_format_is_refused_by_name_and_serving_goes_on() {
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
fn the_fleet_lists_its_servers_and_commands_notify_them() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1"]);
    // The server does not poll within this test.
    let server = registry.serve(&["--set", "registry.poll=1h"]);
    let fleet = || {
        let said: serde_json::Value =
            serde_json::from_str(&registry.does(&["fleet", "--json"])).expect("JSON");
        (
            said["newest"].as_u64(),
            said["servers"].as_array().expect("servers").clone(),
        )
    };
    // The server learns its own address last; a notification makes it poll and report.
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
    server.terminate();
    assert_eq!(
        (server.wait(), fleet().1.len()),
        (Some(0), 0),
        "who stops takes leave"
    );
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
    // An empty folder is a log that was rolled back.
    std::fs::create_dir(registry.store()).expect("made");
    let server = registry.serve(&[]);
    assert!(serves(&server, "1", 1.0));
    assert_eq!(server.metric("ortus_registry_refused"), Some(1.0));
    assert!(
        server.log().contains("forked or rolled back"),
        "{}",
        server.log()
    );
    // Meanwhile the server has written its records there.
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
    // In one step, because the server goes on writing to the store.
    std::fs::rename(registry.store(), registry.0.path().join("lost")).expect("moved");
    copy(&old, &registry.store());
    eventually("the rollback is seen", || {
        server.metric("ortus_registry_refused") == Some(1.0)
    });
    // The old copy is changed further: it has other entries of the same numbers, and more.
    for mark in [3.0, 4.0] {
        let version = registry.push("m", mark);
        registry.does(&["promote", "m", &version]);
    }
    eventually("the fork is told", || {
        server
            .log()
            .contains("differs from the one that was applied")
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
