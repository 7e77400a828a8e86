//! Tests of `metrics`.

use super::*;

#[test]
fn the_metrics_page_equals_the_generated_text() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page == markdown(&Metrics::new().unwrap().families()),
        "docs/metrics.md is stale; run `ortus metrics reference > docs/metrics.md`"
    );
}
