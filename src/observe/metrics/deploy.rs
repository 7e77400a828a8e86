//! Prometheus rules and Grafana dashboards, generated from the catalogue. `deploy/` holds their
//! text, and a test compares the two.

#[cfg(test)]
mod tests;

use super::catalogue::{Family, MetricKind};
use serde_json::{Value, json};
use std::fmt::Write;

/// An alerting rule.
struct Alert {
    name: &'static str,
    expr: &'static str,
    /// How long the expression must hold.
    hold: &'static str,
    severity: &'static str,
    summary: &'static str,
    what: &'static str,
}

/// Every rule. The thresholds are starting points; change them to suit your service.
const ALERTS: &[Alert] = &[
    Alert {
        name: "OrtusModelDrift",
        expr: "max by (model, version) (ortus_incidents) > 0 or max by (model, version) (ortus_fleet_drift_alarms) > 0",
        hold: "0m",
        severity: "warning",
        summary: "{{ $labels.model }}:{{ $labels.version }} has an incident: its inputs or answers are not as in the baseline",
        what: "Values are missing, out of range, unseen or distributed differently. `ortus drift {{ $labels.model }}` says what changed and what to do.",
    },
    Alert {
        name: "OrtusModelLosesMore",
        expr: "max by (model, version) (ortus_performance_alarm) > 0 or max by (model, version) (ortus_performance_part_alarms) > 0",
        hold: "0m",
        severity: "critical",
        summary: "{{ $labels.model }}:{{ $labels.version }} makes more wrong predictions than in its baseline",
        what: "The error share on labelled rows is higher than accepted, in all rows or in a part of them. See `ortus performance {{ $labels.model }}`.",
    },
    Alert {
        name: "OrtusErrors",
        expr: "sum by (model, version) (rate(ortus_requests_total{outcome=\"internal\"}[5m])) / sum by (model, version) (rate(ortus_requests_total[5m])) > 0.01",
        hold: "5m",
        severity: "critical",
        summary: "Over 1 % of the predictions of {{ $labels.model }}:{{ $labels.version }} fail",
        what: "The predictions fail in the server or in ONNX Runtime. The log has the cause.",
    },
    Alert {
        name: "OrtusOverload",
        expr: "sum by (protocol) (rate(ortus_rejected_total{reason=\"resource_exhausted\"}[5m])) + sum by (protocol) (rate(ortus_requests_total{outcome=\"resource_exhausted\"}[5m])) > 0",
        hold: "5m",
        severity: "warning",
        summary: "Requests over {{ $labels.protocol }} are refused because a limit is reached",
        what: "Add lanes or servers, or reduce the load. The section [limits] of the configuration lists the limits.",
    },
    Alert {
        name: "OrtusSlow",
        expr: "histogram_quantile(0.99, sum by (model, le) (rate(ortus_request_duration_seconds_bucket[5m]))) > 1",
        hold: "10m",
        severity: "warning",
        summary: "One prediction of {{ $labels.model }} in a hundred takes over a second",
        what: "Compare ortus_queue_duration_seconds with ortus_compute_duration_seconds to see whether requests wait or run.",
    },
    Alert {
        name: "OrtusLaneHangs",
        expr: "max by (model, version) (ortus_lanes_hung) > 0",
        hold: "1m",
        severity: "critical",
        summary: "A run of {{ $labels.model }}:{{ $labels.version }} does not end",
        what: "Hung lanes are replaced up to a limit; beyond it, the version is unavailable. The log names the lanes.",
    },
    Alert {
        name: "OrtusBatchDisagreement",
        expr: "max by (model, version) (ortus_batch_disagreements_total) > 0",
        hold: "0m",
        severity: "critical",
        summary: "A row of {{ $labels.model }}:{{ $labels.version }} got another answer in a batch than alone",
        what: "Rows of a batch influence each other. The server runs each request of this version alone from now on; earlier answers may be wrong. The log has the values. Set batching = \"off\" for the model.",
    },
    Alert {
        name: "OrtusModelNotReady",
        expr: "max by (model, version) (ortus_model_ready) == 0",
        hold: "5m",
        severity: "warning",
        summary: "{{ $labels.model }}:{{ $labels.version }} does not serve",
        what: "`ortus models` shows the reason.",
    },
    Alert {
        name: "OrtusLoadFails",
        expr: "increase(ortus_model_load_failures_total[15m]) > 0",
        hold: "0m",
        severity: "warning",
        summary: "A version of {{ $labels.model }} is refused at load",
        what: "Loaded versions keep serving. `ortus models` shows the reason.",
    },
    Alert {
        name: "OrtusRegistryRefused",
        expr: "ortus_registry_refused > 0",
        hold: "1m",
        severity: "critical",
        summary: "The registry log is refused: forked, rolled back, or dated in the future",
        what: "The server keeps serving the versions that it has. Run `ortus audit verify`.",
    },
    Alert {
        name: "OrtusRegistrySilent",
        expr: "ortus_registry_staleness_seconds > 300",
        hold: "0m",
        severity: "warning",
        summary: "The registry has not been readable for five minutes",
        what: "The server keeps serving the versions that it has, and does not see changes of the registry.",
    },
    Alert {
        name: "OrtusMonitorBlind",
        expr: "sum by (model) (rate(ortus_monitor_dropped_total[5m])) > 0",
        hold: "15m",
        severity: "info",
        summary: "Some requests of {{ $labels.model }} are not monitored",
        what: "The queue of the monitor is full: raise monitor.queue_bytes_max or monitor.cpu_share.",
    },
    Alert {
        name: "OrtusMonitorSampling",
        expr: "sum by (model, version) (rate(ortus_monitor_sampled_rows_total[10m])) / sum by (model, version) (rate(ortus_monitor_rows_total[10m])) < 0.05",
        hold: "15m",
        severity: "info",
        summary: "Less than a twentieth of the rows of {{ $labels.model }}:{{ $labels.version }} is counted for drift tests",
        what: "Counting all rows would take more CPU time than monitor.cpu_share allows. Small and short drifts are found later, or not at all. Raise monitor.rows_min_per_minute or monitor.cpu_share.",
    },
    Alert {
        name: "OrtusCaptureLoses",
        expr: "increase(ortus_capture_lost_rows_total[15m]) > 0 or sum(increase(ortus_capture_dropped_total{reason=\"full\"}[15m])) > 0",
        hold: "0m",
        severity: "warning",
        summary: "Captured predictions are lost",
        what: "The store is slow, full or unavailable. Serving is not affected.",
    },
];

