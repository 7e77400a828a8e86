//! Which JSON numbers and nestings are valid elements, and that written elements
//! read back to the same bits.

use super::document::{Json, read_body};
use super::elements::{ElementRules, Elements, JSON_DEPTH_MAX};
use super::*;
use crate::core::error::Result;
use crate::core::tensor::Strings;
use proptest::prelude::*;
use serde_json::value::RawValue;

fn read(text: &str, dtype: DType) -> Result<Tensor> {
    read_bytes(text.as_bytes(), dtype)
}

/// Reads a body twice: with its long arrays deferred, and checked as a whole before. Both must agree.
fn read_bytes(body: &[u8], dtype: DType) -> Result<Tensor> {
    let rules = ElementRules {
        dtype,
        depth_max: JSON_DEPTH_MAX,
        count: 0,
        base64: true,
    };
    let elements = |value: Json<'_>| {
        let elements = Elements::of(value, rules)?;
        let shape = elements.shape();
        elements.into_tensor(shape)
    };

    let read = read_body(body, elements);
    let checked = Json::parse(body).and_then(elements);
    match (&read, &checked) {
        (Ok(read), Ok(checked)) => assert_eq!(
            (read.shape(), read.to_raw()),
            (checked.shape(), checked.to_raw()),
        ),
        (Err(read), Err(checked)) => assert_eq!(read.message, checked.message),
        _ => panic!(
            "{}: {read:?}, but {checked:?}",
            String::from_utf8_lossy(body)
        ),
    }
    read
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
fn truth_is_a_number_and_null_a_missing_float_or_word() {
    check(DType::F32, "[true, 0.5, false]", "[3] [1.0,0.5,0.0]");
    check(DType::F64, "[[true], [null]]", "[2, 1] [1.0,NaN]");
    check(DType::U8, "[2, true]", "[2] [2,1]");
    check(DType::I64, "[false,-3,true]", "[3] [0,-3,1]");
    check(DType::I32, "[true]", "[1] [1]");
    let words = read_bytes(b"[\"a\", null]", DType::String).expect("words");
    assert_eq!(words.shape(), [2]);
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
    check(DType::F32, "[NaN]", "[1] [NaN]");
    check(
        DType::F64,
        "[[-Infinity],[Infinity]]",
        "[2, 1] [-Infinity,Infinity]",
    );
    check(DType::F32, "[null, 1]", "[2] [NaN,1.0]");
    check(DType::F64, "NaN", "[] [NaN]");
    check(
        DType::I32,
        "[NaN]",
        "element 0 is NaN, which is not a valid INT32",
    );
    check(DType::I32, "[null]", "element 0 is null");
    check(DType::Bool, "[NaN]", "not a valid BOOL");
    check(DType::String, "[NaN]", "not a valid BYTES");
    for text in [
        "[-NaN]",
        "[nan]",
        "[NaN1]",
        "[1NaN]",
        "[+Infinity]",
        "[Infinit]",
        "[--Infinity]",
        "[1 NaN]",
    ] {
        check(DType::F32, text, "not valid JSON");
    }
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
    check(DType::String, r#""a\u0000""#, r#"[] ["a\u0000"]"#);
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
                DType::F32 => raw.chunks_exact_mut(4).filter(|c| !f32::from_le_bytes((**c).try_into().unwrap()).is_finite()).for_each(|c| c.fill(0)),
                DType::F64 => raw.chunks_exact_mut(8).filter(|c| !f64::from_le_bytes((**c).try_into().unwrap()).is_finite()).for_each(|c| c.fill(0)),
                _ => {}
            }
            rounds(&Tensor::fixed(dtype, vec![raw.len() / 8, 8 / width], raw.into()).unwrap());
        }
    }

    #[test]
    fn strings_read_back_byte_for_byte(strings in proptest::collection::vec("\\PC{0,12}|\0", 1..20)) {
        rounds(&Tensor::strings(vec![strings.len()], Strings::from_parts(&strings).unwrap()).unwrap());
    }

    #[test]
    fn arbitrary_json_never_panics(text in r#"[\[\]{},:"\\a1.eE \-]{0,40}"#) {
        for dtype in DType::ALL {
            let _ = read(&text, dtype);
        }
    }
}

