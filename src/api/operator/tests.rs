//! Tests of `operator`.

use super::*;

fn check(host: &'static str, header: bool, admitted: bool) {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, http::HeaderValue::from_static(host));
    if header {
        headers.insert(OPERATOR_HEADER, http::HeaderValue::from_static("1"));
    }
    assert_eq!(
        check_origin(&headers, &http::Uri::from_static("/")).is_ok(),
        admitted,
        "{host}"
    );
}

#[test]
fn requests_from_a_foreign_web_page_are_refused() {
    check("localhost:8003", true, true);
    check("127.0.0.1:8003", true, true);
    check("[::1]:8003", true, true);
    check("localhost:8003", false, false);
    check("evil.example:8003", true, false);
    check("127.0.0.1.evil.example", true, false);
}
