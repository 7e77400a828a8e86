//! Training programs of the user: what the trainer publishes of one that keeps to the
//! contract, and how it ends and reports one that does not.

use crate::place::{Place, table};
use crate::support::eventually;
use crate::support::optional::{or_not_run, python, run};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A specification whose program is a line of shell.
fn shell(place: &Place, line: &str, more: &str) -> PathBuf {
    place.write("program.sh", line);
    place.write(
        "train.toml",
        &format!(
            "[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\", \"at\"]\n\
             [fit]\nalgorithm = \"command\"\n[fit.command]\nprogram = [\"sh\", \"program.sh\"]\nrows = \"csv\"\n{more}"
        ),
    )
}

fn models() -> PathBuf {
    crate::support::root().join("models")
}

/// How many processes have a word in their command line.
fn running(word: &str) -> usize {
    let of =
        |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let lines = std::fs::read_dir("/proc")
        .expect("processes")
        .flatten()
        .map(of);
    lines
        .filter(|line| {
            String::from_utf8_lossy(line)
                .replace('\0', " ")
                .contains(word)
        })
        .count()
}

fn place_with_rows() -> Place {
    let place = Place::new();
    place.write("rows.csv", &table(400, 0.0));
    place
}

/// Runs each line of shell as a training program; each must be refused with the reason,
/// and nothing be published.
fn check_refused(cases: &[(&str, &str, &str)]) {
    let place = place_with_rows();
    for (line, more, why) in cases {
        let (code, said, error) = place.run(&shell(&place, line, more));
        assert!(
            code == 1 && error.contains(why),
            "{line}: {code} {said} {error}"
        );
    }
    assert_eq!(
        place.registry.run(&["show", "m"]).0,
        1,
        "nothing is published"
    );
}

/// Writes a label for each row of the test part.
const PREDICT: &str = "i=0; echo label > out/predictions.csv; while [ $i -lt 80 ]; do echo yes >> out/predictions.csv; i=$((i+1)); done";

#[test]
fn a_program_that_fails_is_ended_and_its_exit_reported() {
    check_refused(&[
        (
            "sleep 1000",
            "deadline = \"1s\"\n",
            "ran over 1 s, 'deadline' in [fit.command]",
        ),
        (
            "echo the disk is full >&2; exit 4",
            "",
            "the training program (last output: 'the disk is full'): exited with 4",
        ),
        (
            "exit 75",
            "attempts = 2\n",
            "exited with 75 (try again) 2 times",
        ),
        ("kill -9 $$", "", "was killed by signal 9"),
    ]);
}

#[test]
fn outputs_that_are_missing_or_malformed_are_refused_by_name() {
    let other = models().join("wine/1/model.onnx").display().to_string();
    check_refused(&[
        ("true", "", "wrote no out/model.onnx"),
        (
            "echo nothing > out/model.onnx",
            "",
            "wrote no out/predictions.csv",
        ),
        (
            &format!("echo nothing > out/model.onnx; {PREDICT}"),
            "",
            "ONNX",
        ),
        (
            &format!("cp '{other}' out/model.onnx; {PREDICT}"),
            "",
            "the model has 13 input columns",
        ),
        (
            &format!("cp '{other}' out/model.onnx; echo value > out/predictions.csv"),
            "",
            "has no column 'label'",
        ),
        (
            &format!("cp '{other}' out/model.onnx; echo label > out/predictions.csv"),
            "",
            "has 0 rows; the test part has 80",
        ),
        (
            &format!("{PREDICT}; ln -s /etc/passwd out/model.onnx"),
            "",
            "out/model.onnx is not a file",
        ),
        (
            &format!(
                "{PREDICT}; echo x > out/model.onnx; echo '{{\"metric\": 1}}' > out/metrics.json"
            ),
            "",
            "out/metrics.json is malformed",
        ),
        (
            &format!("{PREDICT}; head -c 3000000 /dev/zero > out/model.onnx"),
            "output_max = \"1MiB\"\n",
            "the training program",
        ),
    ]);
}

#[test]
fn a_program_over_its_memory_limit_fails() {
    let place = place_with_rows();
    let hungry = "python3 -c 'b = bytearray(1 << 30); print(len(b))' || exit 5";
    let (code, _, error) = place.run(&shell(&place, hungry, "memory_max = \"256MiB\"\n"));
    assert!(
        code == 1 && error.contains("MemoryError") && error.contains("exited with 5"),
        "{error}"
    );
}

