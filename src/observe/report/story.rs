//! Sentences about alarms for people who do not know the tests: what a column was, what it is now, and
//! what to do. Pure.

#[cfg(test)]
mod tests;

use super::chart::number;
use super::column::{BreachTest, ColumnSummary, DriftTest};
use super::drift::ColumnDrift;
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::contract::BreachKind;
use crate::observe::drift::layout::Side;
use crate::observe::drift::projection::MULTIVARIATE;

/// What is behind the alarms of a column, as far as its values tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AlarmCause {
    /// Another unit of measurement.
    Unit,
    /// One value in every row.
    Constant,
    /// Values are missing, or are no longer missing.
    Missing,
    /// Categories or codes that training did not have.
    Unseen,
    /// Numbers outside the range of training.
    Range,
    /// Infinite numbers.
    Infinite,
    /// Another distribution within the range.
    Shift,
    /// Numeric inputs that fit together otherwise.
    Together,
}

/// Finds the cause of a column's alarms; none if it has no alarm.
pub(crate) fn cause(column: &ColumnDrift) -> Option<AlarmCause> {
    if column.alarms() == 0 {
        return None;
    }
    if is_together(column) {
        return Some(AlarmCause::Together);
    }
    if column.hints.scale.is_some() {
        return Some(AlarmCause::Unit);
    }
    let gross = worst(column).filter(|breach| {
        let is_value = matches!(breach.kind, BreachKind::Below | BreachKind::Above);
        breach.share > GROSS && !is_value
    });
    if let Some(breach) = gross {
        return Some(of_breach(breach.kind));
    }
    let is_stuck = raised(column).any(|test| test.metric == Metric::Stuck);
    if column.hints.constant || is_stuck {
        return Some(AlarmCause::Constant);
    }
    if let Some(breach) = worst(column) {
        return Some(of_breach(breach.kind));
    }
    let is_missing = raised(column).all(|test| test.metric == Metric::Missing);
    Some(if is_missing {
        AlarmCause::Missing
    } else {
        AlarmCause::Shift
    })
}

/// Tells whether it stands for the numeric inputs together.
fn is_together(column: &ColumnDrift) -> bool {
    column.side == Side::Input && column.name == MULTIVARIATE
}

/// Share of rows from which missing, new or infinite values explain everything else.
const GROSS: f64 = 0.5;

fn of_breach(kind: BreachKind) -> AlarmCause {
    match kind {
        BreachKind::Missing => AlarmCause::Missing,
        BreachKind::Unseen => AlarmCause::Unseen,
        BreachKind::Below | BreachKind::Above => AlarmCause::Range,
        BreachKind::Infinite => AlarmCause::Infinite,
    }
}

/// Describes the alarms of a column in one sentence, without a full stop.
pub(crate) fn sentence(column: &ColumnDrift) -> Option<String> {
    let name = &column.described();
    Some(match cause(column)? {
        AlarmCause::Unit => {
            let factor = column.hints.scale.unwrap_or(1.0);
            let times = if factor >= 1.0 {
                format!("{} times what it was", grouped(factor))
            } else {
                format!("1/{} of what it was", grouped(1.0 / factor))
            };
            format!("{name} is {times}{}", in_brackets(&typical(column)))
        }
        AlarmCause::Constant => format!(
            "{name} has the same value in every row{}",
            in_brackets(&typical(column))
        ),
        AlarmCause::Missing => missing(column),
        AlarmCause::Unseen => {
            let breach = worst(column)?;
            format!(
                "{name} has values that the baseline never had in {} of rows{}",
                percent(breach.share),
                in_brackets(&changed(column))
            )
        }
        AlarmCause::Range => {
            let breach = worst(column)?;
            let side = if breach.kind == BreachKind::Above {
                "above"
            } else {
                "below"
            };
            format!(
                "{name} is {side} the range of the baseline in {} of rows{}",
                percent(breach.share),
                in_brackets(&typical(column))
            )
        }
        AlarmCause::Infinite => {
            let breach = worst(column)?;
            format!("{name} is infinite in {} of rows", percent(breach.share))
        }
        AlarmCause::Shift => shift(column),
        AlarmCause::Together => together(column),
    })
}

/// Says what to do about a cause.
pub(crate) fn advice(cause: AlarmCause, side: Side, name: &str) -> String {
    if side == Side::Output {
        return format!(
            "No input is in alarm, but {name} is: compare the version with the one before (`ortus replay`), and send labels to measure how good it is."
        );
    }
    match cause {
        AlarmCause::Unit => format!(
            "Check the unit of {name} where the requests are made: the model expects the unit of its training data."
        ),
        AlarmCause::Constant => format!(
            "Check the source of {name}: a default value or a sensor that stands still is likely."
        ),
        AlarmCause::Missing => format!("Check the feed that fills {name}."),
        AlarmCause::Unseen => format!(
            "Check the spelling and the coding of {name}. If the new values are real, train the model with rows that have them."
        ),
        AlarmCause::Range | AlarmCause::Infinite => format!(
            "Check {name} at its source. If the values are real, the model extrapolates: train it with rows of this range."
        ),
        AlarmCause::Shift => format!(
            "Find out whether the change of {name} is real. If so, train the model with recent labelled rows."
        ),
        AlarmCause::Together => "Check how the inputs are joined where the requests are made: values of other rows, swapped columns and other units of a few rows look like this.".to_owned(),
    }
}

