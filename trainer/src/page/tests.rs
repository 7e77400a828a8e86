//! Tests of `page`.

use super::*;
use serde_json::json;

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
    });

    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    assert!(
        page.contains("A gate failed")
            && page.contains("0.75")
            && page.matches("<svg").count() == 4,
        "{page}"
    );
}