/// Writes the rules as a file for Prometheus.
pub(crate) fn rules() -> String {
    // A JSON string is a YAML string too.
    let word = |text: &str| Value::String(text.to_owned()).to_string();
    let mut out =
        "# Generated by `ortus metrics rules`.\ngroups:\n- name: ortus\n  rules:\n".to_owned();
    for Alert {
        name,
        expr,
        hold,
        severity,
        summary,
        what,
    } in ALERTS
    {
        let (expr, summary, what) = (word(expr), word(summary), word(what));
        let _ = writeln!(
            out,
            "  - alert: {name}\n    expr: {expr}\n    for: {hold}\n    labels:\n      severity: {severity}\n    annotations:\n      summary: {summary}\n      description: {what}"
        );
    }

    out
}

/// A dashboard: its file, its title, and its rows of panels. A row shows the families whose names
/// start with one of its prefixes.
struct Dashboard {
    name: &'static str,
    title: &'static str,
    rows: &'static [(&'static str, &'static [&'static str])],
}

const DASHBOARDS: [Dashboard; 2] = [
    Dashboard {
        name: "serving",
        title: "Ortus: serving",
        rows: &[
            (
                "Requests",
                &[
                    "ortus_requests_",
                    "ortus_request_",
                    "ortus_rejected_",
                    "ortus_explanation_",
                ],
            ),
            (
                "Queue, batches, runs",
                &[
                    "ortus_queue_",
                    "ortus_batch_",
                    "ortus_padding_",
                    "ortus_compute_",
                    "ortus_runs_",
                    "ortus_lanes_",
                ],
            ),
            (
                "Models and versions",
                &["ortus_model_", "ortus_shadow_", "ortus_registry_"],
            ),
            (
                "Traffic",
                &[
                    "ortus_input_",
                    "ortus_output_",
                    "ortus_bytes_",
                    "ortus_connections",
                    "ortus_spans_",
                ],
            ),
        ],
    },
    Dashboard {
        name: "effectiveness",
        title: "Ortus: model performance and drift",
        rows: &[
            ("With labels", &["ortus_performance", "ortus_feedback_"]),
            ("Without labels", &["ortus_estimated_"]),
            ("Drift", &["ortus_incidents", "ortus_drift", "ortus_fleet_"]),
            ("Data quality", &["ortus_contract_"]),
            ("Monitoring", &["ortus_monitor_", "ortus_capture_"]),
        ],
    },
];

