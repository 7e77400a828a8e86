//! Tests of what speaks against an estimate.

use super::*;
use serde_json::json;

fn column(name: &str, side: &str, is_raised: bool, part: Option<&str>) -> ColumnDrift {
    let test = json!({"metric": "ks", "against": "training", "span": 1, "value": 0.5, "lower": 0.4,
        "certain": 0.3, "threshold": 0.05, "rows": 1000, "alarm": is_raised});
    let mut column = json!({"name": name, "side": side, "contract": {}, "tests": [test]});
    if let Some(part) = part {
        column["part"] = json!({"slice": "region", "part": part});
    }
    serde_json::from_value(column).expect("a column")
}

fn part(name: &str, columns: &[ColumnDrift]) -> PartDrift {
    serde_json::from_value(
        json!({"slice": "region", "part": name, "baseline_rows": 500, "rows": 500,
        "columns_total": 5, "alarms": 1, "columns": columns}),
    )
    .expect("a part")
}

#[test]
fn an_estimate_is_doubted_for_each_input_in_alarm_once_in_all_rows_or_a_part() {
    let quiet = [
        column("age", "input", false, None),
        column("label", "output", true, None),
    ];
    assert_eq!(doubt(&quiet, &[]), None);

    let north = part("north", &[column("income", "input", true, Some("north"))]);
    let south = part("south", &[column("income", "input", true, Some("south"))]);
    let rests = "the model is asked for rows unlike those that the estimate rests on";
    assert_eq!(
        doubt(&quiet, &[north.clone(), south.clone()]),
        Some(format!("income where region is north is in alarm: {rests}"))
    );

    let whole = [
        column("income", "input", true, None),
        column("age", "input", true, None),
    ];
    assert_eq!(
        doubt(&whole, &[north, south]),
        Some(format!("income and 1 more input are in alarm: {rests}"))
    );
}
