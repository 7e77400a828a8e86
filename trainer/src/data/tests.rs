//! Tests of `data`: rows read from files and queries, and what is refused.

mod dates;
mod files;
mod objectives;

use super::super::frame::FrameValues;
use super::super::spec::Spec;
use super::*;
use crate::frame::WordCodes;
use crate::values::Values;
use ortus::core::settings::section::SettingSection;
use std::path::Path;

fn spec(folder: &Path, source: &str, more: &[(&str, &str)]) -> Spec {
    let mut spec = Spec {
        folder: folder.to_owned(),
        ..Spec::default()
    };
    spec.sources.0.insert("rows".to_owned(), source.to_owned());
    spec.schema.target = "y".to_owned();
    spec.data.rows_min = 2;
    for (key, value) in more {
        let value = toml::Value::String((*value).to_owned());
        let set = spec.schema.set(key, &value).and_then(|known| {
            if known {
                Ok(true)
            } else {
                spec.data.set(key, &value)
            }
        });
        assert_eq!(set, Ok(true), "{key}");
    }

    spec
}

fn run(spec: &Spec) -> Result<Rows> {
    ortus::testing::block_on(read(spec, &Reach::files()))
}

fn of(text: &str, more: &[(&str, &str)]) -> Result<Rows> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rows.csv"), text).expect("written");
    run(&spec(folder.path(), "rows.csv", more))
}

fn refused(text: &str, more: &[(&str, &str)]) -> String {
    match of(text, more) {
        Err(error) => error.message,
        Ok(_) => panic!("taken: {text}"),
    }
}

/// The words of a column.
fn words(rows: &Rows, column: usize) -> Option<&WordCodes> {
    match &rows.frame.columns[column].values {
        FrameValues::Words(words) => Some(words),
        FrameValues::Numbers(_) => None,
    }
}

#[test]
fn columns_beyond_the_limit_of_memory_lie_in_files_and_are_the_same() {
    let line = |row: usize| {
        let word = ["red", "", "blue"][row % 3];
        let account = 490_000_000_000_u64 + row as u64;
        format!("{},{word},{account},{}\n", row as f64 / 8.0, row % 2)
    };
    let text: String = std::iter::once("x,colour,account,y\n".to_owned())
        .chain((0..70_000).map(line))
        .collect();
    let held = of(&text, &[]).expect("reads");
    let filed = of(&text, &[("columns_memory_max", "0B")]).expect("reads");
    assert!(
        matches!(filed.frame.sources[0].values, Values::File(_)),
        "an input in FP64"
    );
    assert!(matches!(
        words(&filed, 1),
        Some(WordCodes {
            codes: Values::File(_),
            ..
        })
    ));
    assert_eq!(filed.frame, held.frame);
    assert_eq!(filed.target, held.target);
}

#[test]
fn columns_are_encoded_as_the_served_model_receives_them() {
    let rows = of(
        "a,c,at,y\n1.5,red,2026-01-01T00:00:00,no\n,,2026-01-02T00:00:00,yes\n3,blue,2026-01-03T00:00:00,\n",
        &[("time", "at")],
    );
    let rows = rows.expect("reads");
    assert_eq!(rows.len(), 2, "one has no target");
    assert!(
        rows.notes[0].contains("1 row without a target"),
        "{:?}",
        rows.notes
    );

    let FrameValues::Numbers(a) = &rows.frame.columns[0].values else {
        panic!("numbers")
    };
    assert!(a[0] == 1.5 && a[1].is_nan());
    assert_eq!(
        words(&rows, 1).map(|w| (w.get(0), w.get(1))),
        Some((Some("red"), None))
    );
    assert_eq!(
        rows.target,
        RowTarget::Classes {
            of: vec![0, 1],
            names: vec!["no".to_owned(), "yes".to_owned()]
        }
    );

    assert_eq!(
        rows.time,
        Some(vec![1_767_225_600_000_000, 1_767_312_000_000_000])
    );
    assert_eq!(rows.manifest.rows, 3);
}