#[test]
fn the_record_of_a_run_holds_all_output_of_its_program() {
    let place = place_with_rows();
    let (code, _, _) = place.run(&shell(
        &place,
        "echo first of all; echo then >&2; exit 4",
        "",
    ));

    let list = run(crate::place::trainer().args([
        "runs",
        "m",
        "--json",
        "--registry",
        &place.registry.url(),
    ]))
    .expect("lists");
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let last = list
        .as_array()
        .and_then(|all| all.last())
        .cloned()
        .unwrap_or_default();
    assert_eq!(
        (code, last["record"]["said"].clone()),
        (1, json!("first of all\nthen\n"))
    );
}

#[test]
fn a_program_that_does_not_exist_is_reported() {
    let place = place_with_rows();
    let (code, _, error) = place.run(&place.write(
        "train.toml",
        "[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\", \"at\"]\n[fit]\nalgorithm = \"command\"\n[fit.command]\nprogram = [\"no-such-program\"]\n",
    ));
    assert!(code == 1 && error.contains("cannot be started"), "{error}");
}

#[test]
fn a_process_that_a_program_leaves_behind_is_ended() {
    let place = place_with_rows();
    // Its two parents have ended, it has a session of its own, and it ignores signals.
    let survivor = "86417.25";
    let line = format!(
        "(trap '' TERM HUP INT; setsid sh -c 'trap \"\" TERM; sleep {survivor}; true' &) ; exit 4"
    );
    let (code, _, error) = place.run(&shell(&place, &line, ""));
    assert!(code == 1 && error.contains("exited with 4"), "{error}");
    assert_eq!(running(survivor), 0, "it survives");
}

#[test]
fn a_flood_of_output_is_read_to_its_end() {
    let place = place_with_rows();
    // The deadline is only against a program that blocks on a full pipe.
    let (code, _, error) = place.run(&shell(
        &place,
        "yes flood | head -c 300000000; echo the end; exit 4",
        "deadline = \"120s\"\n",
    ));
    assert!(code == 1 && error.contains("'the end'"), "{error}");
}

#[test]
fn a_program_sees_only_the_environment_and_columns_it_is_given() {
    let place = place_with_rows();
    let seen = place.at("seen");
    let line = format!(
        "env > {0}; ls >> {0}; head -n 1 test.csv >> {0}; cat spec.json >> {0}; exit 4",
        seen.display()
    );
    let spec = shell(&place, &line, "env = [\"GIVEN\"]\n");

    let mut command = crate::place::trainer();
    command
        .arg("run")
        .arg(&spec)
        .args(["--registry", &place.registry.url()]);
    command
        .env("AWS_SECRET_ACCESS_KEY", "a secret")
        .env("GIVEN", "on purpose");
    assert_eq!(command.output().expect("runs").status.code(), Some(1));

    let seen = std::fs::read_to_string(seen).expect("seen");
    assert!(
        !seen.contains("a secret") && seen.contains("GIVEN=on purpose"),
        "{seen}"
    );
    assert!(
        seen.contains("age,income,colour\n"),
        "the target of the rows it is judged by is not handed over: {seen}"
    );
    assert!(seen.contains("\"classes\":[\"no\",\"yes\"]"), "{seen}");
}

#[test]
fn a_trainer_that_is_killed_leaves_no_program() {
    let place = place_with_rows();
    let mark = "86418.75";
    let spec = shell(&place, &format!("sleep {mark}; true"), "");
    let mut child = crate::place::trainer()
        .arg("run")
        .arg(&spec)
        .args(["--registry", &place.registry.url()])
        .spawn()
        .expect("runs");
    eventually("the program runs", || running(mark) > 0);

    child.kill().expect("killed");
    child.wait().expect("ended");
    eventually("the program ends", || running(mark) == 0);
}

