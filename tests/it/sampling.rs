//! Which rows are counted in windows: the floor of every minute, the share that falls under load and
//! recovers, and the alert for a low share.

use crate::support::connection::Connection;
use crate::support::optional::or_not_run;
use crate::support::{Directory, Server, eventually_within, root};
use ortus::testing::graphs;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server of the model `m` whose monitor may use hardly any CPU time.
fn start(directory: &Directory, rows_min: u32) -> Server {
    directory.put("m", 1, &graphs::marked(2.0, 3));
    let rows_min = format!("monitor.rows_min_per_minute={rows_min}");
    let few = ["--set", "monitor.cpu_share=0.001", "--set", &rows_min];
    Server::start_with(directory.path(), &few)
}

/// Predicts rows; returns how many of them were counted.
fn counted(server: &Server, rows: u32) -> f64 {
    let mut connection = Connection::open(server);
    for _ in 0..rows {
        connection.predict();
    }
    let read = |name: &str| server.metric(name).unwrap_or(0.0);
    eventually_within(PATIENCE, "every answered row is in the metrics", || {
        read("ortus_monitor_rows_total{model=\"m\"") == f64::from(rows)
    });
    read("ortus_monitor_sampled_rows_total{model=\"m\"")
}

#[test]
fn the_floor_of_rows_is_counted_whatever_it_costs() {
    let directory = Directory::empty();
    let server = start(&directory, 3_000);
    let counted = counted(&server, 4_000);
    assert!(counted >= 3_000.0, "{counted}");
}

#[test]
fn the_share_falls_under_load_and_is_one_again_soon_after() {
    let directory = Directory::empty();
    let server = start(&directory, 0);
    let counted = counted(&server, 5_000);
    assert!(counted < 4_500.0, "{counted}");
    // Nothing but these looks happens meanwhile.
    eventually_within(Duration::from_secs(20), "the share recovers", || {
        server.metric("ortus_monitor_sample_ratio") == Some(1.0)
    });
}

#[test]
fn a_low_share_is_an_alert() {
    let found = Command::new("promtool").arg("--version").output();
    let found = found.map(drop).map_err(|e| format!("promtool: {e}"));
    if or_not_run("promtool", found).is_none() {
        return;
    }

    let rules = root().join("deploy/prometheus/ortus.rules.yml");
    let test = format!(
        r#"
rule_files: ["{}"]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {{series: 'ortus_monitor_rows_total{{model="low",version="1"}}', values: "0+1000x60"}}
  - {{series: 'ortus_monitor_sampled_rows_total{{model="low",version="1"}}', values: "0+20x60"}}
  - {{series: 'ortus_monitor_rows_total{{model="high",version="1"}}', values: "0+1000x60"}}
  - {{series: 'ortus_monitor_sampled_rows_total{{model="high",version="1"}}', values: "0+60x60"}}
  promql_expr_test:
  - expr: 'count by (model) (ALERTS{{alertname="OrtusMonitorSampling",alertstate="firing"}})'
    eval_time: 40m
    exp_samples: [{{labels: '{{model="low"}}', value: 1}}]
"#,
        rules.display()
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.yml");
    std::fs::write(&file, test).expect("written");
    let mut promtool = Command::new("promtool");
    let ran = promtool.args(["test", "rules"]).arg(&file).output();
    let ran = ran.expect("runs");
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&said));
}
