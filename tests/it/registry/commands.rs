//! The registry's commands on the command line.

use crate::support::registry::{Registry, files};
use ortus::testing::graphs;
use std::path::Path;

#[test]
fn commands_report_what_they_did_or_why_not() {
    let registry = Registry::new();
    check_push_and_promotion(&registry);
    check_refusals(&registry);
    check_four_eyes(&registry);
    check_pull(&registry);
}

fn check_push_and_promotion(registry: &Registry) {
    assert!(
        registry
            .refuses(&["list"])
            .contains("find the registry's folder")
    );
    assert_eq!(registry.push("m", 1.0), "1");
    assert_eq!(
        registry.push("m", 1.0),
        "1",
        "the same again is the same version"
    );
    let json: serde_json::Value =
        serde_json::from_str(&registry.does(&["promote", "m", "1", "--json"])).expect("JSON");
    assert_eq!(
        (&json["name"], &json["version"], &json["seq"]),
        (&"m".into(), &1.into(), &2.into())
    );
}

fn check_refusals(registry: &Registry) {
    assert!(
        registry
            .refuses(&["rollback", "m"])
            .contains("no champion before")
    );
    assert!(
        registry
            .refuses(&["promote", "m", "7"])
            .contains("no version or alias '7'")
    );
    assert!(
        registry
            .refuses(&["promote", "q", "1"])
            .contains("no model 'q'")
    );
    assert!(
        registry
            .refuses(&["push", "../m", "x"])
            .contains("model name")
    );
    assert!(
        registry
            .refuses(&["push", "m", "/nonexistent"])
            .contains("cannot be read")
    );

    let text = registry.0.path().join("text.onnx");
    std::fs::write(&text, "not a model").expect("written");
    assert!(
        registry
            .refuses(&["push", "m", text.to_str().expect("text")])
            .contains("not an ONNX model")
    );
}

/// A promotion under a policy of one approval.
fn check_four_eyes(registry: &Registry) {
    registry.does(&["policy", "--approvals", "1"]);
    registry.push("m", 2.0);
    let (code, _, err) = registry.run(&["promote", "m", "2"]);
    assert_eq!((code, err.lines().count()), (4, 1), "{err}");

    registry.does(&[
        "approve",
        "m",
        "2",
        "--actor",
        "somebody else",
        "--reason",
        "looked at it",
    ]);
    registry.does(&["promote", "m", "2"]);

    let history: serde_json::Value =
        serde_json::from_str(&registry.does(&["history", "m", "--json"])).expect("JSON");
    let last = history.as_array().and_then(|h| h.last()).expect("an entry");
    assert_eq!(
        (&last["champion"], &last["did"][0]),
        (
            &2.into(),
            &"promoted version 2 to champion in place of version 1".into()
        )
    );
}

fn check_pull(registry: &Registry) {
    assert!(registry.does(&["list"]).contains("m"));
    let folder = registry.0.path().join("pulled");
    registry.does(&["pull", "m:1", "-o", folder.to_str().expect("text")]);
    assert_eq!(
        std::fs::read(folder.join("model.onnx")).expect("pulled"),
        graphs::demanding(1.0)
    );
    assert!(
        registry
            .refuses(&["pull", "m:1", "-o", folder.to_str().expect("text")])
            .contains("exists already")
    );
}

#[test]
fn versions_travel_in_bundles_and_from_model_directories() {
    let (here, there) = (Registry::new(), Registry::new());
    let models = crate::support::models_folder();
    let digits = models.join("digits");
    let (card, source) = (digits.join("README.md"), digits.join("1"));
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    here.does(&[
        "push",
        "digits",
        &text(&source),
        "--card",
        &text(&card),
        "--tag",
        "team=vision",
        "--licence",
        "MIT",
    ]);
    here.does(&["promote", "digits", "1"]);

    let bundle = here.0.path().join("bundle");
    here.does(&["export", "digits", "-o", &text(&bundle)]);
    assert!(bundle.join("oci-layout").is_file() && bundle.join("index.json").is_file());

    assert_eq!(there.does(&["import", &text(&bundle)]), "digits:1");
    assert_eq!(
        there.does(&["import", &text(&bundle)]),
        "digits:1",
        "the same again is the same version"
    );
    let manifest = |registry: &Registry| {
        let shown: serde_json::Value =
            serde_json::from_str(&registry.does(&["show", "digits:1", "--json"])).expect("JSON");
        (shown["digest"].clone(), shown["manifest"].clone())
    };
    assert_eq!(
        manifest(&here),
        manifest(&there),
        "a version is the same wherever it goes"
    );

    check_damaged_bundle(&bundle);
    check_model_directory(&there);
}

/// Each blob of a bundle is checked by its digest.
fn check_damaged_bundle(bundle: &Path) {
    let mut all = Vec::new();
    files(&bundle.join("blobs"), &mut all);
    for path in all {
        let good = std::fs::read(&path).expect("read");
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        std::fs::write(&path, &bad).expect("damaged");
        let third = Registry::new();
        assert_eq!(
            third.run(&["import", bundle.to_str().expect("text")]).0,
            1,
            "{}",
            path.display()
        );
        std::fs::write(&path, &good).expect("written back");
    }
}