#[test]
fn a_query_may_join_and_compute_but_not_write() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.csv"), "id,x\n1,10\n2,20\n3,30\n").expect("written");
    std::fs::create_dir(folder.path().join("b")).expect("made");
    std::fs::write(
        folder.path().join("b/1.jsonl"),
        "{\"id\":1,\"y\":0.5}\n{\"id\":2,\"y\":1.25}\n",
    )
    .expect("written");

    std::fs::write(folder.path().join("b/2.jsonl"), "{\"id\":3,\"y\":2.5}\n").expect("written");
    let mut spec = spec(
        folder.path(),
        "a.csv",
        &[(
            "sql",
            "SELECT rows.x / 10 AS x, b.y FROM rows JOIN b ON rows.id = b.id ORDER BY rows.id",
        )],
    );

    spec.sources.0.insert("b".to_owned(), "b".to_owned());
    let rows = run(&spec).expect("reads");
    assert_eq!(rows.target, RowTarget::Values(vec![0.5, 1.25, 2.5]));
    assert_eq!(
        rows.frame.columns[0].values,
        FrameValues::Numbers(vec![1.0, 2.0, 3.0].into())
    );
    assert_eq!(rows.manifest.sources[0].files.len(), 2);
    let same = rows.manifest.digest();
    assert_eq!(run(&spec).expect("reads").manifest.digest(), same);
    std::fs::write(folder.path().join("b/2.jsonl"), "{\"id\":3,\"y\":2.75}\n").expect("written");
    assert_ne!(
        run(&spec).expect("reads").manifest.digest(),
        same,
        "different data"
    );

    let said = |sql: &str| {
        let mut spec = spec.clone();
        spec.data.sql = Some(sql.to_owned());
        run(&spec).err().map(|e| e.message).unwrap_or_default()
    };

    assert!(said("SELEC 1").contains("the query:"));
    assert!(said("SELECT z FROM rows").contains("the query:"));
    assert!(said("DROP TABLE rows").contains("the query:"));
    assert!(said("COPY rows TO '/tmp/x.csv'").contains("the query:"));
    assert!(said("SELECT x, x + 1 AS x, 1 AS y FROM rows").contains("the query:"));
    assert!(
        said("SELECT a.x, b.x AS y FROM rows a, rows b WHERE a.id < 0").contains("no row has"),
        "it answers nothing"
    );
    let mut wide = spec.clone();
    wide.data.rows_max = 1_000;
    wide.data.sql = Some(
        "SELECT a.value AS x, b.value AS y FROM generate_series(1, 3000) a, generate_series(1, 3000) b".to_owned(),
    );
    assert!(run(&wide).is_err_and(|e| e.message.contains("rows_max")));
}

#[test]
fn files_of_different_columns_are_refused_with_the_difference() {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("1.csv", "a,y\n1,0\n2,1\n");
    write("2.csv", "a,y\n1.5,0\n2,1\n");
    assert_eq!(
        run(&spec(folder.path(), ".", &[]))
            .expect("whole numbers and others")
            .len(),
        4
    );

    write("3.csv", "a,z\n1,0\n");
    let said = run(&spec(folder.path(), ".", &[]))
        .err()
        .expect("differs")
        .message;
    assert!(
        said.contains("3.csv differ: only the first has the column 'y'"),
        "{said}"
    );

    write("3.csv", "a,y\nred,0\n");
    // Types are those of all rows.
    let mixed = run(&spec(folder.path(), ".", &[])).expect("words");
    assert_eq!(words(&mixed, 0).map(|w| w.get(4)), Some(Some("red")));
    let notes = mixed.notes.join("\n");
    assert!(
        notes.contains("'a': it is words because of 'red' (")
            && notes.contains("3.csv, line 2) in 1 of 5 rows"),
        "{notes}"
    );

    write("4.jsonl", "{}");
    assert!(
        run(&spec(folder.path(), ".", &[]))
            .is_err_and(|e| e.message.contains("must all be Parquet"))
    );
    assert!(
        run(&spec(folder.path(), "absent.csv", &[]))
            .is_err_and(|e| e.message.contains("cannot be read"))
    );
}

