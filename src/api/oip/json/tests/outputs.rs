//! What a request says of its outputs.

use super::*;

#[test]
fn outputs_say_whether_they_are_binary() {
    let with = |outputs: &str| {
        infer(&format!(r#"{{"inputs":[],"outputs":{outputs}}}"#), b"").map(|r| r.outputs)
    };
    let read = with(r#"[{"name":"a"},{"name":"b","parameters":{"binary_data":false}}]"#).unwrap();
    assert_eq!(read, [("a".into(), None), ("b".into(), Some(false))]);
    let placed =
        r#"[{"name":"a","parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}}]"#;
    assert_eq!(with(placed).unwrap_err().kind, Kind::Unimplemented);
    let unsized_part = r#"[{"name":"a","parameters":{"shared_memory_region":"r"}}]"#;
    assert!(
        with(unsized_part)
            .unwrap_err()
            .message
            .contains("shared_memory_byte_size")
    );
    for bad in ["-1", "1.5", "\"3\""] {
        let outputs = format!(r#"[{{"name":"a","parameters":{{"classification":{bad}}}}}]"#);
        assert_eq!(
            with(&outputs).unwrap_err().kind,
            Kind::InvalidArgument,
            "{bad}"
        );
    }
    assert!(
        with(r#"[{"name":"a","parameters":{"binary_data":1}}]"#)
            .unwrap_err()
            .message
            .contains("output 'a'")
    );

    assert!(
        with(&format!(
            "[{}]",
            vec!["{\"name\":\"a\"}"; OUTPUTS_MAX].join(",")
        ))
        .is_ok()
    );

    assert!(
        with(&format!("[{}]", vec!["{}"; OUTPUTS_MAX + 1].join(",")))
            .unwrap_err()
            .message
            .contains("257")
    );
}
