//! The settings of a `config.pbtxt`, and the errors.

use super::syntax::{FieldValue, parse};
use super::*;

fn read(text: &str) -> Result<ModelConfig> {
    ModelConfig::read(&ModelName::parse("digits").expect("legal"), text)
}

#[track_caller]
fn accept(text: &str) -> ModelConfig {
    read(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[track_caller]
fn refuse(text: &str, needle: &str) {
    let message = read(text).expect_err(text).message;
    assert!(
        message.starts_with("config.pbtxt: ") && message.contains(needle),
        "{text}: {message}"
    );
}

#[test]
fn a_full_config_pbtxt_is_read() {
    let config = accept(
        r#"# A comment.
        name: "digits" platform: "onnxruntime_onnx"; backend: 'onnxruntime'
        max_batch_size: 64
        input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 64 ] format: FORMAT_NONE } ]
        output { name: "y", data_type: TYPE_STRING, dims: 3 dims: 4 }
        output: < name: "z" data_type: TYPE_BF16 >
        dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 500 preserve_ordering: false }
        instance_group [ { count: 2 kind: KIND_CPU }, { name: "g" } ]
        instance_group { kind: KIND_GPU gpus: [ 0, 1 ] gpus: 1 }
        version_policy: { latest { num_versions: 2 } }
        default_model_filename: "net.onnx"
        model_warmup [ { name: "w" batch_size: 8 inputs { key: "x" value: { data_type: TYPE_FP32 dims: 64 zero_data: true } } } ]
        model_transaction_policy { decoupled: false }
        response_cache { enable: false }
        optimization { graph { level: 1 } } parameters { key: "k" value { string_value: "a" "b" } }
        metric_tags { key: "team" value: "x" }"#,
    );

    let tensor = |line, name: &str, dtype, dims: &[i64]| ConfigTensor {
        name: name.to_owned(),
        dtype,
        dims: dims.to_vec(),
        reshape: None,
        optional: false,
        label_file: None,
        labels: Vec::new(),
        line,
    };

    let expected = ModelConfig {
        batch_rows_max: Some(64),
        unbatched: false,
        batch_delay: Some(Duration::from_micros(500)),
        lanes: Some(3),
        gpu: true,
        gpus: vec![0, 1],
        version_policy: Some(VersionPolicy::Latest(2)),
        model_filename: Some("net.onnx".to_owned()),
        warmup_rows: vec![8],
        inputs: vec![tensor(4, "x", DType::F32, &[-1, 64])],
        outputs: vec![
            tensor(5, "y", DType::String, &[3, 4]),
            tensor(6, "z", DType::BF16, &[]),
        ],
        notices: config.notices.clone(),
        ..ModelConfig::default()
    };

    assert_eq!(config.notices.len(), 3, "{:?}", config.notices);
    assert_eq!(config, expected);
}

#[test]
fn fields_of_triton_that_change_no_answer_are_accepted() {
    let tensor = |fields: &str| format!("{{ name: \"x\" data_type: TYPE_FP32 {fields} }}");
    for format in ["FORMAT_NCHW", "FORMAT_NHWC"] {
        let format = tensor(&format!("dims: [3, 8, 8] format: {format}"));
        accept(&format!("input {format}"));
    }
    let same = tensor("dims: [1] reshape { shape: [1] }");
    assert_eq!(accept(&format!("output {same}")).outputs[0].dims, [1]);

    let labels = tensor("label_filename: \"labels.txt\"");
    let read = accept(&format!("output {labels}"));
    assert_eq!(read.outputs[0].label_file.as_deref(), Some("labels.txt"));
    let outside = labels.replace("labels.txt", "../labels.txt");
    refuse(
        &format!("output {outside}"),
        "'label_filename' must be a file name",
    );
    refuse(
        &format!("input {labels}"),
        "'label_filename' is not supported",
    );
    assert_eq!(
        accept("response_cache { enable: true }").notices,
        [NO_CACHE]
    );
    assert!(
        accept("response_cache { enable: false }")
            .notices
            .is_empty()
    );
    refuse("response_cache { size: 1 }", "'size' is not supported");
}

