//! Programs of the user's own that the trainer runs: what comes of one that
//! does as it is asked, and of one that does not.

use crate::place::{Place, table};
use crate::support::optional::{or_not_run, python, run};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

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

/// The processes whose command line holds a word.
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

#[test]
fn programs_that_misbehave_are_ended_and_told_of() {
    let place = Place::new();
    place.write("rows.csv", &table(400, 0.0));
    let other = models().join("wine/1/model.onnx").display().to_string();
    let predict = "i=0; echo label > out/predictions.csv; while [ $i -lt 80 ]; do echo yes >> out/predictions.csv; i=$((i+1)); done";
    for (line, more, why) in [
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
        ("true", "", "wrote no out/model.onnx"),
        (
            "echo nothing > out/model.onnx",
            "",
            "wrote no out/predictions.csv",
        ),
        (
            &format!("echo nothing > out/model.onnx; {predict}"),
            "",
            "ONNX",
        ),
        (
            &format!("cp '{other}' out/model.onnx; {predict}"),
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
            &format!("{predict}; ln -s /etc/passwd out/model.onnx"),
            "",
            "out/model.onnx is not a file",
        ),
        (
            &format!(
                "{predict}; echo x > out/model.onnx; echo '{{\"metric\": 1}}' > out/metrics.json"
            ),
            "",
            "out/metrics.json is malformed",
        ),
        (
            &format!("{predict}; head -c 3000000 /dev/zero > out/model.onnx"),
            "output_max = \"1MiB\"\n",
            "the training program",
        ),
    ] {
        let (code, said, error) = place.run(&shell(&place, line, more));
        assert!(
            code == 1 && error.contains(why),
            "{line}: {code} {said} {error}"
        );
    }
    let hungry = "python3 -c 'b = bytearray(1 << 30); print(len(b))' || exit 5";
    let (code, _, error) = place.run(&shell(&place, hungry, "memory_max = \"256MiB\"\n"));
    assert!(
        code == 1 && error.contains("MemoryError") && error.contains("exited with 5"),
        "{error}"
    );
    // More than fits an error is in the record.
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
    let (code, _, error) = place.run(&place.write(
        "train.toml",
        "[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\", \"at\"]\n[fit]\nalgorithm = \"command\"\n[fit.command]\nprogram = [\"no-such-program\"]\n",
    ));
    assert!(code == 1 && error.contains("cannot be started"), "{error}");
    assert_eq!(
        place.registry.run(&["show", "m"]).0,
        1,
        "nothing is published"
    );
}

#[test]
fn what_a_program_starts_says_and_sees_is_bounded() {
    let place = Place::new();
    place.write("rows.csv", &table(400, 0.0));
    // Left behind by two parents that are gone, in a session of its own, deaf to signals.
    let survivor = "86417.25";
    let line = format!(
        "(trap '' TERM HUP INT; setsid sh -c 'trap \"\" TERM; sleep {survivor}; true' &) ; exit 4"
    );
    let (code, _, error) = place.run(&shell(&place, &line, ""));
    assert!(code == 1 && error.contains("exited with 4"), "{error}");
    assert_eq!(running(survivor), 0, "it survives");

    let begun = Instant::now();
    let (code, _, error) = place.run(&shell(
        &place,
        "yes flood | head -c 300000000; echo the end; exit 4",
        "",
    ));
    assert!(code == 1 && error.contains("'the end'"), "{error}");
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );

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

    // A trainer that is killed leaves no program.
    let mark = "86418.75";
    let spec = shell(&place, &format!("sleep {mark}; true"), "");
    let mut child = crate::place::trainer()
        .arg("run")
        .arg(&spec)
        .args(["--registry", &place.registry.url()])
        .spawn()
        .expect("runs");
    let until = Instant::now() + Duration::from_secs(30);
    while running(mark) == 0 {
        assert!(Instant::now() < until, "it never runs");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    while running(mark) > 0 {
        assert!(Instant::now() < until, "it outlives the trainer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Copies the examples and runs one with a Python.
fn example(name: &str, python: &Path) -> (i32, Value, String, Place) {
    let place = Place::new();
    for entry in std::fs::read_dir(models().join("programs"))
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

    // Another program is another run; the same again is not.
    let (again, same, _) = place.run(&place.at("sklearn.toml"));
    assert_eq!((again, same["became"].clone()), (0, json!("equal")));
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
fn a_torch_model_is_published_where_torch_is() {
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
