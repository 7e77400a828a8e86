//! What JSON elements hold, and what they refuse.

use super::*;
use proptest::prelude::*;

fn parse(json: &str, dtype: DType) -> Result<Elements> {
    let raw: Box<RawValue> = serde_json::from_str(json).map_err(|e| Error::invalid(e.to_string()))?;
    Elements::parse(&raw, dtype)
}

fn check(json: &str, dtype: DType, expected: &str) {
    let got = match parse(json, dtype) {
        Ok(e) => {
            let shape = e.shape.clone();
            let mut text = Vec::new();
            write_elements(&mut text, &e.into_tensor(shape.clone()).expect("its own shape"), true);
            format!("{shape:?} {}", String::from_utf8_lossy(&text))
        }
        Err(error) => error.message,
    };
    assert!(got.contains(expected), "{json}: {got:?} does not say {expected:?}");
}

#[test]
fn nesting_is_the_shape() {
    check("1", DType::F32, "[] 1");
    check("[1, 2.5]", DType::F32, "[2] [1.0,2.5]");
    check("[[1],[2],[3]]", DType::I8, "[3, 1] [[1],[2],[3]]");
    check("[]", DType::F32, "[0] []");
    check("[[],[]]", DType::F32, "[2, 0] [[],[]]");
    check(r#"["a", {"b64":"aGk="}]"#, DType::String, r#"[2] ["a","hi"]"#);
    check("[true,false]", DType::Bool, "[2] [true,false]");
}

#[test]
fn ragged_nesting_is_refused() {
    for json in ["[[1],[2,3]]", "[1,[2]]", "[[1],2]", "[[1],[[2]]]", "[[],[1]]", "[[],1]"] {
        check(json, DType::F32, "ragged");
    }
    check(&format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1)), DType::F32, "deeper than 64");
    assert!(parse(&format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX)), DType::F32).is_ok());
}

#[test]
fn values_must_fit_the_datatype() {
    for (json, dtype) in [
        ("[300]", DType::U8),
        ("[-1]", DType::U64),
        ("[1.5]", DType::I32),
        ("[1.0]", DType::I64),
        ("[18446744073709551616]", DType::U64),
        ("[1e39]", DType::F32),
        ("[true]", DType::F32),
        ("[1]", DType::Bool),
        ("[1]", DType::String),
        (r#"["1"]"#, DType::F32),
    ] {
        check(json, dtype, &format!("is not a value of {dtype}"));
    }
    check("[1]", DType::F16, "binary tensor extension");
    check("[null]", DType::F32, "null");
    check(r#"[{"b64":"!"}]"#, DType::String, "not base64");
    check(r#"[{"b64":"aGk="}]"#, DType::F32, "for strings only");
    check(r#"[{"x":"aGk="}]"#, DType::String, "b64");
}

#[test]
fn what_is_not_finite_is_written_as_tokens() {
    let tensor = Tensor::from_f32(vec![3], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]).expect("fits");
    let mut text = Vec::new();
    write_elements(&mut text, &tensor, false);
    assert_eq!(text, b"[NaN,Infinity,-Infinity]");
}

proptest! {
    #[test]
    fn floats_survive_json_bit_for_bit(values in proptest::collection::vec(any::<f32>(), 0..20)) {
        let finite: Vec<f32> = values.into_iter().filter(|v| v.is_finite()).collect();
        let tensor = Tensor::from_f32(vec![finite.len()], &finite).expect("fits");
        let mut text = Vec::new();
        write_elements(&mut text, &tensor, false);
        let again = parse(std::str::from_utf8(&text).expect("text"), DType::F32).expect("our own text");
        prop_assert_eq!(again.into_tensor(vec![finite.len()]).expect("fits").to_raw(), tensor.to_raw());
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}:,0-9a-z\"\\\\.eE+-]{0,40}", which in 0_usize..14) {
        let _ = parse(&text, DType::ALL[which]);
    }
}
