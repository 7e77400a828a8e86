//! `ortus explain`: what the scheduler of a served model knows and does.

use super::print::{TextTable, figures, line};
use super::registry::split_target;
use super::{block_on, monitor};
use crate::core::count::{agreed, counted};
use crate::core::error::Result;
use crate::observe::report::scheduler::{
    ClassDurations, PaddingNow, SchedulerReport, ShapesNow, VersionScheduler,
};
use clap::Args;

/// The longest bar of the chart.
const BAR: usize = 24;
/// Shape classes that are printed; JSON has all.
const CLASSES_MAX: usize = 4;

#[derive(Args)]
pub(super) struct ExplainArguments {
    /// Model: NAME or NAME:VERSION.
    target: String,
    /// Address of the operator API of a running server.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8003")]
    server: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what the scheduler of a served model knows and does.
pub(super) fn explain(arguments: &ExplainArguments) -> Result<()> {
    let (name, version) = split_target(&arguments.target)?;
    let query = version.map_or_else(String::new, |v| format!("?version={v}"));
    let path = format!("/v1/models/{name}/explain{query}");
    let body = block_on(monitor::ask(&arguments.server, &path))?;
    if arguments.json {
        line(&String::from_utf8_lossy(&body));
        return Ok(());
    }

    let report: SchedulerReport = monitor::read(&body)?;
    report.versions.iter().for_each(show);
    Ok(())
}

fn show(version: &VersionScheduler) {
    let VersionScheduler { lanes, queue, .. } = version;
    line(&format!(
        "{}:{}  {}",
        version.model,
        version.version,
        merging(version)
    ));
    let runs = match version.in_place {
        true => "runs on the I/O threads".to_owned(),
        false => counted(*lanes, "lane"),
    };
    let wait = match queue.seconds {
        Some(seconds) => format!("about {} ms of work", figures(seconds * 1e3)),
        None => "for how long is not known yet".to_owned(),
    };
    line(&format!(
        "  {runs} ({}); {} of {} {}, {wait}",
        version.provider,
        queue.rows,
        counted(queue.rows_max, "row"),
        agreed(queue.rows, "waits", "wait")
    ));

    version.padding.iter().for_each(show_padding);
    version.shapes.iter().for_each(show_shapes);
    for class in version.classes.iter().take(CLASSES_MAX) {
        show_class(class);
    }
    let hidden = version.classes.len().saturating_sub(CLASSES_MAX);
    if hidden > 0 {
        line(&format!(
            "\n  {}: see --json",
            counted(hidden, "more shape")
        ));
    }
    show_batches(version);
    for refused in &version.refused {
        line(&format!(
            "  {} not served: {}",
            refused.requests, refused.reason
        ));
    }
}

/// Prints the rows that lanes keep, and why.
fn show_shapes(shapes: &ShapesNow) {
    let rows: Vec<String> = shapes.rows.iter().map(usize::to_string).collect();
    line(&format!(
        "  each lane fills its runs up to the same rows, now {}: a change takes {} ms; {} so far",
        rows.join(", "),
        figures(shapes.change_seconds * 1e3),
        shapes.changes
    ));
}

/// Prints the lengths of padding and its share of the tokens.
fn show_padding(padding: &PaddingNow) {
    let lengths: Vec<String> = padding.lengths.iter().map(usize::to_string).collect();
    let lengths = lengths.join(", ");
    let tokens = match padding.tokens_max {
        Some(most) => format!(", up to {} in a batch", counted(most, "token")),
        None => String::new(),
    };
    match &padding.off {
        None => line(&format!(
            "  requests are padded to lengths {lengths}{tokens}"
        )),
        Some(reason) => line(&format!(
            "  not padded to lengths {lengths}{tokens}: {reason}"
        )),
    }

    let all = padding.real_tokens + padding.padded_tokens;
    if all > 0 {
        let share = padding.padded_tokens as f64 / all as f64;
        line(&format!(
            "  {} of {} {} padding ({} %)",
            padding.padded_tokens,
            counted(all, "token"),
            agreed(padding.padded_tokens, "is", "are"),
            figures(share * 100.0)
        ));
    }
}

fn merging(version: &VersionScheduler) -> String {
    match &version.unbatched {
        Some(reason) => format!("each request runs alone: {reason}"),
        None => match &version.batch_sizes {
            None => {
                let rows = version.batch_rows_max;
                format!("batches of up to {}", counted(rows, "row"))
            }
            Some(sizes) => format!("batches are filled up to {} rows", listed(sizes)),
        },
    }
}

/// Writes the sizes of axes such as `[8, 8]`; nothing where there are none.
fn axes(sizes: &[usize]) -> String {
    match sizes.is_empty() {
        true => String::new(),
        false => format!("{sizes:?}"),
    }
}

/// Writes sizes such as `2-8, 10, 12`.
fn listed(sizes: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for run in sizes.chunk_by(|a, b| a + 1 == *b) {
        match run {
            [first, .., last] => parts.push(format!("{first}-{last}")),
            [one] => parts.push(one.to_string()),
            [] => {}
        }
    }
    parts.join(", ")
}

/// Prints the durations of a shape class, with a bar for the duration of each row.
fn show_class(class: &ClassDurations) {
    let axes = match class.axes.is_empty() {
        true => String::new(),
        false => format!(", other axes {:?}", class.axes),
    };
    line(&format!(
        "\n  durations of {}{axes}; best: {}",
        counted(class.runs, "run"),
        counted(class.best_rows, "row")
    ));
    if class.sizes.is_empty() {
        line("  nothing was learned yet");
        return;
    }
    let per_row = |seconds: f64, rows: f64| seconds / rows.max(1.0);
    let rows = class
        .sizes
        .iter()
        .map(|size| per_row(size.mean_seconds, size.rows));
    let most = rows.fold(f64::MIN_POSITIVE, f64::max);

    let mut table = TextTable::new(&["", "rows", "mean ms", "p95 ms", "us a row", ""]);
    for size in &class.sizes {
        let each = per_row(size.mean_seconds, size.rows);
        let bar = (each / most * BAR as f64).round() as usize;
        table.row(&[
            "",
            &figures(size.rows),
            &figures(size.mean_seconds * 1e3),
            &figures(size.high_seconds * 1e3),
            &figures(each * 1e6),
            &"█".repeat(bar.max(1)),
        ]);
    }
    table.print();
}

fn show_batches(version: &VersionScheduler) {
    if version.batches.is_empty() {
        return;
    }
    line("\n  last batches");
    let mut table = TextTable::new(&[
        "",
        "s ago",
        "requests",
        "rows",
        "other axes",
        "waited ms",
        "left",
        "no more, because",
    ]);
    for batch in &version.batches {
        table.row(&[
            "",
            &figures(batch.age_seconds),
            &batch.requests.to_string(),
            &batch.rows.to_string(),
            &axes(&batch.axes),
            &figures(batch.waited_seconds * 1e3),
            &batch.left_rows.to_string(),
            &batch.why,
        ]);
    }
    table.print();
}
