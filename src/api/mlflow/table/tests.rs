//! Bodies of `/invocations`.

use super::*;
use crate::core::model::Signature;
use crate::core::model::columns::InputColumns;
use crate::core::tensor::DType;
use crate::testing::{table_schema, tensor_spec};

fn decoded(body: &str, is_csv: bool, features: &[&str]) -> std::result::Result<String, String> {
    let signature = Signature {
        inputs: vec![tensor_spec("X", DType::F32, &[-1, 2])],
        ..Signature::default()
    };
    let features: Vec<String> = features.iter().map(|f| (*f).to_owned()).collect();
    let columns = InputColumns::of(&signature, &features).expect("columns");
    let schema = table_schema(&signature, &columns);
    let read = match is_csv {
        true => decode_csv(body.as_bytes(), schema),
        false => decode(body.as_bytes(), schema),
    };
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
        r#"{"inputs":{"b":[2,4],"a":[1,3]}}"#,
        r#"{"inputs":{"b":[2,4],"a":[1,3],"x":["?"]}}"#,
        r#"{"inputs":[{"a":1,"b":2,"x":[]},{"b":4,"a":3}]}"#,
        r#"{"dataframe_records":[{"a":1,"b":2,"x":null},{"b":4,"a":3}]}"#,
        r#"{"dataframe_split":{"columns":["a","x","b"],"data":[[1,{},2],[3,"",4]]}}"#,
    ] {
        assert_eq!(decoded(body, false, &NAMES), expected, "{body}");
    }
    for csv in [
        "b,a\n2,1\n4,3\n",
        "a,b\n1, 2\n 3,4e0 ",
        // With pandas' index, and with other columns.
        ",a,b\n0,1,2\n1,3,4\n",
        "a,x,b,x\n1,?,2,\n3,?,4,",
    ] {
        assert_eq!(decoded(csv, true, &NAMES), expected, "{csv}");
    }
    assert_eq!(decoded(",x,y\n0,1,2\n1,3,4\n", true, &[]), expected);
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
            "has 1 value for 2 columns",
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
    let nameless = decoded(r#"{"dataframe_records":[{"a":1,"b":2}]}"#, false, &[]);
    assert!(nameless.expect_err("nameless").contains("'features'"));
}

