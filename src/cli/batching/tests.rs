//! Tests of `batching`.

use super::*;

#[test]
fn the_operators_page_equals_the_generated_text() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operators.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == markdown(),
        "docs/operators.md is stale; run `ortus batching reference > docs/operators.md`"
    );
}
