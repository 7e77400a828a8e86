//! The latency of a version's predictions.

use crate::core::count::counted;
use crate::observe::report::chart::{bars, number};
use crate::observe::report::compared::bound_ms;
use maud::{Markup, html};

/// Writes the section. `times` are upper bounds in seconds, and the predictions up
/// to each.
pub(super) fn section(times: &[(f64, u64)]) -> Markup {
    let Some(all) = times.last().map(|(_, n)| *n).filter(|n| *n > 0) else {
        return html! {};
    };

    html! {
        h3 { "Latency" }
        p {
            "Of " (counted(all, "prediction")) " since the server started, 50 % took at most "
            (quantile(times, 0.5)) ", 90 % at most " (quantile(times, 0.9))
            ", and 99 % at most " (quantile(times, 0.99)) "."
        }
        div class="plots" { (histogram(times, all)) }
    }
}

/// Names the bound that a share of the predictions stays below.
fn quantile(times: &[(f64, u64)], share: f64) -> String {
    bound_ms(times, share).map_or_else(
        || "over 80 s".to_owned(),
        |bound| format!("{} ms", number(bound)),
    )
}

fn histogram(times: &[(f64, u64)], all: u64) -> Markup {
    let mut before = 0;
    let mut cells: Vec<(String, f64)> = Vec::new();
    for (bound, up_to) in times {
        let share = (up_to - before) as f64 / all as f64;
        before = *up_to;
        cells.push((format!("≤ {} ms", number(bound * 1e3)), share));
    }

    // Empty cells at both ends are not drawn.
    let first = cells
        .iter()
        .position(|(_, share)| *share > 0.0)
        .unwrap_or(0);
    let last = cells
        .iter()
        .rposition(|(_, share)| *share > 0.0)
        .unwrap_or(0);
    let (labels, shares): (Vec<String>, Vec<f64>) = cells[first..=last].iter().cloned().unzip();

    bars("Share of predictions by latency", &labels, &[], &shares)
}
