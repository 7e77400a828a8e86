//! Which JSON numbers and nestings are valid elements, and that written elements
//! read back to the same bits.

use super::*;
use proptest::prelude::*;

fn read(text: &str, dtype: DType) -> Result<Tensor> {
    let rules = ElementRules {
        dtype,
        depth_max: JSON_DEPTH_MAX,
        base64: true,
    };

    let elements = Elements::of(Json::parse(text.as_bytes())?, rules)?;
    let shape = elements.shape();
    elements.into_tensor(shape)
}

/// Compares the shape and the elements, written flat, or a part of the error.
fn check(dtype: DType, text: &str, expected: &str) {
    match read(text, dtype) {
        Ok(tensor) => {
            let mut out = format!("{:?} ", tensor.shape()).into_bytes();
            write_elements(&mut out, &tensor, false);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
        Err(error) => {
            assert!(
                error.message.contains(expected),
                "{text}: {error} does not say {expected:?}"
            );
            assert!(error.message.len() < 256, "{error}");
        }
    }
}

#[test]
fn numbers_must_be_of_their_datatype() {
    check(DType::I32, "[1, -2]", "[2] [1,-2]");
    check(DType::I32, "7", "[] [7]");
    check(
        DType::I32,
        "1.5",
        "element 0 is 1.5, which is not a valid INT32",
    );
    check(DType::I32, "[1, 1.0]", "element 1 is 1.0");
    check(DType::I32, "\"1\"", "not a valid INT32");
    check(DType::I32, "null", "not a valid INT32");
    check(DType::I32, "{}", "not a valid INT32");
    check(DType::I32, "true", "not a valid INT32");
    check(DType::U8, "255", "[] [255]");
    check(DType::U8, "300", "element 0 is 300");
    check(DType::U8, "-1", "not a valid UINT8");
    check(DType::I8, "-129", "not a valid INT8");
    check(
        DType::U64,
        "18446744073709551615",
        "[] [18446744073709551615]",
    );

    check(DType::U64, "18446744073709551616", "not a valid UINT64");
    check(
        DType::I64,
        "-9223372036854775808",
        "[] [-9223372036854775808]",
    );

    check(
        DType::F32,
        "[1, 2.5, 1e3, -0.0]",
        "[4] [1.0,2.5,1000.0,-0.0]",
    );

    check(DType::F32, "1e39", "not a valid FP32");
    check(DType::F32, "1e400", "not a valid FP32");
    check(DType::F64, "1e400", "not a valid FP64");
    check(DType::F32, "\"NaN\"", "not a valid FP32");
    check(DType::F32, "[NaN]", "NaN and Infinity are not JSON");
    check(DType::F32, "[-Infinity]", "NaN and Infinity are not JSON");
    check(DType::F32, "[Infinity]", "NaN and Infinity are not JSON");
    check(DType::Bool, "[true,false]", "[2] [true,false]");
    check(DType::Bool, "1", "not a valid BOOL");
    check(DType::F16, "1", "FP16 has no JSON form");
    check(DType::BF16, "1", "binary tensor data");
}

#[test]
fn strings_and_base64_are_strings() {
    check(DType::String, r#"["a","\u00fc\n"]"#, r#"[2] ["a","ü\n"]"#);
    check(DType::String, r#"{"b64":"aGk="}"#, r#"[] ["hi"]"#);
    check(DType::String, r#"{"b64":"aGk"}"#, "not standard base64");
    check(DType::String, r#"{"b64":"%%"}"#, "not standard base64");
    check(DType::String, r#"{"b64":1}"#, "b64 must be a JSON string");
    check(
        DType::String,
        r#"{"b64":"","x":1}"#,
        "must be {\"b64\": text}",
    );

    check(DType::String, r#"{"b64":"","b64":""}"#, "twice");
    check(DType::String, r#""\ud800""#, "broken \\u escape");
    check(DType::String, r#""\u0000""#, "NUL");
    check(DType::String, "1", "not a valid BYTES");
    check(
        DType::String,
        r#"["],[","\\","\""]"#,
        r#"[3] ["],[","\\","\""]"#,
    );
}

#[test]
fn nesting_is_the_shape_and_may_not_be_ragged() {
    check(
        DType::I8,
        " [ [1 ,2] , [3,4],[5,6] ] ",
        "[3, 2] [1,2,3,4,5,6]",
    );

    check(DType::I8, "[]", "[0] []");
    check(DType::I8, "[[],[]]", "[2, 0] []");
    check(
        DType::I8,
        "[[1],[2,3]]",
        "arrays at depth 1 have 1 and 2 members",
    );

    check(DType::I8, "[1,[2]]", "ragged: found an array");
    check(DType::I8, "[[1],2]", "ragged: found an element");
    check(DType::I8, "[[],1]", "ragged: found an element");
    check(DType::I8, "[[],[[]]]", "ragged");
    let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(JSON_DEPTH_MAX), DType::I8).is_ok());
    check(
        DType::I8,
        &nested(JSON_DEPTH_MAX + 1),
        "nested deeper than 64",
    );

    check(DType::I8, &nested(250_000), "nested deeper than 64");
    check(DType::I8, &"[".repeat(250_000), "not valid JSON");
}

#[test]
fn malformed_json_is_refused_and_not_echoed() {
    for text in [
        "",
        "  ",
        "[1] x",
        "[1,]",
        "[01]",
        "[1",
        "{\"a\"}",
        "\u{feff}[1]",
        "[1]]",
    ] {
        assert!(read(text, DType::I8).is_err(), "{text}");
    }

    assert!(Json::parse(b"\"\xff\"").is_err());
    let long = format!("\"{}\"", "x".repeat(10_000));
    check(DType::I8, &long, "not a valid INT8");
}

#[test]
fn a_key_given_twice_is_refused_and_null_is_absent() {
    let fields = |text: &'static str| {
        Json::parse(text.as_bytes())
            .unwrap()
            .fields("it", ["a", "b"])
    };

    assert_eq!(
        fields(r#"{"a":null,"x":[{"a":1}],"b" : 2}"#)
            .unwrap()
            .map(|v| v.map(Json::text)),
        [None, Some("2")]
    );

    assert!(
        fields(r#"{"a":1,"\u0061":2}"#)
            .unwrap_err()
            .message
            .contains("'a' twice")
    );

    assert!(
        fields("[1]")
            .unwrap_err()
            .message
            .contains("must be a JSON object")
    );
}

#[test]
fn non_finite_floats_are_tokens_and_nesting_follows_the_shape() {
    let tensor = Tensor::from_f32(
        vec![2, 2],
        &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.1],
    )
    .unwrap();

    let mut out = Vec::new();
    write_elements(&mut out, &tensor, true);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "[[NaN,Infinity],[-Infinity,0.1]]"
    );
}

/// Writes and reads back.
fn rounds(tensor: &Tensor) {
    let mut out = Vec::new();
    write_elements(&mut out, tensor, true);
    let again = read(std::str::from_utf8(&out).unwrap(), tensor.dtype()).unwrap();
    // Equal strings may be at different places in their buffers.
    assert_eq!(
        (again.shape(), again.to_raw()),
        (tensor.shape(), tensor.to_raw())
    );
}

proptest! {
    #[test]
    fn numbers_read_back_bit_for_bit(bytes in proptest::collection::vec(any::<u8>(), 8..256)) {
        for dtype in DType::ALL {
            let Some(width) = dtype.element_bytes().filter(|_| !matches!(dtype, DType::F16 | DType::BF16)) else { continue };
            let mut raw: Vec<u8> = bytes[..bytes.len() / 8 * 8].to_vec();
            match dtype {
                DType::Bool => raw.iter_mut().for_each(|b| *b &= 1),
                DType::F32 => raw.chunks_exact_mut(4).filter(|c| !f32::from_le_bytes(fixed_bytes(c)).is_finite()).for_each(|c| c.fill(0)),
                DType::F64 => raw.chunks_exact_mut(8).filter(|c| !f64::from_le_bytes(fixed_bytes(c)).is_finite()).for_each(|c| c.fill(0)),
                _ => {}
            }
            rounds(&Tensor::fixed(dtype, vec![raw.len() / 8, 8 / width], raw.into()).unwrap());
        }
    }

    #[test]
    fn strings_read_back_byte_for_byte(strings in proptest::collection::vec("[^\0]{0,12}", 1..20)) {
        rounds(&Tensor::strings(vec![strings.len()], Strings::from_parts(&strings).unwrap()).unwrap());
    }

    #[test]
    fn arbitrary_json_never_panics(text in r#"[\[\]{},:"\\a1.eE \-]{0,40}"#) {
        for dtype in DType::ALL {
            let _ = read(&text, dtype);
        }
    }
}
