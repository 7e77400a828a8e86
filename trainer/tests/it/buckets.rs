//! Rows and a registry in an S3 bucket.

use crate::place::{Place, table, trainer};
use crate::support::optional::or_not_run;
use crate::support::registry::S3;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A specification that learns from `source`.
fn spec(place: &Place, source: &str, more: &str) -> PathBuf {
    place.write(
            "train.toml",
            &format!(
                "[model]\nname = \"m\"\n[data]\n{more}\n[data.sources]\nrows = \"{source}\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n[fit.trees]\nrounds_max = 10\n"
            ),
        )
}

/// Runs a specification with its registry in the bucket.
fn run(s3: &S3, spec: &Path) -> (i32, Value, String) {
    let mut command = trainer();
    command
        .arg("run")
        .arg(spec)
        .args(["--registry", "s3://bucket/registry", "--json"])
        .envs(s3.env());
    let output = command.output().expect("runs");
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (
        output.status.code().expect("an exit code"),
        said,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Uploads the table in two objects.
fn upload(s3: &S3, lines: &[&str]) {
    for (at, part) in [&lines[1..500], &lines[500..]].into_iter().enumerate() {
        let body = format!("{}\n{}\n", lines[0], part.join("\n"));
        let put = crate::support::http(
            &format!("127.0.0.1:{}", s3.port),
            "PUT",
            &format!("/bucket/lake/part-{at}.csv"),
            &[],
            body.as_bytes(),
        );
        assert_eq!(put.status, 200);
    }
}

#[test]
fn rows_come_from_a_bucket_and_the_registry_may_be_one() {
    let Some(s3) = or_not_run("an S3 server", crate::support::registry::S3::start()) else {
        return;
    };
    let place = Place::new();
    let text = table(1_200, 0.0);
    let lines: Vec<&str> = text.lines().collect();
    upload(&s3, &lines);

    let (code, said, error) = run(&s3, &spec(&place, "s3://bucket/lake", ""));
    assert_eq!(
        (code, said["became"].clone()),
        (0, json!("published")),
        "{said} {error}"
    );
    let files = said["record"]["data"]["sources"][0]["files"]
        .as_array()
        .expect("files")
        .clone();
    assert_eq!(
        (files.len(), said["record"]["data"]["rows"].clone()),
        (2, json!(1_200)),
        "{files:?}"
    );

    // The same rows from a folder are the same run.
    write_folder(&place, &lines);
    let (code, same, error) = run(&s3, &spec(&place, "lake", ""));
    assert_eq!(
        (code, same["became"].clone()),
        (0, json!("equal")),
        "{same} {error}"
    );

    check_refused_sources(&s3, &place);
}

/// Writes the table in two files of the folder `lake`.
fn write_folder(place: &Place, lines: &[&str]) {
    place.write(
        "a.csv",
        &format!("{}\n{}\n", lines[0], lines[1..500].join("\n")),
    );
    std::fs::create_dir(place.at("lake")).expect("a folder");
    std::fs::rename(place.at("a.csv"), place.at("lake/a.csv")).expect("moved");
    std::fs::write(
        place.at("lake/b.csv"),
        format!("{}\n{}\n", lines[0], lines[500..].join("\n")),
    )
    .expect("written");
}

fn check_refused_sources(s3: &S3, place: &Place) {
    let (code, _, error) = run(
        s3,
        &spec(place, "s3://bucket/lake/part-1.csv", "rows_min = 5000"),
    );
    assert!(
        code == 1 && error.contains("rows_min"),
        "one object alone: {error}"
    );

    let (code, _, error) = run(s3, &spec(place, "s3://bucket/nothing", ""));
    assert!(code == 1 && error.contains("holds no Parquet"), "{error}");

    let (code, _, error) = run(
        s3,
        &spec(
            place,
            "s3://bucket/lake",
            "staged_max = \"1MiB\"\nrows_min = 2000",
        ),
    );
    assert!(code == 1 && error.contains("rows_min"), "{error}");
}