#[test]
fn a_reshape_has_the_elements_of_dims() {
    let output = |shapes: &str| format!("output {{ name: \"y\" data_type: TYPE_INT64 {shapes} }}");
    let read = |shapes: &str| accept(&output(shapes)).outputs[0].reshape.clone();
    assert_eq!(read("dims: [ 1 ] reshape { shape: [ ] }"), Some(vec![]));
    assert_eq!(
        read("dims: [ 2, 3 ] reshape { shape: [ 6 ] }"),
        Some(vec![6])
    );
    assert_eq!(read("dims: [ 6 ] reshape { shape: [ 6 ] }"), None);
    for wrong in [
        "dims: [ 2 ] reshape { shape: [ ] }",
        "dims: [ -1 ] reshape { shape: [ 1, -1 ] }",
    ] {
        refuse(&output(wrong), "as many elements as dims");
    }
}

#[test]
fn integers_in_other_bases_and_a_byte_order_mark_are_read() {
    let rows = |text: &str| accept(text).batch_rows_max;
    assert_eq!(rows("max_batch_size: 0x1F"), Some(31));
    assert_eq!(rows("max_batch_size: 010"), Some(8));
    assert_eq!(rows("\u{feff}max_batch_size: 4"), Some(4));
    assert_eq!(
        accept("input { name: \"x\" data_type: TYPE_FP32 dims: [-0x1, 0] }").inputs[0].dims,
        [-1, 0]
    );
    for wrong in ["08", "0x", "0x+1", "0xg", "1x"] {
        refuse(&format!("max_batch_size: {wrong}"), "must be an integer");
    }
}

#[test]
fn absent_fields_are_unset() {
    assert_eq!(accept(""), ModelConfig::default());
    assert!(accept("max_batch_size: 0").unbatched);
    assert_eq!(accept("dynamic_batching { }").batch_delay, None);
    assert_eq!(accept("instance_group { kind: KIND_GPU }").lanes, None);
}

#[test]
fn version_policies_are_read() {
    let check =
        |text: &str, policy| assert_eq!(accept(text).version_policy, Some(policy), "{text}");
    let versions = |list: &[u64]| {
        VersionPolicy::Specific(list.iter().filter_map(|n| Version::new(*n)).collect())
    };

    check("version_policy { all { } }", VersionPolicy::All);
    check("version_policy { latest { } }", VersionPolicy::Latest(1));
    check(
        "version_policy { specific { versions: [ 1, 3 ] } }",
        versions(&[1, 3]),
    );
    check(
        "version_policy { specific { versions: 1 versions: 3 } }",
        versions(&[1, 3]),
    );
    refuse("version_policy { }", "exactly one of");
    refuse("version_policy { all { } latest { } }", "exactly one of");
    refuse(
        "version_policy { latest { num_versions: 0 } }",
        "num_versions of 1 or more",
    );
    refuse(
        "version_policy { specific { } }",
        "must list at least one version",
    );
    refuse(
        "version_policy { specific { versions: 0 } }",
        "versions of 1 or more",
    );
    refuse(
        "version_policy { newest { } }",
        "field 'newest' is not supported",
    );
}

#[test]
fn a_setting_that_would_change_answers_is_refused_by_field_and_line() {
    for (fields, name) in [
        ("ensemble_scheduling { step [ ] }", "ensemble_scheduling"),
        ("sequence_batching { }", "sequence_batching"),
        ("batch_input [ { kind: BATCH_ITEM_SHAPE } ]", "batch_input"),
        ("batch_output [ ]", "batch_output"),
        (
            "model_operations { op_library_filename: \"/x.so\" }",
            "model_operations",
        ),
        ("model_transaction_policy { decoupled: true }", "decoupled"),
        (
            "cc_model_filenames { key: \"7.0\" value: \"x\" }",
            "cc_model_filenames",
        ),
        (
            "dynamic_batching { default_queue_policy { max_bytes: 1 } }",
            "max_bytes",
        ),
        (
            "input { name: \"x\" data_type: TYPE_FP32 is_shape_tensor: true }",
            "is_shape_tensor",
        ),
        (
            "input { name: \"x\" data_type: TYPE_FP32 allow_ragged_batch: true }",
            "allow_ragged_batch",
        ),
        ("instance_group { passive: true }", "passive"),
        (
            "model_warmup { inputs { key: \"x\" value { input_data_file: \"f\" } } }",
            "input_data_file",
        ),
    ] {
        refuse(
            &format!("\n# x\n{fields}"),
            &format!("line 3: field '{name}' is not supported"),
        );
    }
}

