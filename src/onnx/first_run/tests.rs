//! A verdict counts only if the child process exited normally.

use super::*;
use std::process::ExitStatus;

#[test]
fn a_verdict_is_accepted_only_from_a_child_that_exited_normally() {
    let passed = br#"{"Passed":{"measured":{"load_ms":1.0,"one_row_us":2.0,"largest_us":3.0,"rss_bytes":4,"joins":true}}}"#;
    let check = |status: Option<i32>, text: &[u8]| {
        let answer = ChildAnswer {
            status: status.map(ExitStatus::from_raw),
            output: text.to_vec(),
        };
        judge(&answer, Duration::from_secs(3))
            .map(|p| p.measured.batchable)
            .map_err(|e| e.message)
    };

    let refused = |status: Option<i32>, text: &[u8], why: &str| {
        assert!(check(status, text).is_err_and(|e| e.contains(why)), "{why}");
    };

    assert_eq!(check(Some(0), passed), Ok(true));
    assert_eq!(check(Some(0), br#"{"Refused":"no"}"#), Err("no".to_owned()));
    refused(Some(1 << 8), passed, "without a verdict");
    refused(Some(0), b"", "without a verdict");
    refused(
        Some(Signal::SEGV.as_raw()),
        passed,
        "crashed with signal 11",
    );

    refused(Some(Signal::XCPU.as_raw()), b"", "used up its time");
    refused(None, passed, "took over 3s");
}
