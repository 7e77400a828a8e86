//! Tests of `headers`.

use super::*;

fn check(header: &'static str, value: &'static str, expected: Option<u128>) {
    let mut headers = HeaderMap::new();
    headers.insert(header, http::HeaderValue::from_static(value));
    let now = Instant::now();
    let got = RequestHeaders::read(&headers)
        .deadline(now)
        .map(|d| d.map(|d| (d.0 - now).as_nanos()));
    assert_eq!(got.ok().flatten(), expected, "{header}: {value}");
}

#[test]
fn timeouts_are_read_in_every_unit_and_malformed_ones_are_refused() {
    check("grpc-timeout", "1S", Some(1_000_000_000));
    check("grpc-timeout", "20m", Some(20_000_000));
    check("grpc-timeout", "300000u", Some(300_000_000));
    check("grpc-timeout", "7n", Some(7));
    check("grpc-timeout", "1M", Some(60_000_000_000));
    check("grpc-timeout", "99999999H", Some(24 * 3600 * 1_000_000_000));
    for bad in ["", "S", "-1S", "1", "1s", "123456789S", "1.5S", " 1S"] {
        check("grpc-timeout", bad, None);
    }
    check(TIMEOUT_HEADER, "250", Some(250_000_000));
    for bad in ["0", "-1", "x", "", "9999999999999"] {
        check(TIMEOUT_HEADER, bad, None);
    }
    assert!(
        RequestHeaders::default()
            .deadline(Instant::now())
            .is_ok_and(|d| d.is_none())
    );
}

#[test]
fn a_number_of_contributions_is_read_and_others_are_refused() {
    let explain = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(EXPLAIN_HEADER, http::HeaderValue::from_static(value));
        RequestHeaders::read(&headers).explain()
    };
    for (value, expected) in [("1", 1), ("8", 8), ("256", 256)] {
        assert_eq!(explain(value).ok().flatten(), Some(expected), "{value}");
    }
    for bad in [
        "0",
        "257",
        "-1",
        "+8",
        "8.0",
        "all",
        "",
        "0008",
        "99999999999999999999",
    ] {
        let error = explain(bad).expect_err(bad);
        assert!(error.message.contains("1 to 256"), "{error}");
    }
    assert!(
        RequestHeaders::default()
            .explain()
            .is_ok_and(|e| e.is_none())
    );
}
