//! Targets that an objective cannot learn from, and settings that do not fit the columns.

use super::super::*;
use super::{run, spec};
use crate::spec::{CalibrationMethod, Objective};

/// Reads rows with these settings of `[fit]`; the error says what is wrong.
fn read_with(text: &str, change: impl Fn(&mut Spec)) -> Result<Rows> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rows.csv"), text).expect("written");
    let mut spec = spec(folder.path(), "rows.csv", &[]);
    change(&mut spec);
    run(&spec)
}

fn check(text: &str, change: impl Fn(&mut Spec), expected: &str) {
    let error = read_with(text, change).err().expect("refused");
    assert!(error.message.contains(expected), "{}", error.message);
}

#[test]
fn targets_below_0_have_no_rate_and_name_their_row() {
    for objective in [Objective::Poisson, Objective::Tweedie] {
        let set = |spec: &mut Spec| spec.fit.objective = objective;
        check(
            "x,y\n1,0\n2,3\n3,-2\n",
            set,
            "'y' of row 2 is -2, but 'objective' in [fit]",
        );
        check(
            "x,y\n1,0\n2,-0.5\n",
            set,
            "leave such rows out in 'sql' of [data], or use objective = \"squared\"",
        );
        check("x,y\n1,0\n2,0\n", set, "'y' is 0 in every row");
        check(
            "x,y\n1,a\n2,b\n",
            set,
            "'y' holds text, but 'objective' in [fit]",
        );
    }
    let set = |spec: &mut Spec| {
        spec.schema.task = crate::spec::Task::Regression;
        spec.gates.measure = Some("poisson_deviance".to_owned());
    };
    check(
        "x,y\n1,0\n2,-1\n",
        set,
        "'measure' in [gates] is \"poisson_deviance\"",
    );
}

#[test]
fn grades_are_whole_numbers_up_to_a_limit() {
    let set = |spec: &mut Spec| spec.fit.objective = Objective::LambdaRank;
    check(
        "x,y\n1,0\n2,1.5\n",
        set,
        "'y' of row 1 is 1.5, but 'objective' in [fit] is \"lambdarank\", which needs grades: whole numbers from 0 to 31",
    );
    check("x,y\n1,32\n2,1\n", set, "'y' of row 0 is 32");
    check("x,y\n1,0\n2,-1\n", set, "'y' of row 1 is -1");
    let read = read_with("x,y\n1,0\n2,31\n3,\n", set).expect("read");
    assert_eq!(read.target, RowTarget::Values(vec![0.0, 31.0]));
}

#[test]
fn counts_of_few_values_are_numbers_for_an_objective_of_numbers() {
    let text = "x,y\n1,0\n2,1\n3,2\n";
    let plain = read_with(text, |_| {}).expect("read");
    assert_eq!(plain.target.classes().map(<[String]>::len), Some(3));
    let counts = read_with(text, |spec| spec.fit.objective = Objective::Poisson);
    let values = RowTarget::Values(vec![0.0, 1.0, 2.0]);
    assert_eq!(counts.expect("read").target, values);
}

#[test]
fn monotone_features_are_numbers_of_the_data() {
    let text = "x,city,y\n1,a,0\n2,b,1\n3,a,1\n";
    let way = crate::spec::objective::Direction::Increasing;
    let set = |name: &'static str| {
        move |spec: &mut Spec| {
            spec.fit.monotone.0.insert(name.to_owned(), way);
        }
    };
    read_with(text, set("x")).expect("a number");
    check(
        text,
        set("city"),
        "names 'city': it is a category, which has no order",
    );
    check(
        text,
        set("income"),
        "names 'income': it is no feature; the features are x, city",
    );
    let three = "x,y\n1,a\n2,b\n3,c\n";
    check(three, set("x"), "the target has 3 classes");
}

#[test]
fn calibration_needs_two_classes() {
    let set = |spec: &mut Spec| spec.fit.calibration = CalibrationMethod::Isotonic;
    read_with("x,y\n1,a\n2,b\n", set).expect("two");
    check(
        "x,y\n1,a\n2,b\n3,c\n",
        set,
        "is for two classes, and the target has 3 classes; leave it out",
    );
    check("x,y\n1,0.5\n2,0.7\n", set, "the target is a number");
}