/// A directory laid out as for Triton and TensorFlow Serving is imported too.
fn check_model_directory(there: &Registry) {
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let directory = crate::support::Directory::empty();
    directory.put("wine", 3, &crate::support::model_file("wine", "1"));
    directory.put("wine", 7, &crate::support::model_file("wine", ".next"));
    directory.put("digits", 1, &crate::support::model_file("digits", ".next"));
    let imported = there.does(&["import", &text(directory.path())]);
    assert_eq!(
        imported.lines().collect::<Vec<_>>(),
        ["digits:2", "wine:1", "wine:2"]
    );

    let neither = crate::support::models_folder().join("wine/1");
    assert!(
        there
            .refuses(&["import", &text(&neither)])
            .contains("neither a bundle nor a model directory")
    );
}

#[test]
fn a_model_that_mlflow_saved_is_pushed_with_its_columns_and_its_run() {
    let registry = Registry::new();
    let folder = registry.0.path().join("saved");
    std::fs::create_dir(&folder).expect("made");
    let description = include_str!("../../../src/registry/commands/mlflow/MLmodel-3.17.2");
    std::fs::write(folder.join("MLmodel"), description).expect("written");
    std::fs::write(
        folder.join("model.onnx"),
        crate::support::model_file("wine", "1"),
    )
    .expect("written");
    std::fs::write(folder.join("requirements.txt"), "mlflow==3.17.2\n").expect("written");
    let folder = folder.to_str().expect("text");
    assert_eq!(
        registry.does(&["push", "wine", "--from-mlflow", folder]),
        "1"
    );
    assert_eq!(
        registry.does(&["push", "wine", "--from-mlflow", folder]),
        "1",
        "the same again"
    );

    let shown: serde_json::Value =
        serde_json::from_str(&registry.does(&["show", "wine:1", "--json"])).expect("JSON");
    let manifest = &shown["manifest"];
    assert_eq!(
        (&manifest["features"][0], &manifest["features"][12]),
        (&"alcohol".into(), &"proline".into())
    );
    assert_eq!(
        manifest["lineage"]["mlflow"]["run_id"],
        "f99b1f50d2d343bdbeb2a29ff7318b84"
    );
    let files = manifest["files"].as_array().expect("files");
    assert!(
        files.iter().any(|f| f["path"] == "requirements.txt"),
        "the environment comes with it"
    );

    let other = ["push", "wine", "--from-mlflow", folder, "--features", "a,b"];
    assert_eq!(registry.does(&other), "2", "what is given goes first");
    std::fs::write(
        registry.0.path().join("saved/MLmodel"),
        "flavors: {sklearn: {}}",
    )
    .expect("written");
    assert!(
        registry
            .refuses(&["push", "wine", "--from-mlflow", folder])
            .contains("no flavour `onnx`")
    );
    assert_eq!(registry.run(&["push", "wine"]).0, 2, "misuse");
}

#[test]
fn an_auditor_reads_who_promoted_a_version_and_how_it_was_made() {
    let registry = Registry::new();
    promote_twice_and_roll_back(&registry);
    check_report(&registry);
    check_html_report(&registry);

    let until = registry.does(&["audit", "report", "--until", "2020-01-01"]);
    assert!(until.contains("0 changes"));
    let made: serde_json::Value =
        serde_json::from_str(&registry.does(&["lineage", "m:2", "--json"])).expect("JSON");
    assert_eq!(
        (&made[0]["lineage"]["code"], &made[1]["version"]),
        (&"c0de".into(), &1.into())
    );
}

fn promote_twice_and_roll_back(registry: &Registry) {
    let file = |name: &str, text: &str| {
        let path = registry.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let lineage = file(
        "lineage.json",
        r#"{"data":"sha256:da7a","code":"c0de","seed":7}"#,
    );
    let metrics = file("metrics.json", r#"{"auc":0.91}"#);

    registry.push("m", 1.0);
    registry.does(&[
        "promote",
        "m",
        "1",
        "--actor",
        "ann",
        "--reason",
        "the first",
    ]);

    let model = registry.0.path().join("two.onnx");
    std::fs::write(&model, graphs::demanding(2.0)).expect("written");
    let model = model.to_str().expect("text");
    registry.does(&[
        "push",
        "m",
        model,
        "--parent",
        "1",
        "--lineage",
        &lineage,
        "--metrics",
        &metrics,
        "--actor",
        "eve",
    ]);

    registry.does(&[
        "promote",
        "m",
        "2",
        "--actor",
        "bob",
        "--reason",
        "better *everywhere*",
    ]);
    registry.does(&["rollback", "m", "--actor", "cyd", "--reason", "worse"]);
}

fn check_report(registry: &Registry) {
    let report = registry.does(&["audit", "report"]);
    for part in [
        "3 changes",
        "promoted to version 2 (version 1 before)",
        "who: bob",
        "better \\*everywhere\\*",
        "pushed by eve",
        "auc",
        "measured",
        "rolled back to version 1",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

/// Reasons that people write are escaped.
fn check_html_report(registry: &Registry) {
    registry.does(&[
        "promote",
        "m",
        "2",
        "--reason",
        "<script>alert(1)</script> & \"more\"",
    ]);

    let page = registry.does(&["audit", "report", "--html"]);
    for part in [
        "<h2>m: rolled back to version 1",
        "<dd>worse</dd>",
        "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script"), "what people wrote is not markup");
}