#[test]
fn missing_columns_are_named_with_the_unknown_ones_and_cells_with_their_places() {
    for (body, needle) in [
        (
            r#"{"dataframe_records":[{"a":1,"b":2},{"a":1,"c":2}]}"#,
            "row 1 lacks the column b; it has unknown columns: 'c'",
        ),
        (
            r#"{"dataframe_records":[{"a":1,"b":2},{"a":1,"b":"?"}]}"#,
            "row 1, column 'b': \"?\" is not a valid FP32",
        ),
        (
            r#"{"dataframe_split":{"columns":["a","bb"],"data":[[1,2]]}}"#,
            "the table lacks the column b; it has unknown columns: 'bb'",
        ),
        (
            r#"{"inputs":{"a":[1],"bb":[2]}}"#,
            "the table lacks the column b; it has unknown columns: 'bb'",
        ),
        (
            r#"{"inputs":{"a":[1,2],"b":[2]}}"#,
            "row 1 has no value of column 'b', but of others",
        ),
        (r#"{"inputs":[{"a":1}]}"#, "lacks the column b"),
        (
            r#"{"instances":[{"a":1,"b":2,"x":3}]}"#,
            "column 'x' is unknown",
        ),
        (
            "a,b\n1,2\n",
            "send a table in CSV with Content-Type: text/csv",
        ),
        ("1,2\n", "send a table in CSV with Content-Type: text/csv"),
    ] {
        let error = decoded(body, false, &NAMES).expect_err(body);
        assert!(error.contains(needle), "{body}: {error}");
    }
}

#[test]
fn what_is_no_csv_is_refused() {
    for (body, needle) in [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("a,b\n1\n", "not CSV: row 0 has fewer than 2 cells"),
        ("a,b\n1,2\n1,2,\n", "not CSV: row 1 has more than 2 cells"),
        (
            "a,b\n1,2\n\"3,4\n5,6\n",
            "not CSV: a quote that begins in row 1 is not closed",
        ),
        (
            "a,c\n1,2\n",
            "the table lacks the column b; it has unknown columns: 'c'",
        ),
        ("a,b,a\n1,2,3\n", "'a' twice"),
        ("a,b\n1,x\n", "column 'b': x is not a valid FP32"),
        (
            "a;b\n1;2\n",
            "it has unknown columns: 'a;b'; the header has semicolons and no comma",
        ),
        ("a\tb\n1\t2\n", "the header has tabs and no comma"),
    ] {
        let error = decoded(body, true, &NAMES).expect_err(body);
        assert!(error.contains(needle), "{body}: {error}");
    }
}

#[test]
fn words_of_tables_may_be_in_base64() {
    let signature = Signature {
        inputs: vec![
            tensor_spec("age", DType::F32, &[-1, 1]),
            tensor_spec("city", DType::String, &[-1, 1]),
        ],
        ..Signature::default()
    };
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    for body in [
        r#"{"dataframe_split":{"columns":["age","city"],"data":[[70,{"b64":"QmVybg=="}]]}}"#,
        r#"{"dataframe_records":[{"age":70,"city":{"b64":"QmVybg=="}}]}"#,
        r#"{"instances":[{"age":70,"city":{"b64":"QmVybg=="}}]}"#,
        r#"{"inputs":[{"age":70,"city":{"b64":"QmVybg=="}}]}"#,
        r#"{"inputs":{"age":[70],"city":[{"b64":"QmVybg=="}]}}"#,
        r#"{"inputs":{"age":[70],"city":["Bern"]}}"#,
    ] {
        let read = decode(body.as_bytes(), table_schema(&signature, &columns)).expect(body);
        let (_, city) = &read[1];
        assert_eq!(city.shape(), [1, 1], "{body}");
        assert_eq!(&city.to_raw()[4..], b"Bern", "{body}");
    }
    let body = r#"{"inputs":{"age":[{"b64":"NzA="}],"city":["Bern"]}}"#;
    let error = decode(body.as_bytes(), table_schema(&signature, &columns)).expect_err(body);
    let needle = "row 0, column 'age': a string in base64 is not a valid FP32 value";
    assert!(error.message.contains(needle), "{error}");
}

#[test]
fn a_table_is_read_no_further_than_its_limits() {
    let signature = Signature {
        inputs: vec![tensor_spec("city", DType::String, &[-1, 1])],
        ..Signature::default()
    };
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let mut schema = table_schema(&signature, &columns);
    schema.limits.rows_max = Some(2);
    for (rows, needle) in [(2, None), (3, Some("more than 2 rows"))] {
        // What is beyond the limit is not looked at.
        let csv = format!(
            "city\n{}",
            "x\n".repeat(rows) + if rows > 2 { "\"" } else { "" }
        );
        let read = decode_csv(csv.as_bytes(), schema);
        match needle {
            None => assert_eq!(read.expect("two rows")[0].1.shape(), [2, 1]),
            Some(needle) => {
                let error = read.expect_err(needle);
                assert!(error.message.contains(needle), "{error}");
            }
        }
    }
    let header = format!("city{}\n", ",".repeat(TABLE_COLUMNS_MAX));
    let names = vec!["\"x\""; TABLE_COLUMNS_MAX].join(",");
    let split = format!(r#"{{"dataframe_split":{{"columns":["city",{names}],"data":[]}}}}"#);
    let lists = names.replace(',', ":[],");
    let lists = format!(r#"{{"inputs":{{"city":[],{lists}:[]}}}}"#);
    for read in [
        decode_csv(header.as_bytes(), schema),
        decode(split.as_bytes(), schema),
        decode(lists.as_bytes(), schema),
    ] {
        let error = read.expect_err("too many columns");
        assert!(error.message.contains("more than 65536 columns"), "{error}");
    }
}
