//! What settings calls accept.

use super::*;
use crate::observe::traces::Sampling;
use prometheus::IntCounter;
use serde_json::json;

fn switches() -> LogSwitches {
    LogSwitches {
        errors: true,
        warnings: true,
        infos: false,
        detail: 0,
    }
}

fn log_changes(json: serde_json::Value) -> Result<LogSwitches> {
    let serde_json::Value::Object(members) = json else {
        panic!("an object")
    };
    let mut switches = switches();
    for (name, value) in log_of_json(members)? {
        set_log(&mut switches, "ISO8601", &name, value)?;
    }
    Ok(switches)
}

#[test]
fn settings_of_the_log_are_read_and_checked() {
    let changed = json!({"log_info": true, "log_error": false, "log_verbose_level": 2,
                         "log_file": "", "log_format": "ISO8601"});
    let expected = LogSwitches {
        errors: false,
        infos: true,
        detail: 2,
        ..switches()
    };
    assert_eq!(log_changes(changed).expect("legal"), expected);
    for (wrong, needle) in [
        (
            json!({"log_file": "/tmp/log"}),
            "'log_file' cannot be changed",
        ),
        (
            json!({"log_format": "default"}),
            "'log_format' cannot be changed",
        ),
        (json!({"log_info": 1}), "'log_info' must be true or false"),
        (
            json!({"log_verbose_level": true}),
            "'log_verbose_level' must be an integer",
        ),
        (
            json!({"log_verbose_level": -1}),
            "'log_verbose_level' must be an integer",
        ),
        (json!({"log_warning": null}), "'log_warning' must be"),
        (json!({"log_infos": true}), "'log_infos' is unknown"),
    ] {
        let error = log_changes(wrong.clone()).expect_err("wrong").message;
        assert!(error.contains(needle), "{wrong}: {error}");
    }
}

fn tracer() -> Tracer {
    let dropped = IntCounter::new("dropped", "Dropped.").expect("a counter");
    Tracer::new(0.01, dropped).0
}

fn trace_changes(tracer: &Tracer, json: serde_json::Value) -> Result<Sampling> {
    let serde_json::Value::Object(members) = json else {
        panic!("an object")
    };
    change(tracer, &trace_of_json(members)?)?;
    Ok(tracer.sampling())
}

#[test]
fn settings_of_traces_are_read_checked_and_put_back() {
    let tracer = tracer();
    let changed = json!({"trace_level": ["OFF"], "trace_rate": "4", "trace_count": 3,
                         "trace_file": "", "log_frequency": "0", "trace_mode": "opentelemetry"});
    let expected = Sampling {
        is_on: false,
        share: 0.25,
        left: Some(3),
    };
    assert_eq!(trace_changes(&tracer, changed).expect("legal"), expected);
    let back = json!({"trace_level": null, "trace_rate": [], "trace_count": "-1"});
    assert_eq!(
        trace_changes(&tracer, back).expect("legal"),
        tracer.configured()
    );

    for (wrong, needle) in [
        (
            json!({"trace_level": ["TENSORS"]}),
            "'trace_level' must be OFF or TIMESTAMPS",
        ),
        (json!({"trace_rate": "0"}), "'trace_rate' must be"),
        (
            json!({"trace_rate": ["1", "2"]}),
            "'trace_rate' must be one integer",
        ),
        (json!({"trace_count": "-2"}), "'trace_count' must be"),
        (
            json!({"trace_file": "/tmp/t"}),
            "'trace_file' cannot be changed",
        ),
        (
            json!({"trace_mode": "triton"}),
            "'trace_mode' cannot be changed",
        ),
        (json!({"trace_level": [{}]}), "'trace_level' must be"),
        (json!({"other": "1"}), "'other' is unknown"),
    ] {
        // Nothing is changed, also of what stands before.
        let mut members = json!({"trace_count": "9"});
        members
            .as_object_mut()
            .expect("one")
            .extend(wrong.as_object().expect("one").clone());
        let error = trace_changes(&tracer, members).expect_err("wrong").message;
        assert!(error.contains(needle), "{wrong}: {error}");
        assert_eq!(tracer.sampling(), tracer.configured(), "{wrong}");
    }
    assert_eq!(
        (rate(0.01), rate(1.0), rate(0.0), rate(1e-30)),
        (100, 1, 0, 1_000_000_000)
    );
}
