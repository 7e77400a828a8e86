//! The rules and dashboards name what there is, and all of it.

use super::*;
use crate::observe::metrics::Metrics;

/// The families and the labels that an expression names.
fn named(expr: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expr
        .split(|c: char| !is_name(c))
        .filter(|w| w.starts_with("ortus_"));
    let base = |word: &str| word.strip_suffix("_bucket").unwrap_or(word).to_owned();
    words.map(base).collect()
}

/// The labels in the braces and the `by (…)` of an expression.
fn labels(expr: &str) -> Vec<String> {
    let inner = |open: &str, close: char| {
        let parts = expr
            .split(open)
            .skip(1)
            .filter_map(move |rest| rest.split(close).next());
        parts
            .flat_map(|p| p.split(','))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };

    let braces = inner("{", '}')
        .into_iter()
        .map(|l| l.split(['=', '!']).next().unwrap_or_default().to_owned());
    let all = braces
        .chain(inner("by (", ')'))
        .map(|l| l.trim().to_owned());
    all.filter(|l| !l.is_empty() && l != "le").collect()
}

fn check(expr: &str, families: &[Family]) {
    let used = named(expr);
    assert!(!used.is_empty(), "{expr} names no family");
    let found: Vec<&Family> = used
        .iter()
        .map(|name| {
            families
                .iter()
                .find(|f| f.name == *name)
                .unwrap_or_else(|| panic!("{expr}: no family {name}"))
        })
        .collect();
    for label in labels(expr) {
        assert!(
            found.iter().any(|f| f.labels.contains(&label)),
            "{expr}: no family of it has the label {label}"
        );
    }
}

#[test]
fn alerting_rules_name_existing_metrics_and_labels() {
    let families = Metrics::new().expect("metrics").families();
    ALERTS.iter().for_each(|alert| check(alert.expr, &families));
    let result =
        std::panic::catch_unwind(|| check("ortus_drift_alarm{colour=\"red\"} > 0", &families));
    assert!(result.is_err(), "a label that there is not");
    assert!(std::panic::catch_unwind(|| check("ortus_nothing > 0", &families)).is_err());
}

#[test]
fn every_family_is_on_one_dashboard() {
    let families = Metrics::new().expect("metrics").families();
    let mut panels = Vec::new();
    for name in dashboards() {
        let whole: Value =
            serde_json::from_str(&dashboard(name, &families).expect("one")).expect("JSON");
        for panel in whole["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                check(target["expr"].as_str().expect("an expression"), &families);
            }
            panels.extend(panel["description"].as_str().map(str::to_owned));
        }
    }

    panels.sort();
    let all: Vec<String> = families.iter().map(|f| f.name.clone()).collect();
    assert_eq!(panels, all, "each family on one panel");
    assert!(dashboard("nothing", &families).is_none());
}

#[test]
fn the_files_in_deploy_equal_the_generated_ones() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let families = Metrics::new().expect("metrics").families();
    let check = |file: String, made: String| {
        let committed = std::fs::read_to_string(root.join(&file)).unwrap_or_default();
        assert!(
            committed == made,
            "deploy/{file} is not what `ortus metrics` prints; write it anew"
        );
    };

    check("prometheus/ortus.rules.yml".to_owned(), rules());
    for name in dashboards() {
        check(
            format!("grafana/{name}.json"),
            dashboard(name, &families).expect("one"),
        );
    }
}
