//! The first thing a person reads: is the model all right, and if not, what to do.

use crate::core::count::counted;
use crate::observe::report::chart::number;
use crate::observe::report::column::BaselineSource;
use crate::observe::report::drift::VersionDrift;
use crate::observe::report::incident::Incident;
use crate::observe::report::model::VersionReport;
use crate::observe::report::performance::{MeasuredPerformance, SlicePerformance};
use crate::observe::report::status;
use crate::observe::report::story::named;
use maud::{Markup, html};

/// Columns whose limits are named.
const NAMED_MAX: usize = 8;

/// Writes the verdict.
pub(super) fn section(version: &VersionReport, measured: Option<&MeasuredPerformance>) -> Markup {
    let drift = &version.drift;
    let open: Vec<&Incident> = drift.open_incidents().collect();
    let loses = measured.filter(|m| m.alarm);
    let losing = parts_in_alarm(measured);
    let doubts = status::doubts(drift);

    html! {
        @if let Some(measured) = loses { (performance(measured)) }
        @if let Some(measured) = measured.filter(|_| !losing.is_empty()) { (parts(measured, &losing)) }
        @for incident in &open { (told(incident)) }
        @if open.is_empty() && drift.alarms > 0 {
            p class="verdict bad" { (counted(drift.alarms, "test")) " in alarm." }
        }
        @if !doubts.is_empty() { (doubtful(&doubts)) }
        @if open.is_empty() && loses.is_none() && losing.is_empty() && doubts.is_empty() && drift.alarms == 0 {
            (calm(drift))
        }
        (limits(drift))
        (closed(drift))
    }
}

fn performance(measured: &MeasuredPerformance) -> Markup {
    html! {
        div class="verdict bad" {
            b { "The model is wrong more often than it was on its baseline" }
            ", according to the labels"
            @if let Some(rows) = &measured.alarm_rows { ", " (rows.told()) }
            "." (measured.wrong_means())
            (advice(measured, ""))
        }
    }
}

/// Returns the parts of slices that are in alarm by their labels.
fn parts_in_alarm(measured: Option<&MeasuredPerformance>) -> Vec<&SlicePerformance> {
    let slices = measured.into_iter().flat_map(|measured| &measured.slices);
    slices.filter(|part| part.alarm).collect()
}

/// Says what to do. The first version has no earlier one.
fn advice(measured: &MeasuredPerformance, first: &str) -> Markup {
    html! {
        p class="do" {
            (first) "Train the model with the newest labelled rows."
            @if measured.version > 1 { " If an earlier version was better, promote it (" code { "ortus rollback" } ")." }
        }
    }
}

fn parts(measured: &MeasuredPerformance, losing: &[&SlicePerformance]) -> Markup {
    html! {
        div class="verdict bad" {
            b { "The model is wrong more often in a part of the rows than it was on its baseline" }
            ", according to the labels:"
            ul {
                @for part in losing {
                    li {
                        "where " (part.condition())
                        @if let Some(rows) = &part.alarm_rows { ", " (rows.told()) }
                    }
                }
            }
            (advice(measured, "Find out what changed in these rows. "))
        }
    }
}

fn told(incident: &Incident) -> Markup {
    html! {
        div class="verdict bad" {
            b { (incident.summary) }
            p { (incident.effect) }
            @for advice in &incident.advice { p class="do" { (advice) } }
            p class="quiet" {
                "Since " (incident.opened.format("%Y-%m-%d %H:%M UTC")) ". "
                (counted(incident.columns_total, "column")) "."
            }
        }
    }
}

fn doubtful(doubts: &[String]) -> Markup {
    html! {
        div class="verdict unknown" {
            "This version has no training baseline. Its own may be wrong:"
            ul { @for doubt in doubts { li { (doubt) "." } } }
            p class="do" {
                "Make a baseline of rows that are known to be good: " code { "ortus profile" } "."
            }
        }
    }
}

fn calm(drift: &VersionDrift) -> Markup {
    if drift.windows == 0 {
        return html! {
            p class="verdict unknown" {
                "Not enough rows for a verdict: " (counted(drift.sampled_rows, "row")) " counted"
                @if drift.baseline == BaselineSource::Gathering {
                    " of the first rows, of which the version makes its own baseline"
                    @if let Some(rows) = status::gathering(drift) { " (" (rows) ")" }
                }
                "."
            }
        };
    }
    html! {
        p class="verdict calm" {
            @match drift.baseline {
                BaselineSource::Training => {
                    "No alarm. Inputs and outputs are distributed as in the training baseline."
                }
                BaselineSource::Own | BaselineSource::Gathering => {
                    "No alarm. Inputs and outputs are distributed as in the first "
                    (counted(drift.baseline_rows, "row")) " that this version served, which nobody checked."
                }
            }
        }
    }
}

/// Says what the baseline is too small to show.
fn limits(drift: &VersionDrift) -> Markup {
    let coarse = status::coarse(drift);
    let Some((_, most)) = coarse.first() else {
        return html! {};
    };
    let names: Vec<&str> = coarse.iter().map(|(name, _)| *name).collect();
    html! {
        p class="quiet" {
            "The baseline has too few independent rows to show differences under " (number(*most))
            " in " (named(&names, NAMED_MAX))
            @if names.len() > NAMED_MAX { " columns" }
            "."
        }
    }
}

fn closed(drift: &VersionDrift) -> Markup {
    let ended: Vec<&Incident> = drift
        .incidents
        .iter()
        .filter(|i| i.closed.is_some())
        .collect();
    if ended.is_empty() {
        return html! {};
    }
    html! {
        details {
            summary { (counted(ended.len(), "closed incident")) }
            ul {
                @for incident in ended {
                    li {
                        (incident.opened.format("%Y-%m-%d %H:%M")) " to "
                        @if let Some(end) = incident.closed { (end.format("%Y-%m-%d %H:%M UTC")) }
                        ": " (incident.summary)
                    }
                }
            }
        }
    }
}