/// A tensor as `serde_json` and the standard library read it: its shape and its elements.
fn reference(text: &str, dtype: DType) -> Option<(Vec<usize>, Vec<Vec<u8>>)> {
    if !text.starts_with('[') {
        return Some((Vec::new(), vec![reference_element(text, dtype)?]));
    }
    let members: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let members = members.iter().map(|m| reference(m.get(), dtype));
    let members: Vec<_> = members.collect::<Option<_>>()?;

    let inner = members
        .first()
        .map(|(shape, _)| shape.clone())
        .unwrap_or_default();
    if members.iter().any(|(shape, _)| *shape != inner) {
        return None;
    }
    let shape = [vec![members.len()], inner].concat();
    Some((
        shape,
        members
            .into_iter()
            .flat_map(|(_, elements)| elements)
            .collect(),
    ))
}

fn reference_element(text: &str, dtype: DType) -> Option<Vec<u8>> {
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let string = serde_json::from_str::<String>(text);
    let is_truth = ["true", "false"].contains(&text);
    let truth = f32::from(u8::from(text == "true"));
    match dtype {
        DType::String if text == "null" => Some(Vec::new()),
        DType::String => string.ok().map(String::into_bytes),
        DType::F32 if is_truth => Some(truth.to_le_bytes().into()),
        DType::F64 if is_truth => Some(f64::from(truth).to_le_bytes().into()),
        DType::I64 if is_truth => Some((truth as i64).to_le_bytes().into()),
        DType::U8 if is_truth => Some(vec![truth as u8]),
        DType::F32 if text == "null" => Some(f32::NAN.to_le_bytes().into()),
        DType::F64 if text == "null" => Some(f64::NAN.to_le_bytes().into()),
        _ if !is_number => None,
        DType::F32 => text
            .parse()
            .ok()
            .filter(|v: &f32| v.is_finite())
            .map(|v| v.to_le_bytes().into()),
        DType::F64 => text
            .parse()
            .ok()
            .filter(|v: &f64| v.is_finite())
            .map(|v| v.to_le_bytes().into()),
        DType::I64 => text.parse().ok().map(|v: i64| v.to_le_bytes().into()),
        DType::U8 => text.parse().ok().map(|v: u8| v.to_le_bytes().into()),
        _ => unreachable!("not compared"),
    }
}

/// Compares value by value, and what is refused, with [`reference`].
fn agrees_with_serde_json(body: &[u8]) {
    for dtype in [DType::F32, DType::F64, DType::I64, DType::U8, DType::String] {
        let value = serde_json::from_slice::<&RawValue>(body).ok();
        let expected = value.and_then(|value| reference(value.get(), dtype));
        let read = read_bytes(body, dtype).ok().map(|tensor| {
            let elements = match tensor.data() {
                Data::Fixed(bytes) => {
                    let width = dtype.element_bytes().expect("fixed width");
                    bytes.chunks_exact(width).map(<[u8]>::to_vec).collect()
                }
                Data::Strings(strings) => strings.iter().map(<[u8]>::to_vec).collect(),
            };
            (tensor.shape().to_vec(), elements)
        });
        assert_eq!(read, expected, "{dtype} {}", String::from_utf8_lossy(body));
    }
}

/// Elements of one kind, as rows of `width`, with a separator that takes any space.
fn document(elements: &[String], width: usize, separator: &str) -> String {
    let rows: Vec<String> = elements
        .chunks(width)
        .map(|row| format!("[{}]", row.join(separator)))
        .collect();
    if rows.len() == 1 {
        rows.concat()
    } else {
        format!("[{}]", rows.join(separator))
    }
}