/// Copies the examples and runs one with a Python.
fn example(name: &str, python: &Path) -> (i32, Value, String, Place) {
    let place = Place::new();
    for entry in std::fs::read_dir(crate::support::root().join("examples/programs"))
        .expect("examples")
        .flatten()
    {
        if entry.path().is_file() {
            std::fs::copy(
                entry.path(),
                place.at(entry.file_name().to_str().expect("text")),
            )
            .expect("copied");
        }
    }
    run(Command::new(python).arg(place.at("data.py"))).expect("data");
    let spec = place.at(name);
    let text = std::fs::read_to_string(&spec)
        .expect("text")
        .replace("\"python3\"", &format!("{python:?}"));
    std::fs::write(&spec, text).expect("written");
    let (code, said, error) = place.run(&spec);
    (code, said, error, place)
}

#[test]
fn a_scikit_learn_pipeline_is_published_and_served() {
    let Some(python) = or_not_run(
        "scikit-learn",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    let (code, said, error, place) = example("sklearn.toml", &python);
    assert_eq!(
        (code, said["became"].clone()),
        (0, json!("published")),
        "{said} {error}"
    );
    let metrics = &said["record"]["metrics"];
    assert!(
        metrics["accuracy"].as_f64().is_some_and(|a| a > 0.85),
        "{metrics}"
    );
    assert!(
        said["record"]["own_metrics"]["stop_log_loss"].is_number(),
        "{said}"
    );
    let code = said["record"]["code"].as_array().expect("code");
    assert_eq!(code.len(), 2, "the program and what it shares: {code:?}");

    check_served(&place);
    check_run_keys(&place);
    check_parity(&place);
}

fn check_served(place: &Place) {
    place.registry.does(&["promote", "tumours", "1"]);
    let server = place.registry.serve(&[]);
    let names = [
        "mean_radius",
        "mean_texture",
        "mean_perimeter",
        "mean_area",
        "mean_smoothness",
        "mean_compactness",
        "mean_concavity",
        "mean_concave_points",
        "mean_symmetry",
        "mean_fractal_dimension",
    ];
    let inputs = names.iter().map(|name| match *name {
        "mean_texture" => {
            json!({"name": name, "datatype": "BYTES", "shape": [1, 1], "data": ["fine"]})
        }
        _ => json!({"name": name, "datatype": "FP32", "shape": [1, 1], "data": [0.05]}),
    });

    let body = json!({"inputs": inputs.collect::<Vec<_>>()}).to_string();
    let answer = server.post("/v2/models/tumours/infer", body.as_bytes());
    assert!(
        answer.status == 200 && answer.text().contains("benign"),
        "{}",
        answer.text()
    );
}

/// The same program again is the same run.
fn check_run_keys(place: &Place) {
    let (again, same, _) = place.run(&place.at("sklearn.toml"));
    assert_eq!((again, same["became"].clone()), (0, json!("equal")));
}

/// Another program is another run. One whose scores are not those of its model fails the
/// parity gate.
fn check_parity(place: &Place) {
    let program = place.at("sklearn_logistic.py");
    let text = std::fs::read_to_string(&program).expect("text");
    let lying = text.replace(
        "leave(model.SerializeToString(), scores",
        "leave(model.SerializeToString(), scores[::-1]",
    );
    let lying = lying.replace("scores, {", "scores[::-1], {");
    std::fs::write(&program, lying).expect("written");

    let (code, said, error) = place.run(&place.at("sklearn.toml"));
    let gates = said["record"]["gates"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let parity = gates
        .iter()
        .find(|g| g["name"] == "parity")
        .cloned()
        .unwrap_or_default();
    assert_eq!(
        (code, parity["verdict"].clone()),
        (3, json!("fail")),
        "what it says is not what its model answers: {said} {error}"
    );
}

#[test]
fn a_pytorch_model_is_published_where_pytorch_is_installed() {
    let python = std::env::var("ORTUS_TEST_TORCH").unwrap_or_else(|_| "python3".to_owned());
    // Half a gigabyte is not fetched for one example.
    if let Err(reason) = run(Command::new(&python).args(["-c", "import torch, pyarrow, sklearn"])) {
        println!(
            "NOT RUN: PyTorch: {}; ORTUS_TEST_TORCH names a Python that has it",
            reason.lines().last().unwrap_or_default()
        );
        return;
    }
    let (code, said, error, _place) = example("torch.toml", Path::new(&python));
    assert_eq!(
        (code, said["became"].clone()),
        (0, json!("published")),
        "{said} {error}"
    );
    assert!(
        said["record"]["metrics"]["r2"]
            .as_f64()
            .is_some_and(|r| r > 0.2),
        "{said}"
    );
}
