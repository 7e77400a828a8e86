//! Tests of `given`.

use super::*;

const ID: &str = "019aa0b2-0000-7abc-8def-0123456789ab";

fn check(label: &str, expected: Result<Given, &str>) {
    let body = format!("{{\"labels\":[{label}]}}");
    let mut read = read(body.as_bytes(), 10).expect("a list");
    match (read.remove(0), expected) {
        (Ok(given), Ok(expected)) => assert_eq!(given, expected),
        (Err(error), Err(part)) => assert!(
            error.message.contains(part),
            "{error} does not say {part:?}"
        ),
        (found, expected) => panic!("{label} is {found:?}, not {expected:?}"),
    }
}

#[test]
fn labels_are_read_and_errors_name_the_field() {
    let id = Uuid::parse_str(ID).expect("an id");
    let label = Label::Number(1.0);
    let given = |row| Given {
        id,
        row,
        label: label.clone(),
        time: None,
    };

    check(
        &format!("{{\"prediction_id\":\"{ID}\",\"label\":1}}"),
        Ok(given(0)),
    );
    check(
        &format!("{{\"prediction_id\":\"{ID}\",\"row\":3,\"label\":1,\"time\":null}}"),
        Ok(given(3)),
    );
    check(
        &format!("{{\"prediction_id\":\"{ID}\",\"row\":-1,\"label\":1}}"),
        Err("row"),
    );
    check(
        &format!("{{\"prediction_id\":\"{ID}\",\"row\":1.5,\"label\":1}}"),
        Err("row"),
    );
    check(
        &format!("{{\"prediction_id\":\"{ID}\"}}"),
        Err("label is required"),
    );
    check(
        &format!("{{\"prediction_id\":\"{ID}\",\"label\":null}}"),
        Err("must be a number, a string or a boolean"),
    );
    check(
        &format!("{{\"prediction_id\":\"{ID}\",\"label\":1,\"lable\":2}}"),
        Err("lable"),
    );
    check(
        &format!("{{\"prediction_id\":\"{ID}\",\"label\":1,\"time\":\"yesterday\"}}"),
        Err("time"),
    );
    check(
        "{\"prediction_id\":\"x\",\"label\":1}",
        Err("must be the id of a prediction"),
    );
    check("{\"label\":1}", Err("prediction_id"));
    check("7", Err("must be an object"));
}

#[test]
fn bodies_that_are_not_lists_of_labels_are_refused() {
    for bad in [
        "",
        "[]",
        "{}",
        "{\"labels\":1}",
        "{\"labels\":[],\"more\":1}",
        "{\"labels\":[}",
    ] {
        assert!(read(bad.as_bytes(), 10).is_err(), "{bad}");
    }

    assert!(read(b"{\"labels\":[]}", 10).expect("a list").is_empty());
    assert!(read(b"{\"labels\":[0,0]}", 2).is_ok() && read(b"{\"labels\":[0,0,0]}", 2).is_err());
}
