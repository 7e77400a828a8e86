//! Tests of `page`.

use super::*;
use crate::explanation::summary::{Swarm, SwarmDot, SwarmFeature};
use serde_json::json;

/// A summary of one row of one feature.
fn contributions(name: &str) -> ContributionSummary {
    let feature = SwarmFeature {
        name: name.to_owned(),
        mean: 0.5,
        dots: vec![SwarmDot {
            contribution: 0.5,
            rank: Some(1.0),
        }],
    };
    ContributionSummary {
        means: vec![(name.to_owned(), 0.5)],
        swarms: vec![Swarm {
            class: None,
            scale: "log odds".to_owned(),
            features: vec![feature],
        }],
        rows: 1,
    }
}

#[test]
fn a_page_shows_the_run_and_holds_no_script() {
    let evil = "<script>alert(1)</script>";
    let record = json!({
        "model": "m", "run": "sha256:ab", "verdict": "fail", "metrics": {"auc": 0.5}, "champion_metrics": {"auc": 0.75},
        "gates": [{"name": "bound", "verdict": "fail", "reason": evil}],
        "importances": [[evil, 0.75], ["b", 0.25]], "notes": [evil],
    });

    let figure = Figure {
        title: evil.to_owned(),
        lines: vec![PlotSeries {
            name: evil.to_owned(),
            is_joined: true,
            points: vec![(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)],
        }],
        ends: ("0".to_owned(), evil.to_owned()),
    };

    let part = SliceDifference {
        name: evil.to_owned(),
        rows: 10,
        worse: (-0.1, 0.0, 0.2),
    };

    let page = render(&Run {
        record: serde_json::from_value(record).expect("a record"),
        figures: vec![figure],
        errors: vec![(evil.to_owned(), 1.0)],
        parts: vec![part],
        contributions: Some(contributions(evil)),
    });

    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    assert!(
        page.contains("A gate failed")
            && page.contains("0.75")
            && page.matches("<svg").count() == 5
            && page.contains("Contributions to the log odds")
            && page.contains("<path"),
        "{page}"
    );
}

#[test]
fn a_page_says_how_the_rows_differ_and_that_a_person_decides() {
    let record = json!({
        "model": "m", "verdict": "pass", "parent": 3, "held": "held for a person: income",
        "rows_changed": [{"is_suspect": true, "text": "income is 1,000 times what it was"}],
    });
    let run = |record: serde_json::Value| {
        render(&Run {
            record: serde_json::from_value(record).expect("a record"),
            ..Run::default()
        })
    };
    let page = run(record);
    for part in [
        "All gates passed, but the rows may be wrong",
        "Rows against those of version 3",
        "held for a person: income",
        "income is 1,000 times what it was, which looks like a fault",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = run(json!({"model": "m", "verdict": "pass", "rows_changed": []}));
    assert!(page.contains("All gates passed.") && !page.contains("Rows against"));
}
