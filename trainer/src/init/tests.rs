//! Tests of `init`: what is understood of rows, and that what is written reads them as it was tried.

mod outcome;

use super::*;
use crate::data;
use chrono::{TimeZone, Utc};

/// The time at which tests run.
fn reach() -> Reach {
    let now = Utc.with_ymd_and_hms(2026, 6, 1, 0, 0, 0).single();
    Reach {
        now: now.expect("a time"),
        ..Reach::files()
    }
}

fn noise(row: usize, of: u64) -> f64 {
    (crate::random::mix(of, row as u64) >> 11) as f64 / (1_u64 << 53) as f64
}

/// What `init` makes of a text.
fn first(text: &str, format: Option<TextFormat>) -> Result<FirstSpec> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, text).expect("written");
    let request = InitRequest {
        at: path.display().to_string(),
        target: "y".to_owned(),
        sql: None,
        format,
    };
    let made = ortus::testing::block_on(init(&request, &reach()))?;
    // What was tried is what a run reads.
    let spec = Spec::parse("train.toml", &made.text).expect("a specification");
    let rows = ortus::testing::block_on(data::read(&spec, &reach())).expect("is read");
    data::check::check(&spec, &rows, reach().now).expect("is trained on");
    crate::split::split(&spec, &rows).expect("is split");
    let features = rows.frame.columns.len();
    let read = format!(
        "from {} of {}",
        counted(features, "feature"),
        counted(rows.len(), "row")
    );
    assert!(
        made.understood.plan.contains(&read),
        "{} is not {read}",
        made.understood.plan
    );
    Ok(made)
}

/// Rows of a number that tells something of the target, and of columns made of the row's number.
fn table(rows: usize, columns: &[(&str, &dyn Fn(usize) -> String)]) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut text = format!("x,{},y\n", names.join(","));
    for row in 0..rows {
        let x = noise(row, 1);
        let y = if x + 0.5 * noise(row, 2) > 0.7 {
            "yes"
        } else {
            "no"
        };
        let cells: Vec<String> = columns.iter().map(|(_, cell)| cell(row)).collect();
        text.push_str(&format!("{x:.3},{},{y}\n", cells.join(",")));
    }
    text
}

fn say(made: &FirstSpec, parts: &[&str]) {
    let said: Vec<String> = made
        .understood
        .remarks
        .iter()
        .map(|remark| format!("{} → {}", remark.what, remark.way_out))
        .collect();
    let said = said.join("\n");
    for part in parts {
        assert!(said.contains(part), "{said} does not say {part}");
    }
}

fn use_of<'u>(made: &'u FirstSpec, name: &str) -> &'u str {
    let column = made.understood.columns.iter().find(|c| c.name == name);
    &column.expect("a column").used
}

fn refused(text: &str, parts: &[&str]) {
    let error = match first(text, None) {
        Err(error) => error.message,
        Ok(made) => panic!("taken: {}", made.text),
    };
    for part in parts {
        assert!(error.contains(part), "{error} does not say {part}");
    }
}

#[test]
fn columns_that_only_name_rows_or_tell_nothing_are_left_out() {
    let text = table(
        300,
        &[
            ("key", &|row| format!("k{row}")),
            ("shuffled", &|row| (row * 7 % 300).to_string()),
            ("counter", &|row| (16_777_216 + 2 * row).to_string()),
            ("fixed", &|_| "EUR".to_owned()),
            ("nothing", &|_| String::new()),
            ("amount", &|row| ((noise(row, 3) * 1e6) as i64).to_string()),
        ],
    );
    let made = first(&text, None).expect("a specification");
    for (name, used) in [
        ("key", "left out: identifies the row"),
        ("shuffled", "left out: identifies the row"),
        ("counter", "left out: counts the rows"),
        ("fixed", "left out: one value in all rows"),
        ("nothing", "left out: no row has a value"),
        ("amount", "feature"),
        ("y", "target"),
    ] {
        assert_eq!(use_of(&made, name), used, "{name}");
    }
    assert!(
        made.text
            .contains("ignore = [\"key\", \"shuffled\", \"counter\", \"fixed\", \"nothing\"]"),
        "{}",
        made.text
    );
}