/// Returns the names of the dashboards.
pub(crate) fn dashboards() -> Vec<&'static str> {
    DASHBOARDS.iter().map(|d| d.name).collect()
}

/// Writes a dashboard for import into Grafana; none for another name.
pub(crate) fn dashboard(name: &str, families: &[Family]) -> Option<String> {
    let Dashboard { name, title, rows } = DASHBOARDS.iter().find(|d| d.name == name)?;
    let (mut panels, mut y) = (Vec::new(), 0);
    for (row, prefixes) in *rows {
        panels.push(json!({
            "type": "row", "title": row, "collapsed": false, "id": panels.len() + 1,
            "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []
        }));
        y += 1;
        let of_row: Vec<&Family> = families
            .iter()
            .filter(|f| prefixes.iter().any(|p| f.name.starts_with(p)))
            .collect();
        for (at, family) in of_row.iter().enumerate() {
            let place = json!({"x": at % 3 * 8, "y": y + at / 3 * 8, "w": 8, "h": 8});
            panels.push(panel(family, panels.len() + 1, &place));
        }
        y += of_row.len().div_ceil(3) * 8;
    }

    let filter = |name: &str| {
        json!({
            "name": name, "label": name, "type": "query", "multi": true, "includeAll": true, "refresh": 2, "sort": 1,
            "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "datasource": source(),
            "query": {"query": format!("label_values(ortus_model_ready, {name})"), "refId": name}
        })
    };

    let whole = json!({
        "uid": format!("ortus-{name}"), "title": title, "tags": ["ortus"], "editable": true, "schemaVersion": 39,
        "version": 1, "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "timezone": "utc",
        "templating": {"list": [
            {"name": "source", "label": "source", "type": "datasource", "query": "prometheus"},
            filter("model"), filter("version")
        ]},
        "panels": panels
    });

    let mut text = serde_json::to_string_pretty(&whole).expect("plain data is JSON");
    text.push('\n');
    Some(text)
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${source}"})
}

fn panel(family: &Family, id: usize, place: &Value) -> Value {
    let Family {
        name,
        kind,
        labels,
        help,
    } = family;

    let has = |label: &str| labels.iter().any(|l| l == label);
    let filters: Vec<String> = ["model", "version"]
        .iter()
        .filter(|l| has(l))
        .map(|l| format!("{l}=~\"${l}\""))
        .collect();
    let selected = format!("{{{}}}", filters.join(","));

    let by = labels.join(", ");
    let legend = labels
        .iter()
        .map(|l| format!("{{{{{l}}}}}"))
        .collect::<Vec<_>>()
        .join(" ");
    let queries: Vec<(String, String)> = match kind {
        MetricKind::Counter if by.is_empty() => vec![(
            format!("sum(rate({name}{selected}[$__rate_interval]))"),
            legend,
        )],
        MetricKind::Counter => vec![(
            format!("sum by ({by}) (rate({name}{selected}[$__rate_interval]))"),
            legend,
        )],
        MetricKind::Gauge if by.is_empty() => vec![(format!("max({name}{selected})"), legend)],
        MetricKind::Gauge => vec![(format!("max by ({by}) ({name}{selected})"), legend)],
        MetricKind::Histogram => [0.5, 0.9, 0.99]
            .map(|q| {
                let rate = format!("rate({name}_bucket{selected}[$__rate_interval])");
                (
                    format!("histogram_quantile({q}, sum by (model, le) ({rate}))"),
                    format!("{{{{model}}}} p{}", q * 100.0),
                )
            })
            .into(),
    };

    let unit = match name {
        n if n.ends_with("_seconds") => "s",
        n if n.ends_with("bytes_total") => "Bps",
        n if n.contains("bytes") => "bytes",
        n if n.ends_with("_ratio") => "percentunit",
        _ => "short",
    };

    let targets = queries.iter().zip('A'..).map(|((expr, legend), letter)| {
        json!({"refId": letter, "expr": expr, "legendFormat": legend, "datasource": source()})
    });
    json!({
        "type": "timeseries", "id": id, "title": help.trim_end_matches('.'), "description": name, "gridPos": place,
        "datasource": source(), "targets": targets.collect::<Vec<_>>(),
        "fieldConfig": {"defaults": {"unit": unit, "min": if *kind == MetricKind::Gauge { Value::Null } else { 0.into() }}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    })
}
