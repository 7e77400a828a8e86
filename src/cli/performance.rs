//! How good a model is, as its labels and its scores say: asked of a running
//! server.

use super::print::{Table, line};
use super::registry::split_target;
use super::{block_on, monitor};
use crate::core::error::{Error, Result};
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Args)]
pub(super) struct PerformanceArguments {
    /// Model: NAME or NAME:VERSION.
    target: String,
    /// Address of the operator API of a running server.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8003")]
    server: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    measured: Vec<Measured>,
    estimated: Vec<Estimated>,
}

#[derive(Deserialize)]
struct Measured {
    model: String,
    version: u64,
    window_days: u64,
    window: Summary,
    days: Vec<Summary>,
    slices: Vec<Part>,
    alarm: bool,
}

#[derive(Deserialize)]
struct Summary {
    from: String,
    predicted_rows: u64,
    labelled_rows: u64,
    maturity: Option<f64>,
    measures: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Part {
    slice: String,
    part: String,
    rows: u64,
    measures: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Estimated {
    version: u64,
    estimated: Option<Estimate>,
}

#[derive(Deserialize)]
struct Estimate {
    rows: u64,
    measures: BTreeMap<String, f64>,
    margin: Option<f64>,
    calibrated: Option<bool>,
    assumption: String,
}

/// Asks a server.
pub(super) fn performance(arguments: &PerformanceArguments) -> Result<()> {
    let (name, version) = split_target(&arguments.target)?;
    let query = version.map_or_else(String::new, |v| format!("?version={v}"));
    let path = format!("/v1/models/{name}/performance{query}");
    let body = block_on(monitor::ask(&arguments.server, &path))?;
    if arguments.json {
        line(&String::from_utf8_lossy(&body));
        return Ok(());
    }
    let answer: Answer = serde_json::from_slice(&body).map_err(|e| {
        Error::internal("the server's answer is not what it should be").with_source(e)
    })?;
    answer.measured.iter().for_each(show);
    for Estimated { version, estimated } in &answer.estimated {
        let Some(estimate) = estimated else { continue };
        let Estimate {
            rows,
            measures,
            margin,
            calibrated,
            assumption,
        } = estimate;
        let from = match calibrated {
            Some(true) => "calibrated scores",
            Some(false) => "scores as they are, for there is no calibration",
            None => "the errors that the companion expects",
        };
        line(&format!(
            "{name}:{version}  estimated without labels, from {from} of {rows} rows"
        ));
        let of = if calibrated.is_some() {
            "accuracy"
        } else {
            "mae"
        };
        let margin = margin.map_or_else(String::new, |m| format!("  ({of} ± {m:.4})"));
        line(&format!("  {}{margin}", words(measures)));
        line(&format!("  {assumption}"));
    }
    Ok(())
}

fn words(measures: &BTreeMap<String, f64>) -> String {
    let all: Vec<String> = measures
        .iter()
        .map(|(name, value)| format!("{name} {value:.4}"))
        .collect();
    all.join("  ")
}

fn show(measured: &Measured) {
    let Measured {
        model,
        version,
        window_days,
        window,
        days,
        slices,
        alarm,
    } = measured;
    let share = |maturity: Option<f64>| {
        maturity.map_or_else(|| "-".to_owned(), |m| format!("{:.1} %", m * 100.0))
    };
    line(&format!(
        "{model}:{version}  {} labelled rows of the last {window_days} days, maturity {}{}",
        window.labelled_rows,
        share(window.maturity),
        if *alarm {
            "  ALARM: it loses more than it did"
        } else {
            ""
        }
    ));
    line(&format!("  {}", words(&window.measures)));
    let mut table = Table::new(&["predicted", "rows", "labelled", "maturity", "measures"]);
    for day in days {
        let rows = [
            day.predicted_rows.to_string(),
            day.labelled_rows.to_string(),
        ];
        table.row(&[
            &day.from,
            &rows[0],
            &rows[1],
            &share(day.maturity),
            &words(&day.measures),
        ]);
    }
    table.print();
    if !slices.is_empty() {
        let mut table = Table::new(&["slice", "part", "rows", "measures"]);
        for part in slices {
            table.row(&[
                &part.slice,
                &part.part,
                &part.rows.to_string(),
                &words(&part.measures),
            ]);
        }
        table.print();
    }
}