#[test]
fn what_makes_words_of_numbers_is_said_with_its_line() {
    let text = table(
        300,
        &[("qty", &|row| match row {
            150 => "many".to_owned(),
            _ => format!("{:.9}", noise(row, 3)),
        })],
    );
    let made = first(&text, None).expect("a specification");
    say(
        &made,
        &["'qty': it is words because of 'many' (line 152) in 1 of 300 rows"],
    );
    let missing = TextFormat {
        missing: Some(vec!["many".to_owned()]),
        ..TextFormat::default()
    };
    let made = first(&text, Some(missing)).expect("a specification");
    assert_eq!(use_of(&made, "qty"), "feature");
    assert!(
        made.text.contains("format = { missing = [\"many\"] }"),
        "{}",
        made.text
    );
}

#[test]
fn repeated_entities_become_the_group_and_amounts_do_not() {
    let mut text = "customer,days,score,y\n".to_owned();
    for row in 0..1_000 {
        let customer = row / 5;
        let will = u8::from(noise(customer, 9) < 0.5);
        let days = (noise(row, 3) * 300.0) as u32 + 100 * u32::from(will);
        text.push_str(&format!("c{customer},{days},{:.3},{will}\n", noise(row, 4)));
    }
    let made = first(&text, None).expect("a specification");
    assert!(
        made.text.contains("group = \"customer\"") && made.text.contains("by = \"group\""),
        "{}",
        made.text
    );
    say(
        &made,
        &["'customer' repeats: 200 different values in 1000 rows"],
    );
    assert_eq!(use_of(&made, "days"), "feature");

    // Rows that have a time are split by it.
    let mut timed = "at,customer,score,y\n".to_owned();
    for row in 0..1_000 {
        let customer = row % 200;
        let will = u8::from(noise(customer, 9) < 0.5);
        timed.push_str(&format!(
            "2026-01-{:02} 10:00,c{customer},{:.3},{will}\n",
            1 + row / 50,
            noise(row, 4)
        ));
    }
    let made = first(&timed, None).expect("a specification");
    assert!(
        made.text.contains("\n# group = \"customer\"\n") && made.text.contains("by = \"time\""),
        "{}",
        made.text
    );
    say(&made, &["set group = \"customer\" in [schema]"]);
}

#[test]
fn leaks_copies_and_rare_classes_are_left_out() {
    let leak = table(
        300,
        &[("leak", &|row| {
            let x = noise(row, 1);
            let is = x + 0.5 * noise(row, 2) > 0.7;
            format!("{:.3}", f64::from(u8::from(is)) * 100.0 + noise(row, 3))
        })],
    );
    let made = first(&leak, None).expect("a specification");
    say(&made, &["'leak' alone predicts the target"]);
    assert!(made.text.contains("ignore = [\"leak\"]"), "{}", made.text);

    let plain = table(300, &[("w", &|row| format!("{:.3}", noise(row, 3)))]);
    let rows: Vec<&str> = plain.lines().skip(1).collect();
    let twice = format!("x,w,y\n{0}\n{0}\n", rows.join("\n"));
    let made = first(&twice, None).expect("a specification");
    assert!(made.text.contains("SELECT DISTINCT"), "{}", made.text);

    let rare = plain.replacen(",no\n", ",'maybe'\n", 1);
    let made = first(&rare, None).expect("a specification");
    say(&made, &["'y' is ''maybe'' in 1 row only"]);
    assert!(made.text.contains("<> '''maybe'''"), "{}", made.text);

    // Few values make equal rows by chance.
    let mut titanic = "class,sex,y\n".to_owned();
    for row in 0..500 {
        let (class, sex) = ((noise(row, 1) * 3.0) as u8, (noise(row, 2) * 2.0) as u8);
        let y = u8::from(noise(row, 3) < 0.2 + 0.3 * f64::from(sex));
        titanic.push_str(&format!("c{class},s{sex},{y}\n"));
    }
    let made = first(&titanic, None).expect("a specification");
    assert!(
        made.text.contains("duplicates_max = 1.0") && !made.text.contains("DISTINCT"),
        "{}",
        made.text
    );
}

