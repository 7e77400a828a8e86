//! Which task is derived from which outputs.

use super::*;

fn output(name: &str, dtype: DType, width: Option<usize>) -> TensorSpec {
    let rest = width.map(Dim::Fixed);
    TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some([Dim::Dynamic].into_iter().chain(rest).collect()),
    }
}

fn end(operator: &str, classes: &[&str]) -> OutputEnd {
    OutputEnd {
        operator: operator.to_owned(),
        classes: classes.iter().map(|c| (*c).to_owned()).collect(),
        is_from_maps: false,
    }
}

fn find(outputs: &[(TensorSpec, OutputEnd)], wish: &Wish) -> Result<Option<Task>> {
    let signature = Signature {
        inputs: Vec::new(),
        outputs: outputs.iter().map(|(o, _)| o.clone()).collect(),
        ..Signature::default()
    };
    Task::find(
        &signature,
        &outputs.iter().map(|(_, e)| e.clone()).collect::<Vec<_>>(),
        wish,
    )
}

/// The output of the scores, whether it is one score, the output of the label, and
/// the classes; or the output of a value.
type Short<'s> = Option<Result<(usize, bool, Option<usize>, &'s [&'s str]), usize>>;

fn check(outputs: &[(TensorSpec, OutputEnd)], expected: Short<'_>) {
    let expected = expected.map(|task| match task {
        Ok((scores, is_single, label, classes)) => {
            let classes = classes.iter().map(|c| (*c).to_owned()).collect();
            Task::Classification(Classification {
                scores,
                is_single,
                label,
                classes,
            })
        }
        Err(value) => Task::Regression(value),
    });

    assert_eq!(
        find(outputs, &Wish::default()).expect("no task is configured"),
        expected
    );
}

#[test]
fn tasks_are_derived_from_the_operators_of_the_outputs() {
    let label = || output("label", DType::I64, None);
    let f32s = |name, width| output(name, DType::F32, width);
    check(
        &[
            (label(), end("LinearClassifier", &["3", "7"])),
            (f32s("p", Some(2)), end("LinearClassifier", &["3", "7"])),
        ],
        Some(Ok((1, false, Some(0), &["3", "7"]))),
    );

    check(
        &[(f32s("y", Some(3)), end("Softmax", &[]))],
        Some(Ok((0, false, None, &["0", "1", "2"]))),
    );
    check(
        &[(f32s("y", None), end("Sigmoid", &[]))],
        Some(Ok((0, true, None, &["0", "1"]))),
    );
    check(
        &[
            (label(), end("Cast", &[])),
            (f32s("probabilities", Some(2)), end("Concat", &[])),
        ],
        Some(Ok((1, false, Some(0), &["0", "1"]))),
    );

    // Distances to clusters, and a measure of how unusual a row is.
    for (width, operator) in [(3, "Sqrt"), (1, "Sub")] {
        check(
            &[
                (label(), end("ArgMin", &[])),
                (f32s("scores", Some(width)), end(operator, &[])),
            ],
            None,
        );
    }

    check(&[(f32s("y", Some(1)), end("Gemm", &[]))], Some(Err(0)));
    check(&[(f32s("y", Some(5)), end("Gemm", &[]))], None);
    check(&[(f32s("y", Some(1_000)), end("Softmax", &[]))], None);
    check(
        &[
            (f32s("a", Some(1)), end("Gemm", &[])),
            (f32s("b", Some(1)), end("Gemm", &[])),
        ],
        None,
    );
}

#[test]
fn a_configured_task_overrides_the_derived_one_and_must_fit() {
    let one = [(output("y", DType::F32, Some(1)), end("Gemm", &[]))];
    let wish = |kind, name: Option<&str>, classes: &[&str]| Wish {
        kind,
        output: name.map(str::to_owned),
        classes: classes.iter().map(|c| (*c).to_owned()).collect(),
    };

    let found = find(
        &one,
        &wish(Some(TaskKind::Classification), None, &["no", "yes"]),
    )
    .expect("fits");

    assert!(
        matches!(found, Some(Task::Classification(c)) if c.is_single && c.class("yes") == Some(1))
    );
    assert_eq!(
        find(&one, &wish(Some(TaskKind::Neither), None, &[])).expect("fits"),
        None
    );
    assert!(
        find(&one, &wish(None, Some("z"), &[])).is_err(),
        "no such output"
    );
    assert!(
        find(
            &one,
            &wish(Some(TaskKind::Classification), None, &["a", "b", "c"])
        )
        .is_err(),
        "three of two"
    );

    let two = [
        (output("a", DType::F32, Some(1)), end("", &[])),
        (output("b", DType::F32, Some(1)), end("", &[])),
    ];
    assert_eq!(
        find(&two, &wish(Some(TaskKind::Regression), Some("b"), &[])).expect("fits"),
        Some(Task::Regression(1))
    );
    assert!(
        find(&two, &wish(Some(TaskKind::Regression), None, &[])).is_err(),
        "which of two"
    );
}

#[test]
fn a_label_names_a_class_by_name_or_index() {
    let task = |classes: &[&str]| Classification {
        scores: 0,
        is_single: false,
        label: None,
        classes: classes.iter().map(|c| (*c).to_owned()).collect(),
    };

    let check = |classes: &[&str], label: &str, expected| {
        assert_eq!(task(classes).class(label), expected, "{label}")
    };
    check(&["0", "1"], "1", Some(1));
    check(&["0", "1"], "1.0", Some(1));
    check(&["0", "1"], "true", Some(1));
    check(&["0", "1"], "2", None);
    check(&["no", "yes"], "yes", Some(1));
    check(&["no", "yes"], "true", None);
    check(&["true", "false"], "true", Some(0));
    check(&["-1", "1"], "-1.0", Some(0));
    check(&["0", "1"], "", None);
}
