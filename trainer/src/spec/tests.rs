//! Tests of `spec`: specifications that are accepted, and those that are refused.

use super::*;

const LEAST: &str = "[model]\nname = \"churn\"\n[data.sources]\nrows = \"train.csv\"\n[schema]\ntarget = \"churned\"\n";

fn refused(text: &str) -> String {
    load::parse("train.toml", text).expect_err(text).message
}

#[test]
fn a_specification_with_the_required_settings_is_enough() {
    let spec = load::parse("train.toml", LEAST).expect("reads");
    assert_eq!(
        (spec.schema.target.as_str(), spec.fit.algorithm),
        ("churned", Algorithm::Trees)
    );
    assert_eq!(spec.sources.0["rows"], "train.csv");
}

#[test]
fn an_unknown_setting_is_refused_with_its_line_and_a_suggestion() {
    let more = |text: &str| refused(&format!("{LEAST}{text}"));
    assert_eq!(
        more("tagret = 1"),
        "train.toml:7: unknown key 'tagret' in [schema]; did you mean 'target'?"
    );
    assert!(
        more("[fitt]\nseed = 1")
            .contains("train.toml:7: unknown table 'fitt'; did you mean 'fit'?")
    );
    assert!(more("[fit.tree]\nx = 1").contains("unknown key 'tree' in [fit]"));
    assert!(
        more("[split]\ntest = 0.9")
            .contains("'test' in [split] is 0.9; it must be from 0.01 to 0.5")
    );
    assert!(
        more("[fit]\nalgorithm = \"forest\"").contains("one of \"trees\", \"linear\", \"mlp\"")
    );
    assert!(refused("[model\n").starts_with("train.toml:1: "));
    assert!(refused("x = 1").contains("unknown table 'x'"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    assert!(refused("").contains("'name' in [model] is missing"));
    let with = |text: &str| format!("{LEAST}{text}");
    assert!(refused(&with("features = [\"churned\"]")).contains("both the target and a feature"));
    assert!(refused(&with("time = \"churned\"")).contains("'time' in [schema] is the target"));
    assert!(refused(&with("[split]\nby = \"time\"")).contains("names no column"));
    assert!(refused(&with("time = \"at\"\n[split]\nby = \"random\"")).contains("override_reason"));
    let two = LEAST.replace("rows =", "more = \"b.csv\"\nrows =");
    assert!(refused(&two).contains("'sql' in [data] is missing"));
    assert!(refused(&LEAST.replace("churn\"", "chu/rn\"")).contains("'name' in [model]"));
}

#[test]
fn equal_specifications_have_the_same_canonical_text() {
    let read = |text: &str| load::parse("train.toml", text).expect("reads").canonical();
    let same = format!("# a remark\n{LEAST}[split]\ntest = 0.2\n[fit]\nthreads = 3\n");
    assert_eq!(
        read(LEAST),
        read(&same),
        "a default, and what changes nothing"
    );

    assert_eq!(
        read(LEAST),
        read(&LEAST.replace("train.csv", "elsewhere/train.csv")),
        "where files lie"
    );

    assert_ne!(read(LEAST), read(&format!("{LEAST}[fit]\nseed = 8\n")));
}

#[test]
fn calendar_features_are_checked_where_they_are_declared() {
    let with = |text: &str| format!("{LEAST}time = \"at\"\n[schema.calendar]\n{text}");
    let spec = load::parse(
        "train.toml",
        &with("at = [\"hour\"]\nsince = { parts = [\"age_days\", \"days\"], zone = \"-03:30\" }"),
    );
    let spec = spec.expect("reads");
    let since = &spec.calendar.0["since"];
    assert!(since.age && since.parts == [ortus::explain::derivation::CalendarPart::Days]);
    assert_eq!(since.zone_seconds(), -12_600);
    let plain = load::parse("train.toml", &with("")).expect("reads");
    assert_ne!(spec.canonical(), plain.canonical(), "they change the run");

    for (text, part) in [
        (
            "at = [\"hours\"]",
            "it must be a list of \"minute\", \"hour\"",
        ),
        ("at = [\"hour\", \"hour\"]", "each at most once"),
        ("at = []", "it must be a list"),
        ("at = \"hour\"", "it must be a list"),
        ("at = { part = [\"hour\"] }", "it must be a list"),
        (
            "at = { parts = [\"hour\"], zone = \"Europe/Berlin\" }",
            "cannot follow daylight saving time",
        ),
        ("churned = [\"hour\"]", "it is the target"),
        ("at = [\"age_days\"]", "which must be another column"),
        (
            "at = [\"hour\"]\n[fit]\nalgorithm = \"command\"\n[fit.command]\nprogram = [\"true\"]",
            "a training program computes features itself",
        ),
    ] {
        let message = refused(&with(text));
        assert!(message.contains(part), "{message}");
    }
    let ignored = format!("{LEAST}ignore = [\"at\"]\n[schema.calendar]\nat = [\"hour\"]");
    assert!(refused(&ignored).contains("it is also in 'ignore'"));
}

#[test]
fn objectives_and_their_numbers_are_of_their_form() {
    let check = |text: &str, expected: &str| {
        let found = refused(&format!("{LEAST}{text}"));
        assert!(found.contains(expected), "{text}: {found}");
    };
    check(
        "[fit]\nobjective = \"gamma\"",
        "train.toml:8: 'objective' in [fit] is \"gamma\"; it must be one of \"auto\", \"squared\", \"poisson\", \"tweedie\", \"quantile\", \"lambdarank\"",
    );
    check("[fit]\nquantile = 1.0", "above 0 and below 1");
    check("[fit]\ntweedie_power = 2", "above 1 and below 2");
    check("[fit]\nndcg_truncation = 0", "from 1 to 10000");
    check(
        "[fit]\nmonotone = { x = \"up\" }",
        "\"increasing\" or \"decreasing\"",
    );
    check("[fit]\nmonotone = \"x\"", "a table of features");
}

#[test]
fn objectives_that_do_not_fit_the_other_settings_are_refused() {
    let check = |text: &str, expected: &str| {
        let found = refused(&format!("{LEAST}{text}"));
        assert!(found.contains(expected), "{text}: {found}");
    };
    let poisson = "[fit]\nobjective = \"poisson\"\n";
    check(
        &format!("task = \"classification\"\n{poisson}"),
        "leave 'objective' out",
    );
    check(
        &format!("classes = [\"a\", \"b\"]\n{poisson}"),
        "'classes' in [schema] lists classes",
    );
    check(
        &format!("{poisson}balanced = true"),
        "set 'weight' in [schema]",
    );
    check(
        &format!("{poisson}calibration = \"platt\""),
        "predicts a number; leave it out",
    );
    check(
        &format!("{poisson}quantile = 0.9"),
        "'quantile' in [fit] has no effect; set objective = \"quantile\"",
    );
    check(
        &format!("{poisson}tweedie_power = 1.3"),
        "'tweedie_power' in [fit] has no effect",
    );
    check(
        &format!("{poisson}ndcg_truncation = 10"),
        "'ndcg_truncation' in [fit] has no effect",
    );
    check(
        &format!("{poisson}algorithm = \"command\"\n[fit.command]\nprogram = [\"a\"]"),
        "a training program chooses what it minimises",
    );

    check(
        "[fit]\nobjective = \"lambdarank\"",
        "set 'group' in [schema]",
    );
    check(
        "group = \"q\"\n[fit]\nobjective = \"lambdarank\"\nalgorithm = \"mlp\"",
        "only \"trees\" rank",
    );
    check(
        "[fit]\nobjective = \"quantile\"\nalgorithm = \"linear\"",
        "use \"trees\" or \"mlp\"",
    );
    check(
        "[fit]\nalgorithm = \"linear\"\nmonotone = { x = \"increasing\" }",
        "only \"trees\" keep predictions monotone",
    );
    check(
        "[fit]\nmonotone = { churned = \"increasing\" }",
        "which is the target",
    );
    check(
        "task = \"regression\"\n[fit]\ncalibration = \"platt\"",
        "predicts a number",
    );
}

#[test]
fn objectives_are_a_part_of_the_canonical_text_and_defaults_are_not() {
    let canonical = |text: &str| {
        load::parse("train.toml", &format!("{LEAST}{text}"))
            .expect("reads")
            .canonical()
    };
    let plain = canonical("");
    for word in ["objective", "calibration", "monotone", "quantile"] {
        assert!(!plain.contains(word), "{plain}");
    }
    let all = [
        "[fit]\nobjective = \"squared\"",
        "[fit]\nobjective = \"quantile\"",
        "[fit]\nobjective = \"quantile\"\nquantile = 0.9",
        "[fit]\nobjective = \"tweedie\"\ntweedie_power = 1.2",
        "[fit]\nmonotone = { x = \"increasing\" }",
        "[fit]\nmonotone = { x = \"decreasing\" }",
        "[fit.monotone]\ny = \"decreasing\"",
        "[fit]\ncalibration = \"isotonic\"",
    ];
    let mut found: Vec<String> = all.into_iter().map(canonical).collect();
    found.push(plain);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), all.len() + 1, "each is another run");
}

#[test]
fn a_sweep_varies_objectives() {
    let spec = load::parse(
        "train.toml",
        &format!("{LEAST}[fit]\nobjective = \"tweedie\"\n[sweep.values]\n\"fit.tweedie_power\" = [1.2, 1.5]\n\"fit.objective\" = [\"tweedie\", \"squared\"]"),
    )
    .expect("reads");
    assert_eq!(spec.sweep_values.0.len(), 2);
}