fn documents() -> impl Strategy<Value = String> {
    let element = prop_oneof![
        Just(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?"),
        Just("[1-9]?[0-9]|1[0-9]{2}"),
        Just(r#""([a-z\[\]{},: üß]|\\["\\/n]|\\u00e9|\\ud83d\\ude00){0,8}""#),
    ];
    let elements = element.prop_flat_map(|text| {
        let element = proptest::string::string_regex(text).expect("a regular expression");
        proptest::collection::vec(element, 1..60)
    });
    (
        elements,
        1_usize..30,
        prop_oneof![Just(","), Just(", "), Just(" ,\r\n\t")],
    )
        .prop_map(|(elements, width, separator)| document(&elements, width, separator))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn documents_are_read_as_serde_json_reads_them(document in documents(), pad in 0_usize..200) {
        agrees_with_serde_json(document.as_bytes());
        // Long enough to be deferred, whatever it holds.
        agrees_with_serde_json(document.replacen('[', &format!("[{}", " ".repeat(pad)), 1).as_bytes());
    }

    #[test]
    fn documents_with_one_byte_changed_are_refused_or_read_alike(
        document in documents(),
        at in any::<proptest::sample::Index>(),
        byte in proptest::sample::select(&b"[]{},:\"\\ \n0159.-+eEtfnu\x00\x1f\x7f\xc3\xff"[..]),
        change in 0..3,
    ) {
        let mut body = document.into_bytes();
        let at = at.index(body.len());
        match change {
            0 => body[at] = byte,
            1 => body.insert(at, byte),
            _ => drop(body.remove(at)),
        }
        agrees_with_serde_json(&body);
    }
}

#[test]
fn a_long_array_that_nobody_reads_is_checked_too() {
    let valid = vec!["1.5"; 100].join(",");
    for (own, is_valid) in [
        (format!("[{valid}]"), true),
        (format!("[{valid},01]"), false),
        (format!("[{valid},]"), false),
        (format!("[{valid}"), false),
        (format!("[[{valid}],[\"\\x\"]]"), false),
        (format!("[[{valid}],[\"a\tb\"]]"), false),
    ] {
        let body = format!(r#"{{"own":{own},"a":1}}"#);
        let read = read_body(body.as_bytes(), |value| {
            let [a] = value.fields("it", ["a"])?;
            Ok(a.map(|a| a.text().to_owned()))
        });
        match read {
            Ok(a) => assert!(is_valid && a.as_deref() == Some("1"), "{body}"),
            Err(error) => assert!(
                !is_valid && error.message.contains("not valid JSON:"),
                "{error}"
            ),
        }
    }
}

#[test]
fn a_long_array_of_strings_is_checked_while_it_is_read() {
    let words = vec!["\"word\""; 30].join(",");
    let read = |last: &str| read_bytes(format!("[{words},{last}]").as_bytes(), DType::String);
    assert_eq!(read(r#""\u00fc [,""#).unwrap().shape(), [31]);
    for last in [
        "\"a\tb\"",
        "\"\u{1}\"",
        r#""\x""#,
        r#""\ud8""#,
        "\"a",
        "a",
        "\"a\" \"b\"",
        "",
    ] {
        let error = read(last).unwrap_err();
        assert!(error.message.contains("not valid JSON"), "{last}: {error}");
    }
}

#[test]
fn arrays_in_arrays_in_arrays_are_looked_at_a_bounded_number_of_times() {
    let deep = format!("{}{{}}", "[".repeat(2_000_000));
    assert!(read_body(deep.as_bytes(), |_| Ok(())).is_err());
    let pairs = format!("[{}{{}}]", "[1,[2,[3]]],".repeat(200_000));
    assert!(read_body(pairs.as_bytes(), |_| Ok(())).is_ok());
}
