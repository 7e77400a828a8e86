//! Prints runs, and the progress of a run.

use crate::context::Watcher;
use crate::fit::trees::Round;
use crate::history::{RecordedRun, RunStatus};
use crate::record::text_of;
use indicatif::{ProgressBar, ProgressStyle};
use ortus::cli::print::{TextTable, line, note};
use ortus::core::error::short;

/// Shows steps, and a bar of rounds with the loss.
pub(super) struct ProgressDisplay {
    pub bar: ProgressBar,
    is_quiet: bool,
}

impl ProgressDisplay {
    pub(super) fn new(is_quiet: bool) -> Self {
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} rounds {msg}").expect("a template");
        Self {
            bar: ProgressBar::new(0).with_style(style),
            is_quiet,
        }
    }
}

impl Watcher for ProgressDisplay {
    fn step(&mut self, what: &str) {
        if !self.is_quiet {
            self.bar.suspend(|| note(&format!("ortus-trainer: {what}")));
        }
    }

    fn round(&mut self, round: Round) {
        self.bar.set_length(round.of as u64);
        self.bar.set_position(round.number as u64);
        self.bar.set_message(
            round
                .loss
                .map_or_else(String::new, |loss| format!("loss {loss:.5}")),
        );
    }
}

/// Prints a run and its trigger, or the whole record as JSON.
pub(super) fn show_triggered(ran: &RecordedRun, is_json: bool) {
    if is_json {
        line(&serde_json::json!(ran).to_string());
        return;
    }
    line(&format!("{}: {}", ran.model, ran.trigger));
    show(ran);
}

/// Prints the result of a run, its gates and its metrics.
pub(super) fn show(ran: &RecordedRun) {
    let record = &ran.record;
    let version = record
        .version
        .value()
        .map_or_else(String::new, |v| format!(" version {v}"));
    // What starts no run took no time.
    let after = match ran.status {
        RunStatus::Skipped => String::new(),
        _ => format!(" after {:.1} s", ran.seconds),
    };
    line(&format!("{}: {}{version}{after}", ran.model, word(ran)));

    if !ran.key().is_empty() {
        line(&format!("run {}", ran.key()));
    }
    for why in [&record.error, &record.said, &record.reason, &record.held] {
        if let Some(why) = why.value() {
            line(why);
        }
    }

    if record.waiting.value() == Some(&true) {
        line("the version waits for approvals before its alias can move");
    }

    let changed = record.rows_changed();
    if !changed.is_empty() {
        let version = text_of(&record.parent);
        line(&format!("the rows differ from those of version {version}:"));
        changed.iter().for_each(|text| line(&format!("  {text}")));
    }

    if !record.gates().is_empty() {
        let mut table = TextTable::new(&["gate", "verdict", "why"]);
        for gate in record.gates() {
            let verdict = gate.verdict.word().replace('_', " ");
            table.row(&[&gate.name, &verdict, &gate.reason]);
        }
        table.print();
    }

    let shown: Vec<String> = record
        .metrics()
        .map(|(name, value)| format!("{name} {value:.5}"))
        .collect();
    if !shown.is_empty() {
        line(&shown.join("  "));
    }
    if let Some(class) = record.positive.value().filter(|_| !shown.is_empty()) {
        line(&format!(
            "precision, recall, f1 and average_precision are of the class '{}'",
            short(class)
        ));
    }

    for text in record.notes() {
        line(&format!("note: {text}"));
    }
}

/// Returns the result of a run, for a person.
pub(super) fn word(ran: &RecordedRun) -> &'static str {
    if ran.is_delay() {
        "waits, and stays due"
    } else if ran.status == RunStatus::Published && ran.record.held.value().is_some() {
        "published, held for a person"
    } else {
        status_word(ran.status)
    }
}

/// Returns a result, for a person.
pub(super) fn status_word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Published => "published",
        RunStatus::Equal => "an earlier run published",
        RunStatus::Failed => "a gate failed",
        RunStatus::Inconclusive => "a gate was inconclusive",
        RunStatus::Unchanged => "not published, nothing is new",
        RunStatus::Broken => "ended with an error",
        RunStatus::Skipped => "skipped",
        RunStatus::Tried => "tried",
    }
}
