//! Tests of `layout`.

use super::*;
use crate::testing::tensor_spec as spec;

fn names(inputs: &[TensorSpec], features: &[&str]) -> Vec<String> {
    let signature = Signature {
        inputs: inputs.to_vec(),
        outputs: vec![spec("y", DType::F32, &[-1])],
    };
    let features: Vec<String> = features.iter().map(|f| (*f).to_owned()).collect();
    column_places(&signature, &features)
        .into_iter()
        .map(|p| p.name)
        .collect()
}

#[test]
fn columns_are_named_by_feature_by_index_or_by_summary() {
    let x = |width| [spec("x", DType::F32, &[-1, width])];
    assert_eq!(names(&x(2), &["age", "income"]), ["age", "income", "y"]);
    assert_eq!(names(&x(2), &[]), ["x[0]", "x[1]", "y"]);
    assert_eq!(
        names(&x(2), &["age"]),
        ["x[0]", "x[1]", "y"],
        "names that do not fit are not used"
    );

    assert_eq!(
        names(
            &[
                spec("a", DType::I64, &[-1]),
                spec("b", DType::String, &[-1, 1])
            ],
            &[]
        ),
        ["a", "b", "y"]
    );

    let wide = names(&x(1_000), &[]);
    assert_eq!(
        (wide.len(), wide[0].as_str(), wide[2].as_str()),
        (19, "x.norm", "x.block[0]")
    );
    assert_eq!(
        names(&[spec("image", DType::F32, &[-1, 3, 224, 224])], &[])[1],
        "image.mean"
    );
    assert_eq!(
        names(&[spec("x", DType::F32, &[-1, -1])], &[]).len(),
        19,
        "a width that nobody knows"
    );

    let named: Vec<String> = (0..1_000).map(|i| format!("f{i}")).collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(names(&x(1_000), &named).len(), 1_001);
}

#[test]
fn values_are_read_row_by_row_and_wide_rows_are_summarised() {
    let values: Vec<f32> = (0..16).map(|i| i as f32).collect();
    let tensor = Tensor::from_f32(vec![2, 8], &values).expect("fits");
    let of = |part| {
        let mut all = Vec::new();
        let place = ColumnPlace {
            name: String::new(),
            side: Side::Input,
            tensor: 0,
            part,
            dtype: DType::F32,
        };
        each_value(&place, &tensor, |v| {
            all.push(if let ColumnValue::Number(v) = v {
                v
            } else {
                f64::NAN
            })
        });
        all
    };

    assert_eq!(of(RowPart::Element(3)), [3.0, 11.0]);
    assert_eq!(of(RowPart::Mean), [3.5, 11.5]);
    assert_eq!(of(RowPart::Block(7)), [7.0, 15.0]);
    assert_eq!(of(RowPart::Norm)[0], 140.0_f64.sqrt());
    let signs: i32 = (0..1_000).map(|at| if sign(0, at) { 1 } else { -1 }).sum();
    assert!(signs.abs() < 150, "{signs}");
}
