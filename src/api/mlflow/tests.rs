//! Content types of `/invocations`.

use super::*;

#[test]
fn csv_is_known_by_its_content_type_in_any_case() {
    let is_csv_type = |kind: &str| {
        let kind = header::HeaderValue::from_str(kind).expect("a header");
        is_csv(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]))
    };
    for kind in [
        "text/csv",
        "TEXT/CSV",
        "text/csv; charset=utf-8",
        "Text/Csv ;x",
    ] {
        assert!(is_csv_type(kind), "{kind}");
    }
    for kind in ["text/csvx", "application/json", "text/plain; text/csv", ""] {
        assert!(!is_csv_type(kind), "{kind}");
    }
    assert!(!is_csv(&HeaderMap::new()));
}
