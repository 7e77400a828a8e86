//! Cells of JSON and CSV as elements of each datatype.

use super::*;
use crate::core::tensor::Data;
use crate::testing::tensor_spec;

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
    let mut reader = TableReader::new(&signature, &columns)?;
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
    assert_eq!(
        word(cell(DType::String, TableCell::Text("NA")).expect("a word")),
        ["NA"]
    );
}

#[test]
fn rows_must_give_each_column_once() {
    let signature = signature(&[DType::F32, DType::F32]);
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let push = |text: &str| {
        let mut reader = TableReader::new(&signature, &columns).expect("fillable");
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
