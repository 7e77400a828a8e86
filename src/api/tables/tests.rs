//! Cells of JSON and CSV as elements of each datatype.

use super::*;
use crate::core::error::Kind;
use crate::core::model::optional::OptionalInput;
use crate::core::tensor::Data;
use crate::testing::{table_schema, tensor_spec};
use half::f16;

fn signature(dtypes: &[DType]) -> Signature {
    let inputs = dtypes.iter().enumerate();
    Signature {
        inputs: inputs
            .map(|(i, dtype)| tensor_spec(&format!("c{i}"), *dtype, &[-1, 1]))
            .collect(),
        ..Signature::default()
    }
}

/// Reads one cell of a datatype.
fn cell(dtype: DType, cell: TableCell<'_>) -> Result<Tensor> {
    let signature = signature(&[dtype]);
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let mut reader = TableReader::new(table_schema(&signature, &columns), UnknownColumns::Refused)?;
    let mut row = reader.row();
    row.put(&reader, 0, cell)?;
    reader.push(row)?;
    Ok(reader.finish()?.remove(0).1)
}

fn json(dtype: DType, text: &str) -> Result<Tensor> {
    cell(dtype, TableCell::Json(Json::within(text)))
}

#[test]
fn numbers_truth_values_and_missing_ones_are_read_as_the_datatype() {
    for (dtype, text, expected) in [
        (DType::F32, "0.1", 0.1_f32.to_le_bytes().to_vec()),
        (DType::F32, "null", f32::NAN.to_le_bytes().to_vec()),
        (
            DType::F64,
            "-Infinity",
            f64::NEG_INFINITY.to_le_bytes().to_vec(),
        ),
        (DType::F64, "true", 1.0_f64.to_le_bytes().to_vec()),
        (DType::F16, "1.5", f16::from_f32(1.5).to_le_bytes().to_vec()),
        (DType::I64, "3.0", 3_i64.to_le_bytes().to_vec()),
        (
            DType::I64,
            "9223372036854775807",
            i64::MAX.to_le_bytes().to_vec(),
        ),
        (DType::I8, "-128", vec![0x80]),
        (DType::U64, "18446744073709551615", vec![0xff; 8]),
        (DType::Bool, "false", vec![0]),
        (DType::Bool, "1", vec![1]),
    ] {
        let read = json(dtype, text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(read.shape(), [1, 1]);
        assert_eq!(read.to_raw(), expected, "{dtype} {text}");
        let plain = text.trim_matches('"');
        assert_eq!(
            cell(dtype, TableCell::Text(plain)).expect(text).to_raw(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn times_of_iso_8601_are_seconds_since_1970_in_fp64() {
    for (text, expected) in [
        ("1970-01-02", 86_400.0),
        ("2013-03-01T10:30:00Z", 1_362_133_800.0),
        ("2013-03-01 10:30", 1_362_133_800.0),
        ("2013-03-01T11:30:00.25+01:00", 1_362_133_800.25),
        ("2013-03-01 10:30:00+00:00", 1_362_133_800.0),
        ("1969-12-31T23:59:59.5Z", -0.5),
    ] {
        for read in [
            json(DType::F64, &format!("\"{text}\"")),
            cell(DType::F64, TableCell::Text(text)),
        ] {
            let bytes = read.unwrap_or_else(|e| panic!("{text}: {e}")).to_raw();
            assert_eq!(bytes, f64::to_le_bytes(expected).to_vec(), "{text}");
        }
        let error = json(DType::F32, &format!("\"{text}\"")).expect_err("too few digits");
        assert!(error.message.contains("not a valid FP32"), "{error}");
    }
    for text in [
        "2013-13-01",
        "2013-03-01T25:00",
        "01/03/2013",
        "2013-",
        "10:30",
    ] {
        let error = json(DType::F64, &format!("\"{text}\"")).expect_err(text);
        assert!(error.message.contains("not a valid FP64"), "{error}");
    }
}

#[test]
fn what_a_datatype_does_not_hold_is_refused_with_the_column() {
    for (dtype, text, needle) in [
        (DType::F32, "1e39", "not a valid FP32"),
        (DType::F64, "1e400", "not a valid FP64"),
        (DType::F32, "\"1\"", "not a valid FP32"),
        (DType::I64, "1.5", "not a valid INT64"),
        (DType::I64, "null", "INT64 has no missing value"),
        (DType::I64, "1e300", "not a valid INT64"),
        (DType::U8, "-1", "not a valid UINT8"),
        (DType::Bool, "2", "not a valid BOOL"),
        (DType::F32, "[1]", "not a valid FP32"),
        (DType::String, "1", "must be a JSON string"),
        (
            DType::F32,
            r#"{"b64":"MQ=="}"#,
            "a string in base64 is not a valid FP32",
        ),
        (
            DType::String,
            r#"{"b64":"?"}"#,
            "b64 is not standard base64",
        ),
        (
            DType::String,
            r#"{"b64":"MQ==","x":1}"#,
            "must be a JSON string",
        ),
    ] {
        let error = json(dtype, text).expect_err(text);
        assert!(error.message.contains(needle), "{text}: {error}");
        assert!(error.message.contains("row 0, column 'c0'"), "{error}");
    }
}

#[test]
fn words_may_be_missing_and_csv_has_them_as_they_are() {
    let word = |tensor: Tensor| match tensor.data() {
        Data::Strings(strings) => strings.words().map(str::to_owned).collect::<Vec<_>>(),
        Data::Fixed(_) => panic!("no strings"),
    };
    assert_eq!(
        word(json(DType::String, "\"ü\\n\"").expect("a word")),
        ["ü\n"]
    );
    assert_eq!(word(json(DType::String, "null").expect("missing")), [""]);
    let base64 = json(DType::String, r#"{"b64":"QmVybg=="}"#);
    assert_eq!(word(base64.expect("base64")), ["Bern"]);
    assert_eq!(
        word(cell(DType::String, TableCell::Text("NA")).expect("a word")),
        ["NA"]
    );
    assert_eq!(
        word(cell(DType::String, TableCell::Text(" a ")).expect("a word")),
        [" a "]
    );
}

#[test]
fn rows_must_give_each_column_once() {
    let signature = signature(&[DType::F32, DType::F32]);
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let push = |text: &str| {
        let mut reader =
            TableReader::new(table_schema(&signature, &columns), UnknownColumns::Refused)
                .expect("fillable");
        reader.push_object(Json::parse(text.as_bytes()).expect("JSON"))?;
        reader.finish()
    };
    assert_eq!(push(r#"{"c1":2,"c0":1}"#).expect("whole").len(), 2);
    for (text, needle) in [
        (r#"{"c0":1}"#, "row 0 lacks the column c1"),
        (
            r#"{"c0":1,"c1":2,"c2":3}"#,
            "column 'c2' is unknown; the model takes c0, c1",
        ),
        (r#"{"c0":1,"c1":2,"c0":3}"#, "has the column 'c0' twice"),
        ("[1]", "row 0 must be a JSON object"),
    ] {
        let error = push(text).expect_err(text);
        assert!(error.message.contains(needle), "{text}: {error}");
    }
}

#[test]
fn numbers_of_csv_may_have_spaces_around_them() {
    for (dtype, text, expected) in [
        (DType::F32, " 1e3 ", 1000_f32.to_le_bytes().to_vec()),
        (DType::F32, " ", f32::NAN.to_le_bytes().to_vec()),
        (DType::I64, "\t7", 7_i64.to_le_bytes().to_vec()),
        (DType::Bool, " True", vec![1]),
    ] {
        let read = cell(dtype, TableCell::Text(text)).expect(text);
        assert_eq!(read.to_raw(), expected, "{text:?}");
    }
    let inner = cell(DType::F32, TableCell::Text("1 2")).expect_err("two numbers");
    assert!(inner.message.contains("1 2 is not a valid FP32"), "{inner}");
}

/// Reads rows of two numbers within limits.
fn limited(rows: usize, limits: TableLimits) -> Result<NamedTensors> {
    let signature = signature(&[DType::F32, DType::String]);
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let schema = TableSchema {
        limits,
        ..table_schema(&signature, &columns)
    };
    let mut reader = TableReader::new(schema, UnknownColumns::Refused)?;
    let row = r#"{"c0":1,"c1":"abc"}"#;
    for _ in 0..rows {
        reader.push_object(Json::within(row))?;
    }
    reader.finish()
}

#[test]
fn rows_and_bytes_of_a_table_are_limited_while_it_is_read() {
    let none = TableLimits {
        rows_max: None,
        bytes_max: usize::MAX,
        shared_bytes_max: 0,
    };
    let two = TableLimits {
        rows_max: Some(2),
        ..none
    };
    // A row takes 4 bytes for the number, and 4 + 3 + 8 for the word.
    let small = TableLimits {
        bytes_max: 2 * 19,
        ..none
    };
    for limits in [two, small] {
        assert!(limited(1, limits).is_ok() && limited(2, limits).is_ok());
    }
    let rows = limited(3, two).expect_err("rows").message;
    assert!(
        rows.contains("more than 2 rows; at most 2 are served"),
        "{rows}"
    );
    let bytes = limited(3, small).expect_err("bytes");
    assert_eq!(bytes.kind, Kind::TooLarge);
    assert!(bytes.message.contains("3 rows take 57 bytes"), "{bytes}");
    assert!(bytes.message.contains("take 38 (limits."), "{bytes}");
}

#[test]
fn unknown_columns_are_ignored_where_that_is_asked_and_named_where_one_is_missing() {
    let signature = Signature {
        optional: vec![OptionalInput {
            spec: tensor_spec("k", DType::F32, &[-1, 1]),
            is_listed: true,
        }],
        ..signature(&[DType::F32])
    };
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let push = |text: &str| {
        let schema = table_schema(&signature, &columns);
        let mut reader = TableReader::new(schema, UnknownColumns::Ignored).expect("fillable");
        reader.push_object(Json::within(text))?;
        reader.finish()
    };
    assert!(push(r#"{"x":[1],"c0":1,"x":2}"#).is_ok());
    for (text, needle) in [
        (
            r#"{"co":1}"#,
            "row 0 lacks the column c0; it has unknown columns: 'co'",
        ),
        ("{}", "row 0 lacks the column c0"),
        (r#"{"k":1,"c0":1}"#, "input 'k' is optional"),
    ] {
        let error = push(text).expect_err(text);
        assert!(error.message.contains(needle), "{text}: {error}");
    }
    let many: Vec<String> = (0..20).map(|i| format!("\"x{i}\":1")).collect();
    let error = push(&format!("{{{}}}", many.join(","))).expect_err("missing");
    assert!(error.message.ends_with("'x7' and 12 more"), "{error}");
}

#[test]
fn columns_that_a_table_names_are_limited() {
    let signature = signature(&[DType::F32]);
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let schema = table_schema(&signature, &columns);
    let reader = TableReader::new(schema, UnknownColumns::Ignored).expect("fillable");
    let read = std::cell::Cell::new(0);
    let places = |count: usize| {
        read.set(0);
        let names = std::iter::once("c0")
            .chain(std::iter::repeat("x"))
            .take(count);
        let names = names.inspect(|_| read.set(read.get() + 1));
        reader.places(names.map(|name| Ok(Cow::Borrowed(name))))
    };
    assert_eq!(
        places(TABLE_COLUMNS_MAX).expect("at the limit").len(),
        TABLE_COLUMNS_MAX
    );
    let error = places(usize::MAX).expect_err("above the limit");
    assert!(error.message.contains("more than 65536 columns"), "{error}");
    assert_eq!(read.get(), TABLE_COLUMNS_MAX + 1);
}
