//! Tests of `logging`.

use super::*;
use tracing::Level;

#[track_caller]
fn check(level: &str, target: &str, loudest: Option<Level>) {
    let filter = filter(level).unwrap();
    let all = [
        Level::TRACE,
        Level::DEBUG,
        Level::INFO,
        Level::WARN,
        Level::ERROR,
    ];

    let found = all.into_iter().find(|at| filter.would_enable(target, at));
    assert_eq!(found, loudest, "{target} under {level}");
}

#[test]
fn a_level_applies_to_its_targets_and_limits_onnx_runtime_to_warnings() {
    check("info", "ortus::batch", Some(Level::INFO));
    check("info", "hyper", Some(Level::INFO));
    check("info", "ort", Some(Level::WARN));
    check("info", "ort::logging", Some(Level::WARN));
    check("error", "ort", Some(Level::ERROR));
    check("off", "ort", None);
    check("off", "ortus", None);
    check("debug,ort=trace", "ort::logging", Some(Level::TRACE));
    check("debug,ort=trace", "ortus::batch", Some(Level::DEBUG));
    check(
        "info,ortus::batch=debug",
        "ortus::batch",
        Some(Level::DEBUG),
    );

    check("info,ortus::batch=debug", "ortus::app", Some(Level::INFO));
    check("warn,ortus=trace", "ortus::app", Some(Level::TRACE));
}

#[test]
fn a_malformed_level_is_refused() {
    for level in [
        "",
        "inof",
        "info,",
        "ortus=loud",
        "=info",
        "ortus",
        "info,ort",
        "a=b=info",
    ] {
        let error = filter(level).expect_err(level);
        assert_eq!(
            error.kind,
            crate::core::error::Kind::InvalidArgument,
            "{level}"
        );
        assert!(error.message.contains("log level"), "{error}");
    }
}

#[test]
fn a_second_start_is_refused_without_a_panic() {
    // Another test of this process may have started it first.
    let _ = start("off", LogFormat::Json);
    let error = start("off", LogFormat::Text).expect_err("the second start");
    assert_eq!(error.message, "the log is already started");
}
