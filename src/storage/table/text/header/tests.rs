//! Tests of `header`.

use super::*;

fn named(fields: &[&str]) -> Result<Vec<String>> {
    let fields: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
    Ok(names(&fields)?.into_iter().map(|h| h.name).collect())
}

#[test]
fn names_are_trimmed_unless_that_makes_them_one() {
    let check = |fields: &[&str], expected: &[&str]| {
        assert_eq!(named(fields).expect("names"), expected, "{fields:?}");
    };
    check(&[" a ", "b\t"], &["a", "b"]);
    check(&["a", "a ", " a"], &["a", "a ", " a"]);
    check(
        &["", "column_1", " "],
        &["column_1_", "column_1", "column_3"],
    );
    assert!(named(&["a ", "b", "a "]).is_err());
}