#[test]
fn names_that_no_model_can_have_are_changed_in_the_query() {
    let text = table(
        300,
        &[
            ("value", &|row| format!("{:.3}", noise(row, 3))),
            ("\"two\nlines\"", &|row| format!("{:.3}", noise(row, 4))),
            ("a.b \"\"q\"\" д", &|row| format!("{:.3}", noise(row, 5))),
        ],
    )
    .replace("a.b \"\"q\"\" д", "\"a.b \"\"q\"\" д\"");
    let made = first(&text, None).expect("a specification");
    for part in [
        "\\\"value\\\" AS \\\"value_feature\\\"",
        "AS \\\"two lines\\\"",
        "\\\"a.b \\\"\\\"q\\\"\\\" д\\\"",
    ] {
        // Written as TOML's basic or literal string.
        let literal = part.replace("\\\"", "\"");
        assert!(
            made.text.contains(part) || made.text.contains(&literal),
            "{} has no {part}",
            made.text
        );
    }
    say(&made, &["'value' becomes 'value_feature' in the query"]);
}

#[test]
fn a_time_with_few_gaps_splits_the_rows_and_one_of_the_future_does_not() {
    let at = |row: usize| format!("2026-02-{:02} {:02}:00", 1 + row / 24, row % 24);
    let gap = table(
        300,
        &[("at", &|row| if row == 9 { String::new() } else { at(row) })],
    );
    let made = first(&gap, None).expect("a specification");
    assert!(
        made.text.contains("time = \"at\"") && made.text.contains("IS NOT NULL"),
        "{}",
        made.text
    );
    say(&made, &["1 row has no 'at'"]);

    let future = table(300, &[("due", &|row| at(row).replace("2026", "2031"))]);
    let made = first(&future, None).expect("a specification");
    assert!(made.text.contains("by = \"random\""), "{}", made.text);
    say(&made, &["300 rows have a 'due' in the future"]);

    let one_day = table(
        300,
        &[("at", &|row| format!("2026-02-01 10:0{}", u8::from(row > 1)))],
    );
    let made = first(&one_day, None).expect("a specification");
    say(&made, &["rows cannot be split by 'at'"]);

    let unread = table(
        300,
        &[("when", &|row| {
            format!("{} Feb {}", 1 + row % 28, 2000 + row % 20)
        })],
    );
    let made = first(&unread, None).expect("a specification");
    say(
        &made,
        &["'when' looks like a time that is not read, such as '1 Feb 2000'"],
    );
    let unix = table(
        300,
        &[("ts", &|row| {
            (1_700_000_000 + (noise(row, 3) * 1e6) as i64).to_string()
        })],
    );
    say(
        &first(&unix, None).expect("a specification"),
        &["'ts' looks like seconds since 1970"],
    );
}

#[test]
fn a_target_that_no_model_can_learn_is_refused_with_a_way_out() {
    refused(
        "x,y\n1,0\n2,1\n3,0\n",
        &["3 rows have a target, fewer than 20", "add rows"],
    );
    let one: String = (0..200).map(|row| format!("{row}.5,1\n")).collect();
    refused(
        &format!("x,y\n{one}"),
        &["one value in all rows", "--target"],
    );
    let none: String = (0..200).map(|row| format!("{row}.5,\n")).collect();
    refused(
        &format!("x,y\n{none}"),
        &["no row has a value of the target 'y'"],
    );
    let lonely: String = (0..200)
        .map(|row| format!("{row}.5,{}\n", u8::from(row == 7)))
        .collect();
    refused(&format!("x,y\n{lonely}"), &["'y' is '1' in 1 of 200 rows"]);
    let late: String = (0..200)
        .map(|row| {
            format!(
                "{:.3},{}\n",
                noise(row, 1),
                if row == 190 {
                    "oops".to_owned()
                } else {
                    format!("{row}.25")
                }
            )
        })
        .collect();
    refused(
        &format!("x,y\n{late}"),
        &["200 classes", "because of 'oops' (line 192)", "--format"],
    );
    refused("x,z\n1,0\n", &["no column 'y', the target"]);
    let copy: String = (0..200).map(|row| format!("{0},{0}\n", row % 2)).collect();
    refused(
        &format!("x,y\n{copy}"),
        &["every feature alone predicts the target (x)", "leak_max"],
    );
}