#[test]
fn a_target_that_cannot_be_learned_is_refused() {
    assert!(refused("a,y\n1,x\n2,x\n", &[]).contains("training needs two classes"));
    assert!(refused("a,b\n1,2\n", &[]).contains("no column 'y', the target; it has a, b"));
    assert!(refused("y\n1\n2\n", &[]).contains("no feature column"));
    assert!(refused("label,y\n1,0\n2,1\n", &[]).contains("the feature name 'label' is reserved"));
    assert!(
        refused("a,y\n1,0.5\n2,1\n", &[("task", "classification")])
            .contains("which is not a class")
    );
    assert!(refused("a,y\n1,red\n2,blue\n", &[("task", "regression")]).contains("holds text"));
    assert!(
        refused("a,y\n1,1e300\n2,1\n", &[("task", "regression")])
            .contains("beyond the range of FP32")
    );
    assert!(refused("a,y\n1,\n2,\n3,0\n4,1\n5,\n", &[]).contains("3 of 5 rows have no 'y'"));
    assert!(
        refused("a,at,y\n1,2026-01-01T00:00:00,0\n2,,1\n", &[("time", "at")])
            .contains("1 of 2 rows have no 'at', the time")
    );
    assert!(
        refused("at,y\n2026-01-01T00:00:00,0\n2026-01-01T00:00:00,1\n", &[])
            .contains("is a time, which is no feature as it is")
    );
    assert!(refused("", &[]).contains("rows.csv"));
    let few = of("a,y\n1,3\n2,4\n3,3\n", &[]).expect("reads");
    assert_eq!(
        few.target.classes().map(<[String]>::len),
        Some(2),
        "few whole numbers are classes"
    );

    let many: String = (0..40).map(|i| format!("{i},{i}\n")).collect();
    assert!(
        of(&format!("a,y\n{many}"), &[])
            .expect("reads")
            .target
            .classes()
            .is_none()
    );
}

#[test]
fn quotes_and_control_characters_in_data_are_only_text() {
    let rows = of(
        "\u{feff}a,\"b,c\",y\n1,\"he said \"\"no\"\"\",0\n2,\"a\nb\",1\n",
        &[],
    )
    .expect("reads");

    let names: Vec<&str> = rows.frame.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "b,c"]);
    assert_eq!(
        words(&rows, 1).and_then(|w| w.get(0)),
        Some("he said \"no\"")
    );
    assert_eq!(words(&rows, 1).and_then(|w| w.get(1)), Some("a\nb"));
}

#[test]
fn misleading_rows_are_refused_before_the_fit() {
    let now = chrono::DateTime::from_timestamp(1_767_312_000, 0).expect("a time");
    let look = |rows: &Rows, spec: &Spec| check::check(spec, rows, now).map_err(|e| e.message);
    let folder = tempfile::tempdir().expect("a folder");
    let mut spec = spec(folder.path(), "rows.csv", &[]);
    let text: String = (0..300)
        .map(|i| format!("{},{},{}\n", (i * 7919) % 101, (i * 31) % 17, i % 2))
        .collect();
    let good = of(&format!("a,b,y\n{text}"), &[]).expect("reads");
    assert_eq!(look(&good, &spec), Ok(Vec::new()));
    spec.data.rows_min = 1_000;
    assert!(look(&good, &spec).is_err_and(|e| e.contains("300 rows")));
    spec.data.rows_min = 2;
    let leak: String = (0..300)
        .map(|i| {
            format!(
                "{},{},{}\n",
                (i * 7919) % 101,
                f64::from(i % 2) * 3.0 + f64::from(i) / 1e4,
                i % 2
            )
        })
        .collect();
    let leak = of(&format!("a,b,y\n{leak}"), &[]).expect("reads");

    assert!(look(&leak, &spec).is_err_and(|e| e.contains("'b' alone predicts the target")));
    let one: String = (0..4_000)
        .map(|i| format!("{},{},{}\n", i, if i == 77 { "USD" } else { "EUR" }, i % 2))
        .collect();
    let one = of(&format!("a,b,y\n{one}"), &[]).expect("reads");
    assert!(
        look(&one, &spec).is_ok(),
        "one category of nearly all rows tells nothing"
    );
    let twice: String = (0..300)
        .map(|i| format!("{},1,{}\n", i % 50, i % 2))
        .collect();
    let twice = of(&format!("a,b,y\n{twice}"), &[]).expect("reads");
    assert!(look(&twice, &spec).is_err_and(|e| e.contains("250 of 300 rows are duplicates")));
    spec.data.duplicates_max = 1.0;
    let notes = look(&twice, &spec).expect("allowed");
    assert!(
        notes.iter().any(|n| n == "'b' has one value in all rows"),
        "{notes:?}"
    );
    let mut timed = of(&format!("a,b,y\n{text}"), &[]).expect("reads");
    timed.time = Some(vec![1_767_400_000_000_000; 300]);
    assert!(look(&timed, &spec).is_err_and(|e| e.contains("300 rows have a time in the future")));
    timed.time = Some(vec![1_767_312_005_000_000; 300]);
    spec.data.age_max = Some(std::time::Duration::from_secs(3_600));
    assert!(
        look(&timed, &spec).is_ok(),
        "a clock that is a little ahead"
    );
    timed.time = Some(vec![1_767_000_000_000_000; 300]);
    spec.data.age_max = Some(std::time::Duration::from_secs(3_600));
    assert!(look(&timed, &spec).is_err_and(|e| e.contains("age_max")));
}

