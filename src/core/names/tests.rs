//! Tests of `names`.

use super::*;

#[test]
fn a_list_ends_with_a_whole_name_and_says_how_many_more_there_are() {
    assert_eq!(listed(&[]), "");
    assert_eq!(listed(&["a", "b"]), "a, b");
    let many: Vec<String> = (0..20).map(|n| format!("column_{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let text = listed(&many);
    assert!(text.ends_with("column_7 and 12 more"), "{text}");
    let long = "x".repeat(300);
    assert_eq!(listed(&[&long, "b"]), format!("{}, b", "x".repeat(64)));
    let several = [long.as_str(); 5];
    assert!(listed(&several).ends_with(" and 3 more"));
}

#[test]
fn the_nearest_name_is_meant_and_first() {
    let names = ["year", "month", "day", "dep_delay", "arr_delay"];
    assert_eq!(
        instead("arr_dealy", &names, "it has"),
        "; did you mean 'arr_delay'? It has arr_delay, dep_delay, day, year, month"
    );
    assert!(instead("Month", &names, "it has").starts_with("; did you mean 'month'? "));
    assert_eq!(
        instead("completely_other", &names, "its columns are"),
        "; its columns are year, month, day, dep_delay, arr_delay"
    );
    assert_eq!(instead("x", &[], "it has"), "; it has ");
}
