//! Data that break what was seen before: a target that turns to text far down, a query that explodes, a file that
//! grows while it is read. Each ends with the place and a way out, and nothing is published.

use crate::place::{Place, noise};
use std::fmt::Write;
use std::io::Write as _;

fn refused(place: &Place, spec: &str) -> String {
    let (code, said, error) = place.run(&place.write("train.toml", spec));
    assert_eq!(code, 1, "{said} {error}");
    assert!(
        !place.registry.store().join("ns/default/log").exists(),
        "nothing is pushed"
    );
    error
}

const SPEC: &str =
    "[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"y\"\n";

#[test]
fn a_target_that_turns_to_text_in_row_150_000_is_named_with_its_line() {
    let place = Place::new();
    let mut text = "x,y\n".to_owned();
    for row in 0..160_000 {
        let y = if row == 149_999 {
            "oops".to_owned()
        } else {
            format!("{:.2}", 100.0 * noise(row, 2))
        };
        writeln!(text, "{:.4},{y}", noise(row, 1)).expect("text");
    }
    place.write("rows.csv", &text);
    let regression = refused(&place, &format!("{SPEC}task = \"regression\"\n"));
    for part in [
        "'y' holds text, but the task is regression",
        "words because of 'oops' (line 150001) in 1 of 160000 rows",
    ] {
        assert!(regression.contains(part), "{regression}");
    }
    let classes = refused(&place, SPEC);
    assert!(
        classes.contains("classes, over 64") && classes.contains("(line 150001)"),
        "{classes}"
    );
}

#[test]
fn a_query_that_explodes_ends_at_its_limit() {
    let place = Place::new();
    let rows: String = (0..3_000)
        .map(|row| format!("{:.4},{}\n", noise(row, 1), row % 2))
        .collect();
    place.write("rows.csv", &format!("x,y\n{rows}"));
    let with =
        |data: &str| SPEC.replace("[data.sources]", &format!("[data]\n{data}\n[data.sources]"));
    let cross =
        "sql = \"SELECT a.x, b.x AS z, c.y FROM rows a CROSS JOIN rows b CROSS JOIN rows c\"";
    let many = refused(&place, &with(&format!("{cross}\nrows_max = 100000")));
    assert!(many.contains("rows_max"), "{many}");
    let large = refused(&place, &with(&format!("{cross}\nmemory_max = \"16MiB\"")));
    assert!(large.contains("memory_max"), "{large}");
}

#[test]
fn a_file_that_grows_while_it_is_read_is_refused() {
    let place = Place::new();
    let row = |row: usize| format!("{:.4},{}\n", noise(row, 1), row % 2);
    let rows: String = (0..400_000).map(row).collect();
    let file = place.write("rows.csv", &format!("x,y\n{rows}"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            let open = std::fs::OpenOptions::new().append(true).open(&file);
            let mut growing = open.expect("the file");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                growing.write_all(b"0.5,1\n").expect("written");
                std::thread::yield_now();
            }
        });
        let error = refused(&place, SPEC);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        error
    });
    assert!(
        error.contains("rows.csv: changed while it was read"),
        "{error}"
    );
}