#[test]
fn policies_of_queues_and_threads_are_honoured_and_what_has_no_like_is_noted() {
    let config = accept(
        "dynamic_batching {
           preserve_ordering: true priority_levels: 3 default_priority_level: 2
           default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 2000 max_queue_size: 9 allow_timeout_override: true }
           priority_queue_policy { key: 1 value { max_queue_size: 5 } }
         }
         instance_group { count: 2 rate_limiter { resources { name: \"R\" count: 1 } } host_policy: \"p\" }
         parameters { key: \"intra_op_thread_count\" value { string_value: \"4\" } }
         parameters { key: \"execution_mode\" value { string_value: \"1\" } }
         optimization { graph { level: 1 } }
         metric_tags { key: \"team\" value: \"fraud\" }",
    );
    assert_eq!(config.queue_timeout, Some(Duration::from_millis(2)));
    assert_eq!(
        (config.queue_rows_max, config.lanes, config.intra_op_threads),
        (Some(9), Some(2), Some(4))
    );
    for noted in [
        "priority",
        "delayed",
        "rate_limiter",
        "parameters",
        "optimization",
        "metric_tags",
    ] {
        assert!(
            config.notices.iter().any(|notice| notice.contains(noted)),
            "{noted}: {:?}",
            config.notices
        );
    }
}

#[test]
fn wrong_values_are_refused() {
    refuse("name: \"wine\"", "line 1: field 'name' must be 'digits'");
    refuse("platform: \"tensorrt_plan\"", "field 'platform' must be");
    refuse("backend: \"python\"", "field 'backend' must be");
    refuse(
        "max_batch_size: -1",
        "must be an integer from 0 to 4294967295, got -1",
    );
    refuse(
        "max_batch_size: 4294967296",
        "must be an integer from 0 to 4294967295, got 4294967296",
    );
    refuse("max_batch_size: \"4\"", "must be an integer");
    refuse(
        "max_batch_size: 65537",
        "field 'max_batch_size' must be at most 65536",
    );
    refuse(
        "dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }",
        "must be at most 10000000",
    );
    refuse(
        "parameters { key: \"intra_op_thread_count\" value { string_value: \"-1\" } }",
        "a number of threads from 0 to 1024",
    );
    refuse(
        "dynamic_batching { default_queue_policy { timeout_action: LATER } }",
        "must be REJECT or DELAY",
    );
    refuse(
        "max_batch_size: 4\nmax_batch_size: 8",
        "line 2: field 'max_batch_size' is given twice",
    );
    refuse("name: digits", "must be a string");
    refuse("input { name: \"x\" }", "must have a name and a data_type");
    refuse(
        "input { name: \"x\" data_type: TYPE_COMPLEX }",
        "must be a datatype such as",
    );
    refuse(
        "input { name: \"x\" data_type: TYPE_FP32 dims: -2 }",
        "field 'dims'",
    );
    let twice =
        "input [ { name: \"x\" data_type: TYPE_FP32 }, { name: \"x\" data_type: TYPE_FP32 } ]";
    refuse(twice, "declares 'x' twice");
    refuse("instance_group { count: 0 }", "count from 1 to 1024");
    refuse("instance_group { count: 1025 }", "count from 1 to 1024");
    refuse(
        "instance_group [ { count: 1024 }, { count: 1 } ]",
        "at most 1024 instances",
    );
    assert_eq!(accept("instance_group { count: 1024 }").lanes, Some(1024));
    refuse("instance_group { kind: KIND_MODEL }", "must have the kind");
    refuse("instance_group { kind: KIND_CPU gpus: 0 }", "lists gpus");
    refuse(
        "max_batch_size: 4 model_warmup { batch_size: 5 }",
        "over max_batch_size",
    );
    for path in ["", "a/b.onnx", "..", "a\\\\b", ".hidden", "a\\nb"] {
        refuse(
            &format!("default_model_filename: \"{path}\""),
            "must be a file name",
        );
    }
}

#[test]
fn broken_syntax_is_refused_with_its_line() {
    refuse("name", "line 1: expected ':' or '{', found the end");
    refuse("name:", "expected a value, found the end");
    refuse("name: \"x", "a string is not closed");
    refuse("name: \"x\ny\"", "a string is not closed");
    refuse("name: \"\\q\"", "escape");
    refuse("\ninput {", "line 2: expected '}', found the end");
    refuse("input { >", "expected '}', found '>'");
    refuse("input [ 1 2 ]", "expected ',' or ']', found '2'");
    refuse("}", "expected a field, found '}'");
    refuse("\"x\"", "expected a field, found a string");
    refuse("näme: 1", "unexpected character 'ä'");
    refuse("@", "unexpected character '@'");
}

#[test]
fn nesting_and_size_are_limited() {
    let nested = |n: usize| parse(&format!("{}{}", "a { ".repeat(n), "}".repeat(n)));
    assert!(nested(syntax::DEPTH_MAX).is_ok());
    assert!(
        nested(syntax::DEPTH_MAX + 1)
            .expect_err("deep")
            .message
            .contains("nested deeper than 32")
    );

    assert!(parse(&" ".repeat(syntax::TEXT_BYTES_MAX)).is_ok());
    assert!(parse(&" ".repeat(syntax::TEXT_BYTES_MAX + 1)).is_err());
    let endless = parse(&format!("a: {}", "[".repeat(200_000))).expect_err("deep");
    assert!(endless.message.contains("nested deeper than 32"));
}

#[test]
fn truncated_texts_never_panic() {
    let text =
        "name: \"dig\\n\" 'x' # c\ninput [ { dims: [ -1, 0x10 ] }, < a: b > ] k { v: 1.5e3; }";
    for end in 0..text.len() {
        let _ = parse(&text[..end]);
    }

    let fields = parse(text).expect("sound");
    assert_eq!(fields[0].value, FieldValue::Str("dig\nx".to_owned()));
    assert_eq!((fields[1].line, fields.len()), (2, 3));
}

#[test]
fn json_says_the_same_as_the_text() {
    let name = ModelName::parse("digits").expect("legal");
    let json = r#"{
        "name": "digits", "platform": "onnxruntime_onnx", "backend": "onnxruntime", "maxBatchSize": "64",
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1", 64], "format": "FORMAT_NONE",
                   "optional": false, "is_shape_tensor": false, "allow_ragged_batch": false}],
        "dynamicBatching": {"preferredBatchSize": [4, 8], "max_queue_delay_microseconds": "500",
                            "priority_levels": 0, "priority_queue_policy": {}},
        "instance_group": [{"name": "g", "count": 2, "kind": "KIND_CPU", "gpus": [], "host_policy": ""}],
        "version_policy": {"specific": {"versions": ["3", 4]}},
        "model_warmup": [{"name": "w", "batch_size": 8,
                          "inputs": {"x": {"data_type": "TYPE_FP32", "dims": [64], "zero_data": true}}}],
        "cc_model_filenames": {}, "metric_tags": {}, "batch_input": [], "runtime": "",
        "parameters": {"k": {"string_value": "v"}}, "model_transaction_policy": {"decoupled": false}
    }"#;
    let text = r#"
        max_batch_size: 64
        input { name: "x" data_type: TYPE_FP32 dims: [ -1, 64 ] }
        dynamic_batching { max_queue_delay_microseconds: 500 }
        instance_group { count: 2 kind: KIND_CPU }
        version_policy { specific { versions: [ 3, 4 ] } }
        model_warmup { batch_size: 8 }"#;
    let json = json.replace(r#", "priority_queue_policy": {}"#, "");
    let read = ModelConfig::read_json(&name, &json).expect("legal");
    assert!(read.loads_like(&accept(text)), "{read:?}");
    assert_eq!(read.version_policy, accept(text).version_policy);

    let unbatched = ModelConfig::read_json(&name, r#"{"max_batch_size": 0}"#).expect("legal");
    assert!(unbatched.unbatched);
    let deep = format!("{}{}", r#"{"input":"#.repeat(60), "1") + &"}".repeat(60);
    for (text, needle) in [
        (deep.as_str(), "deeper"),
        (
            r#"{"sequence_batching": {}}"#,
            "'sequence_batching' is not supported",
        ),
        (r#"{"max_batch_size": 1.5}"#, "'max_batch_size' must be"),
        (r#"{"max_batch_size": true}"#, "'max_batch_size' must be"),
        (r#"{"max_batch_size": 1, "maxBatchSize": 2}"#, "twice"),
    ] {
        let error = ModelConfig::read_json(&name, text).expect_err(text).message;
        assert!(
            error.starts_with("load parameter 'config': ") && error.contains(needle),
            "{error}"
        );
    }
}