fn raised(column: &ColumnDrift) -> impl Iterator<Item = &DriftTest> {
    column.tests.iter().filter(|test| test.alarm)
}

/// Returns the contract alarm of the largest share.
fn worst(column: &ColumnDrift) -> Option<&BreachTest> {
    column
        .breaches
        .iter()
        .max_by(|a, b| a.share.total_cmp(&b.share))
}

fn missing(column: &ColumnDrift) -> String {
    let then = column.then.as_ref().map(|then| then.missing);
    let now = worst(column)
        .filter(|breach| breach.kind == BreachKind::Missing)
        .map(|breach| breach.share)
        .or(column.now.as_ref().map(|now| now.missing));
    let was = then.map_or_else(String::new, |then| format!(" (was {})", percent(then)));
    format!(
        "{} is missing in {} of rows{was}",
        column.described(),
        percent(now.unwrap_or(0.0))
    )
}

fn shift(column: &ColumnDrift) -> String {
    let name = &column.described();
    let reference = raised(column).map(|test| test.against).next();
    let than = match reference {
        Some(Against::LastWeek) => "than in the same hour of last week",
        Some(Against::Before) => "than in the window before",
        _ => "than it was",
    };
    if raised(column).any(|test| test.metric == Metric::Step) {
        return format!(
            "{name} jumped by more than the whole span of the baseline{}",
            in_brackets(&typical(column))
        );
    }
    if column.changed.is_some() {
        return format!("{name} has another mix of values: {}", changed(column));
    }

    let (then, now) = (column.then.as_ref(), column.now.as_ref());
    let middle = |summary: Option<&ColumnSummary>| summary.and_then(|s| s.median.zip(s.mean));
    let direction = middle(then).zip(middle(now)).and_then(|(then, now)| {
        if now.0 > then.0 && now.1 > then.1 {
            Some("higher")
        } else if now.0 < then.0 && now.1 < then.1 {
            Some("lower")
        } else {
            None
        }
    });
    let text = typical(column);
    match direction {
        Some(direction) => format!("{name} is {direction} {than}{}", in_brackets(&text)),
        None => format!(
            "{name} is distributed differently {than}{}",
            in_brackets(&text)
        ),
    }
}

/// Says that the inputs fit together otherwise, and which two of them show it most.
fn together(column: &ColumnDrift) -> String {
    let pair = column.pair.as_ref().map_or_else(String::new, |pair| {
        let (a, b) = (&pair.columns.0, &pair.columns.1);
        format!(
            "; most of all {a} and {b} (correlation {:.2}, was {:.2})",
            pair.now, pair.then
        )
    });
    format!("the numeric inputs fit together otherwise than in the baseline{pair}")
}

/// Says what values were typical, and which are now: means where the medians are the same, as of 0 and 1.
fn typical(column: &ColumnDrift) -> String {
    let median = |summary: &Option<ColumnSummary>| summary.as_ref()?.median.map(number);
    let mean = |summary: &Option<ColumnSummary>| summary.as_ref()?.mean.map(number);
    let medians = (median(&column.then), median(&column.now));
    let means = mean(&column.then).zip(mean(&column.now));
    if let Some((then, now)) = means.filter(|(then, now)| then != now)
        && medians.0.is_some()
        && medians.0 == medians.1
    {
        return format!("mean {now}, was {then}");
    }
    let of = |summary: &Option<ColumnSummary>| {
        let summary = summary.as_ref()?;
        let word = summary.largest.as_ref().map(|most| most.value.clone());
        summary.median.map(number).or(word)
    };
    match (of(&column.then), of(&column.now)) {
        (Some(then), Some(now)) => format!("typical value {now}, was {then}"),
        _ => String::new(),
    }
}

/// Says which category changed most.
fn changed(column: &ColumnDrift) -> String {
    column.changed.as_ref().map_or_else(String::new, |change| {
        format!(
            "'{}' is {} of rows, was {}",
            change.value,
            percent(change.now),
            percent(change.then)
        )
    })
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" ({text})")
    }
}

/// Lists names: the first ones, and how many more there are.
pub(crate) fn named(names: &[&str], most: usize) -> String {
    let listed = names[..names.len().min(most)].join(", ");
    match names.len().saturating_sub(most) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// Writes a share as percent.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 {
        "under 0.1 %".to_owned()
    } else if percent >= 99.95 || percent.fract() == 0.0 {
        format!("{percent:.0} %")
    } else if percent > 99.9 {
        "over 99.9 %".to_owned()
    } else {
        format!("{percent:.1} %")
    }
}

/// Writes a whole number with its thousands apart.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
