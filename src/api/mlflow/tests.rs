//! Bodies of `/invocations`.

use super::*;
use crate::core::tensor::DType;
use crate::testing::tensor_spec;

fn decoded(body: &str, is_csv: bool, features: &[&str]) -> std::result::Result<String, String> {
    let signature = Signature {
        inputs: vec![tensor_spec("X", DType::F32, &[-1, 2])],
        ..Signature::default()
    };
    let features: Vec<String> = features.iter().map(|f| (*f).to_owned()).collect();
    let columns = InputColumns::of(&signature, &features).expect("columns");
    let read = decode(body.as_bytes(), is_csv, &signature, &columns);
    read.map_err(|e| e.message).map(|tensors| {
        let (name, tensor) = &tensors[0];
        format!(
            "{name} {:?} {:?}",
            tensor.shape(),
            tensor.floats().expect("floats")
        )
    })
}

const NAMES: [&str; 2] = ["a", "b"];

#[test]
fn every_form_of_a_table_gives_the_same_tensor() {
    let expected = Ok("X [2, 2] [1.0, 2.0, 3.0, 4.0]".to_owned());
    for body in [
        r#"{"dataframe_split":{"columns":["a","b"],"data":[[1,2],[3,4]]}}"#,
        r#"{"dataframe_split":{"columns":["b","a"],"index":[0,1],"data":[[2,1],[4,3]]}}"#,
        r#"{"dataframe_records":[{"a":1,"b":2},{"b":4,"a":3}]}"#,
        r#"{"instances":[{"a":1,"b":2},{"a":3,"b":4}]}"#,
        r#"{"instances":[[1,2],[3,4]],"params":null}"#,
        r#"{"inputs":[[1,2],[3,4]]}"#,
        r#"{"inputs":{"X":[[1,2],[3,4]]}}"#,
    ] {
        assert_eq!(decoded(body, false, &NAMES), expected, "{body}");
    }
    assert_eq!(decoded("b,a\n2,1\n4,3\n", true, &NAMES), expected);
    // Without names, places count.
    assert_eq!(decoded("x,y\n1,2\n3,4\n", true, &[]), expected);
    let split = r#"{"dataframe_split":{"columns":[0,1],"data":[[1,2],[3,4]]}}"#;
    assert_eq!(decoded(split, false, &[]), expected);
    assert_eq!(
        decoded("a,b\n,NA\n", true, &NAMES),
        Ok("X [1, 2] [NaN, NaN]".to_owned())
    );
}

#[test]
fn what_is_no_table_is_refused() {
    for (body, needle) in [
        ("{}", "exactly one of"),
        (
            r#"{"instances":[[1,2]],"inputs":[[1,2]]}"#,
            "exactly one of",
        ),
        (r#"{"dataframe_split":{"columns":["a","b"]}}"#, "no data"),
        (r#"{"dataframe_split":{"data":[[1,2]]}}"#, "no columns"),
        (
            r#"{"dataframe_split":{"columns":["a","b"],"data":[[1]]}}"#,
            "has 1 values for 2 columns",
        ),
        (
            r#"{"dataframe_split":{"columns":["a","b"],"data":[[1,2,3]]}}"#,
            "more than 2 values",
        ),
        (
            r#"{"dataframe_split":{"columns":["a","a"],"data":[[1,2]]}}"#,
            "'a' twice",
        ),
        (
            r#"{"dataframe_split":{"columns":["a","b"],"data":[]}}"#,
            "no rows",
        ),
        (r#"{"dataframe_records":[{"a":1}]}"#, "lacks the column b"),
        (r#"{"dataframe_records":{}}"#, "must be a JSON array"),
        ("[", "not valid JSON"),
    ] {
        let error = decoded(body, false, &NAMES).expect_err(body);
        assert!(error.contains(needle), "{body}: {error}");
    }
    for (body, needle) in [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("a,b\n1\n", "not CSV"),
        ("a,c\n1,2\n", "'c' is unknown"),
        ("a,b\n1,x\n", "column 'b': x is not a valid FP32"),
    ] {
        let error = decoded(body, true, &NAMES).expect_err(body);
        assert!(error.contains(needle), "{body}: {error}");
    }
    let nameless = decoded(r#"{"dataframe_records":[{"a":1,"b":2}]}"#, false, &[]);
    assert!(nameless.expect_err("nameless").contains("'features'"));
}
