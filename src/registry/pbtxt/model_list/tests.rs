//! What lists of models say, and what is refused.

use super::*;

#[track_caller]
fn refuse(text: &str, needle: &str) {
    let message = ModelList::read(text).expect_err(text).message;
    assert!(message.contains(needle), "{text}: {message}");
}

#[test]
fn models_have_folders_policies_and_labels() {
    let list = ModelList::read(
        r#"model_config_list {
             config {
               name: "a", base_path: "/models/a", model_platform: "tensorflow"
               model_version_policy { specific { versions: 3 versions: [4] } }
               version_labels { key: "stable" value: 3 }
               version_labels: [{ key: "canary" value: 4 }]
               logging_config { sampling_config { sampling_rate: 0.1 } }
             }
             config: { name: 'b' base_path: 'b' model_version_policy: { all: {} } }
             config { name: "c" base_path: "/c" }
           }"#,
    )
    .expect("legal");

    let version = |number| Version::new(number).expect("legal");
    let a = ListEntry {
        folder: "/models/a".into(),
        versions: Some(VersionPolicy::Specific(vec![version(3), version(4)])),
        labels: [
            ("stable".to_owned(), version(3)),
            ("canary".to_owned(), version(4)),
        ]
        .into(),
    };
    let b = ListEntry {
        folder: "b".into(),
        versions: Some(VersionPolicy::All),
        ..ListEntry::default()
    };
    let c = ListEntry {
        folder: "/c".into(),
        ..ListEntry::default()
    };
    let name = |text| ModelName::parse(text).expect("legal");
    let expected = BTreeMap::from([(name("a"), a), (name("b"), b), (name("c"), c)]);
    assert_eq!(list.0, expected);
    assert_eq!(ModelList::read("").expect("none").0.len(), 0);
    assert_eq!(
        ModelList::read("model_config_list {}")
            .expect("none")
            .0
            .len(),
        0
    );
}

#[test]
fn what_is_malformed_is_refused_with_its_line() {
    let one = |fields: &str| format!("model_config_list {{\nconfig {{ {fields} }} }}");
    refuse(
        "custom_model_config {}",
        "line 1: field 'custom_model_config' is not supported",
    );
    refuse("model_config_list { model {} }", "'model' is not supported");
    refuse(
        &one("base_path: \"/a\""),
        "line 2: field 'config' must have a name",
    );
    refuse(&one("name: \"a\""), "line 2: model 'a': its base_path");
    refuse(
        &one("name: \"a\" base_path: \"s3://b/a\""),
        "a folder of this machine",
    );
    refuse(&one("name: \"../a\" base_path: \"/a\""), "line 2: ");
    refuse(
        &one("name: \"a\" base_path: \"/a\" model_platform: \"pytorch\""),
        "'model_platform' must be",
    );
    refuse(&one("name: \"a\" name: \"b\""), "'name' is given twice");
    refuse(&one("name: 3"), "'name' must be a string");
    for label in [
        "",
        "key: \"a\"",
        "value: 1",
        "key: \"a\" value: 0",
        "key: \"a\" value: -1",
        "key: \"1\" value: 1",
        "key: \"a b\" value: 1",
    ] {
        let fields = format!("name: \"a\" base_path: \"/a\" version_labels {{ {label} }}");
        refuse(&one(&fields), "'version_labels' must have a key");
    }
    let twice = "config { name: \"a\" base_path: \"/a\" }".repeat(2);
    refuse(
        &format!("model_config_list {{ {twice} }}"),
        "model 'a': it is listed twice",
    );
}

#[test]
fn labels_of_a_message_are_checked_like_those_of_a_file() {
    let labels = |label: &str, version| labels_of([(label.to_owned(), version)]);
    assert_eq!(labels("a", 2).expect("legal")["a"].number(), 2);
    for (label, version) in [("", 1), ("a", 0), ("a", -1), ("1", 1), ("a b", 1)] {
        assert!(labels(label, version).is_err(), "{label} {version}");
    }
}