#[test]
fn labels_that_lack_and_rows_that_are_few_are_allowed_for() {
    let few = table(60, &[]).replace("x,,y", "x,y").replace(",,", ",");
    let made = first(&few, None).expect("a specification");
    assert!(made.text.contains("rows_min = 60"), "{}", made.text);
    let lacking = table(400, &[("w", &|row| format!("{:.3}", noise(row, 3)))]);
    let lacking: Vec<String> = lacking
        .lines()
        .enumerate()
        .map(|(at, line)| match at > 0 && at % 4 != 0 {
            true => line
                .rsplit_once(',')
                .map_or_else(String::new, |(rest, _)| format!("{rest},")),
            false => line.to_owned(),
        })
        .collect();
    let made = first(&(lacking.join("\n") + "\n"), None).expect("a specification");
    assert!(made.text.contains("unlabelled_max = 0.76"), "{}", made.text);
    say(&made, &["75.0 % of 400 rows have no 'y'"]);
}

#[test]
fn alarms_wait_for_rows_that_can_be_learned_from() {
    let at = |row: usize| {
        format!(
            "2026-0{}-{:02} {:02}:00",
            1 + row / 672,
            1 + row / 24 % 28,
            row % 24
        )
    };
    let made = first(&table(2_000, &[("at", &at)]), None).expect("a specification");
    // 32 % of 2,941 rows are fewer than the 950 new ones.
    assert!(made.text.contains("# alarm_rows = 950 #"), "{}", made.text);
    let made = first(
        &table(300, &[("w", &|row| format!("{:.3}", noise(row, 3)))]),
        None,
    );
    let text = made.expect("a specification").text;
    assert!(
        text.contains("# alarm_rows = 500 #") && text.contains("# cooldown = \"1h\" #"),
        "{text}"
    );
    // Each setting is right where its # is removed.
    let on = text
        .replace("# alarm_rows", "alarm_rows")
        .replace("# cooldown", "cooldown");
    let on = on.replace("# drift", "drift").replace("# cron", "cron");
    let spec = Spec::parse("train.toml", &on).expect("a specification");
    assert!(spec.triggers.drift && spec.triggers.alarm_rows == 500);
}

#[test]
fn rare_classes_are_said_and_the_page_escapes_what_it_shows() {
    let mut text = "<b>,y\n".to_owned();
    for row in 0..3_000 {
        let x = noise(row, 1);
        text.push_str(&format!(
            "{x:.3},{}\n",
            u8::from(x + 0.5 * noise(row, 2) > 1.3)
        ));
    }
    let made = first(&text, None).expect("a specification");
    say(&made, &["average_precision", "balanced = true"]);
    assert!(made.text.contains("\n# balanced = true #"), "{}", made.text);
    let html = page::render(&made.understood);
    assert!(
        html.contains("&lt;b&gt;") && !html.contains("<b>"),
        "{html}"
    );
    assert!(
        html.contains("average_precision") && html.contains("whole number"),
        "{html}"
    );
}

#[test]
fn codes_without_an_order_are_proposed_as_categories() {
    let mut text = "shop,age,y\n".to_owned();
    for row in 0..2_000 {
        let shop = (noise(row, 1) * 40.0) as usize;
        let age = (noise(row, 2) * 60.0) as usize;
        let is_good = noise(shop, 7) < 0.5;
        let y = noise(row, 3) < if is_good { 0.8 } else { 0.2 };
        text.push_str(&format!("{shop},{age},{}\n", u8::from(y)));
    }
    let made = first(&text, None).expect("a specification");
    assert!(
        made.text.contains("# categories = [\"shop\"]") && !made.text.contains("[\"age\"]"),
        "{}",
        made.text
    );
}
