//! Tests of `reply`.

use super::*;

#[test]
fn gzip_is_accepted_unless_its_weight_is_zero() {
    for (value, expected) in [
        ("gzip", true),
        ("br, GZIP;q=0.5", true),
        ("gzip;q=0", false),
        ("identity", false),
        ("", false),
    ] {
        assert_eq!(accepts_gzip(value), expected, "{value}");
    }
}
