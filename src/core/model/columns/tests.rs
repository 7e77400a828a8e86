//! Names of columns, and models that no table can fill.

use super::*;
use crate::testing::tensor_spec;

fn signature(inputs: &[(&str, &[i64])]) -> Signature {
    let spec = |(name, shape): &(&str, &[i64])| tensor_spec(name, DType::F32, shape);
    Signature {
        inputs: inputs.iter().map(spec).collect(),
        ..Signature::default()
    }
}

fn features(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn inputs_of_one_column_have_their_own_names_and_features_name_all() {
    let table = signature(&[("age", &[-1, 1]), ("income", &[-1])]);
    let columns = InputColumns::of(&table, &[]).expect("columns");
    assert!(columns.are_named());
    assert_eq!(
        (columns.find("age"), columns.find("income")),
        (Some(0), Some(1))
    );
    let renamed = InputColumns::of(&table, &features(&["a", "b"])).expect("columns");
    assert_eq!((renamed.find("b"), renamed.find("age")), (Some(1), None));

    let matrix = signature(&[("X", &[-1, 2, 2])]);
    let columns = InputColumns::of(&matrix, &[]).expect("columns");
    assert!(columns.are_nameless() && columns.len() == 4);
    assert!(columns.unknown("a").message.contains("'features'"));
    let columns = InputColumns::of(&matrix, &features(&["a", "b", "c", "d"])).expect("columns");
    assert_eq!(columns.find("d"), Some(3));
    assert_eq!(
        columns.unknown("e").message,
        "column 'e' is unknown; the model takes a, b, c, d"
    );
    assert_eq!(
        columns.missing("row 3", &[1, 2]).message,
        "row 3 lacks the columns b, c"
    );
}

#[test]
fn names_must_be_as_many_as_columns_and_all_different() {
    let matrix = signature(&[("X", &[-1, 2])]);
    let few = InputColumns::of(&matrix, &features(&["a"])).unwrap_err();
    assert!(
        few.message.contains("1 feature is named, the model has 2"),
        "{few}"
    );
    let twice = InputColumns::of(&matrix, &features(&["a", "a"])).unwrap_err();
    assert!(twice.message.contains("two columns"), "{twice}");
}

#[test]
fn inputs_without_a_fixed_width_cannot_be_filled() {
    for shape in [&[-1, -1][..], &[]] {
        let open = InputColumns::of(&signature(&[("ids", shape)]), &[]).expect("columns");
        assert!(open.check_fillable().unwrap_err().message.contains("'ids'"));
    }
    let none = InputColumns::of(&signature(&[]), &[]).expect("columns");
    assert!(none.check_fillable().is_err() && !none.are_named());
}