/// What was known of customers, and what is to be predicted of them.
fn joined(lag: &str, within: &str, more: &str) -> Result<Rows> {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write(
        "calls.csv",
        "who,day,y\n1,2026-01-10T00:00:00,1\n2,2026-01-10T00:00:00,0\n1,2026-01-20T00:00:00,0\n,2026-01-20T00:00:00,1\n3,2026-01-05T00:00:00,1\n",
    );

    write(
        "balances.csv",
        "who,known,amount,kind\n1,2026-01-15T00:00:00,150,b\n1,2026-01-01T00:00:00,100,a\n1,2026-01-10T00:00:00,110,c\n2,2026-01-11T00:00:00,200,d\n,2026-01-01T00:00:00,999,e\n3,2025-11-01T00:00:00,300,f\n",
    );
    let text = format!(
        "[model]\nname = \"m\"\n[data]\nrows_min = 2\n[data.sources]\ncalls = \"calls.csv\"\nbalances = \"balances.csv\"\n\
         [data.joins.balances]\non = [\"who\"]\ntime = \"known\"\n{lag}{within}[schema]\ntarget = \"y\"\ntime = \"day\"\nignore = [\"who\"]\n{more}"
    );
    let spec = Spec::parse("train.toml", &text)?;
    run(&Spec {
        folder: folder.path().to_owned(),
        ..spec
    })
}

#[test]
fn a_row_is_joined_with_values_known_at_its_time() {
    let amounts = |lag: &str, within: &str| -> Vec<Option<f32>> {
        let rows = joined(lag, within, "").expect("joins");
        let names: Vec<&str> = rows.frame.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["balances_amount", "balances_kind"]);
        let FrameValues::Numbers(all) = &rows.frame.columns[0].values else {
            panic!("numbers")
        };
        all.iter()
            .map(|v| Some(*v).filter(|v| !v.is_nan()))
            .collect()
    };

    let (a, b, c, f) = (Some(100.0), Some(110.0), Some(150.0), Some(300.0));
    // The order of the query; what is known at the very moment counts, what comes later and what is nobody's does not.
    assert_eq!(amounts("", ""), [b, None, c, None, f]);
    assert_eq!(amounts("lag = \"1s\"\n", ""), [a, None, c, None, f]);
    assert_eq!(amounts("lag = \"6d\"\n", ""), [a, None, b, None, f]);
    assert_eq!(amounts("", "within = \"30d\"\n"), [b, None, c, None, None]);
    let refused = |text: &str, why: &str| {
        let error = match joined("", "", text) {
            Err(error) => error.message,
            Ok(_) => panic!("taken: {text}"),
        };
        assert!(error.contains(why), "{error}");
    };

    refused(
        "[data.joins.nothing]\non = [\"who\"]\ntime = \"known\"\n",
        "no source of that name",
    );
    refused(
        "[data.joins.calls]\non = [\"whom\"]\ntime = \"day\"\n",
        "'sql' in [data] is missing",
    );
    refused("[data.joins.more]\nonn = [\"who\"]\n", "did you mean 'on'");
}
