//! Describes one column from all of its values.

use super::entity::{is_code, repeated};
use super::{LookedColumn, LookedKind, LookedTarget, RowName, TimeRange};
use crate::data::columns::{Gathered, NO_TIME, Raw};
use crate::data::percent::percent;
use crate::data::times::{self, TimeForm};
use crate::frame::{MISSING, WordCodes};
use chrono::DateTime;
use ortus::core::error::short;
use ortus::observe::report::chart::number;

/// The rows from which a column may be found to identify or to count the rows.
const ROWS_MIN: usize = 50;
/// Different numbers that are counted; more are many.
const FEW: usize = 20;
/// So few different whole numbers are shown with their shares.
const SHARES: usize = 5;
/// The most frequent words that are shown.
const WORDS_SHOWN: usize = 3;
/// The longest word that is shown, in bytes.
const WORD_BYTES: usize = 24;
/// Words that are tried as times.
const TRIED: usize = 200;

/// Describes a column. `now` decides which times are of the future.
pub(super) fn describe(
    column: &Gathered,
    target: Option<&LookedTarget>,
    now: i64,
    notes: Vec<String>,
) -> LookedColumn {
    let empty = LookedColumn {
        name: column.name.clone(),
        kind: LookedKind::Missing,
        missing: 0,
        missing_with_target: 0,
        different: None,
        values: String::new(),
        row_name: None,
        entity: None,
        is_codes: false,
        time: None,
        unix: None,
        time_doubt: None,
        unread_time: None,
        notes,
    };
    let looked = match &column.values {
        Raw::Numbers(all) => numbers(column, all, empty),
        Raw::Words(words) => {
            let doubt = times::found(column).and_then(|time| time.why_words());
            LookedColumn {
                time_doubt: doubt,
                ..words_column(words, empty)
            }
        }
        Raw::Times(all) => moments(all, now, empty),
    };
    let looked = LookedColumn {
        missing_with_target: match target {
            Some(target) if looked.missing > 0 => missing_with(column, target),
            _ => 0,
        },
        ..looked
    };
    let is_candidate = matches!(
        looked.kind,
        LookedKind::Words | LookedKind::Codes | LookedKind::Whole
    );
    match target.filter(|_| is_candidate && looked.row_name.is_none()) {
        Some(target) => LookedColumn {
            entity: repeated(column, target),
            is_codes: looked.kind == LookedKind::Whole && is_code(column, target),
            ..looked
        },
        None => looked,
    }
}

/// Counts the rows that have neither a value nor a target.
fn missing_with(column: &Gathered, target: &LookedTarget) -> usize {
    let is_missing = |row: usize| match &column.values {
        Raw::Numbers(all) => all[row].is_nan(),
        Raw::Words(words) => words.codes[row] == MISSING,
        Raw::Times(all) => all[row] == NO_TIME,
    };
    let both = |row: &usize| is_missing(*row);
    match target {
        LookedTarget::Classes(all) => {
            let gone = (0..all.len()).filter(|row| all[*row] == MISSING);
            gone.filter(both).count()
        }
        LookedTarget::Values(all) => {
            let gone = (0..all.len()).filter(|row| all[*row].is_nan());
            gone.filter(both).count()
        }
    }
}

/// What one pass over numbers tells.
struct NumberPass {
    missing: usize,
    least: f64,
    most: f64,
    is_whole: bool,
    /// Whether each is larger than the one before.
    grows: bool,
    /// The different values, up to [`FEW`] and one more.
    few: Vec<f64>,
}

fn pass(all: &[f64]) -> NumberPass {
    let mut seen = NumberPass {
        missing: 0,
        least: f64::INFINITY,
        most: f64::NEG_INFINITY,
        is_whole: true,
        grows: true,
        few: Vec::new(),
    };
    let mut before = f64::NEG_INFINITY;
    for value in all {
        if value.is_nan() {
            seen.missing += 1;
            seen.grows = false;
            continue;
        }
        seen.least = seen.least.min(*value);
        seen.most = seen.most.max(*value);
        seen.is_whole &= value.fract() == 0.0;
        seen.grows &= *value > before;
        before = *value;
        if seen.few.len() <= FEW && !seen.few.contains(value) {
            seen.few.push(*value);
        }
    }
    seen
}

fn numbers(column: &Gathered, all: &[f64], looked: LookedColumn) -> LookedColumn {
    let seen = pass(all);
    let different = (seen.few.len() <= FEW).then_some(seen.few.len());
    let is_whole = column.was_whole || seen.is_whole;
    let kind = match different {
        Some(0) => LookedKind::Missing,
        Some(1) if seen.missing == 0 => LookedKind::Constant,
        _ if column.was_truth => LookedKind::Boolean,
        _ if is_whole => LookedKind::Whole,
        _ => LookedKind::Number,
    };
    let values = match kind {
        LookedKind::Missing => String::new(),
        LookedKind::Boolean => shares(all, &[(1.0, "true".to_owned()), (0.0, "false".to_owned())]),
        LookedKind::Constant if column.was_truth => (seen.least != 0.0).to_string(),
        LookedKind::Constant => plain(seen.least),
        LookedKind::Whole if seen.few.len() <= SHARES => {
            let mut few = seen.few.clone();
            few.sort_unstable_by(f64::total_cmp);
            let named: Vec<(f64, String)> = few.iter().map(|v| (*v, plain(*v))).collect();
            shares(all, &named)
        }
        _ => format!("{} to {}", plain(seen.least), plain(seen.most)),
    };
    let row_name = match kind {
        LookedKind::Whole if all.len() > ROWS_MIN => number_names_rows(all, &seen),
        _ => None,
    };
    LookedColumn {
        kind,
        missing: seen.missing,
        different,
        values,
        row_name,
        unix: match times::found(column).map(|time| time.form) {
            Some(TimeForm::Unix(unit)) => Some(unit.label()),
            _ => None,
        },
        ..looked
    }
}

/// Returns a number as people write it: whole ones in full.
fn plain(value: f64) -> String {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => format!("{value}"),
        false => number(value),
    }
}

fn shares(all: &[f64], of: &[(f64, String)]) -> String {
    let share = |(value, name): &(f64, String)| {
        let rows = all.iter().filter(|v| *v == value).count();
        format!("{name} {}", percent(rows, all.len()))
    };
    of.iter().map(share).collect::<Vec<_>>().join(", ")
}

/// Returns how whole numbers only name the rows: they grow with each, or each row has its own within a
/// narrow range, as shuffled numbers of customers have.
fn number_names_rows(all: &[f64], seen: &NumberPass) -> Option<RowName> {
    if seen.grows {
        return Some(RowName::Counts);
    }
    let range = seen.most - seen.least;
    let is_narrow = range < 4.0 * all.len() as f64;
    // More rows than whole numbers of the range: some are equal, and need not be sorted to be found.
    let has_equal = range + 1.0 < all.len() as f64;
    if seen.missing > 0 || seen.few.len() <= FEW || !is_narrow || has_equal {
        return None;
    }
    let mut sorted = all.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let is_distinct = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    is_distinct.then_some(RowName::Identifies)
}

fn words_column(words: &WordCodes, looked: LookedColumn) -> LookedColumn {
    let mut counts = vec![0_usize; words.list.len()];
    let mut missing = 0;
    for code in &words.codes {
        match counts.get_mut(*code as usize) {
            Some(count) => *count += 1,
            None => missing += 1,
        }
    }
    let different = counts.iter().filter(|count| **count > 0).count();
    let rows = words.codes.len();
    let is_digits = |word: &String| word.bytes().all(|b| b.is_ascii_digit());
    let kind = match different {
        0 => LookedKind::Missing,
        1 if missing == 0 => LookedKind::Constant,
        _ if words.list.iter().all(is_digits) => LookedKind::Codes,
        _ => LookedKind::Words,
    };
    let is_name = rows > ROWS_MIN && different * 10 > rows * 9;
    let unread = || unread_time(&words.list);
    LookedColumn {
        kind,
        missing,
        different: Some(different),
        values: top(words, &counts, different),
        row_name: is_name.then_some(RowName::Identifies),
        unread_time: (kind == LookedKind::Words).then(unread).flatten(),
        ..looked
    }
}

/// Returns the most frequent words, with their shares.
fn top(words: &WordCodes, counts: &[usize], different: usize) -> String {
    let rows = words.codes.len();
    let mut order: Vec<usize> = (0..counts.len()).filter(|code| counts[*code] > 0).collect();
    let shown = WORDS_SHOWN.min(order.len());
    let key = |code: &usize| (std::cmp::Reverse(counts[*code]), *code);
    if shown < order.len() {
        order.select_nth_unstable_by_key(shown, key);
    }
    order.truncate(shown);
    order.sort_unstable_by_key(key);
    let one = |code: usize| {
        let word = short_word(&words.list[code]);
        match counts[code] {
            1 if different > FEW => word,
            rows_of => format!("{word} {}", percent(rows_of, rows)),
        }
    };
    let mut text = order.into_iter().map(one).collect::<Vec<_>>().join(", ");
    if different > shown {
        text.push_str(&format!(" … of {different}"));
    }
    text
}

fn short_word(word: &str) -> String {
    let cut = &word[..word.floor_char_boundary(WORD_BYTES)];
    let mark = if cut.len() < word.len() { "…" } else { "" };
    format!("{}{mark}", cut.replace(char::is_control, " "))
}

/// Returns a word that looks like a time, if most words do.
fn unread_time(list: &[String]) -> Option<String> {
    let tried = list.iter().take(TRIED);
    let alike = tried.clone().filter(|word| looks_like_time(word)).count();
    let is_time = alike > 2 && alike * 10 > tried.len() * 9;
    let first = list.first().filter(|_| is_time)?;
    Some(short(first).replace(char::is_control, " "))
}

/// Whether a word has the parts of a date: a month by its name or three groups of digits.
fn looks_like_time(word: &str) -> bool {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    if word.len() > 40 || !word.is_ascii() {
        return false;
    }
    let lower = word.to_ascii_lowercase();
    let is_digit = |c: char| c.is_ascii_digit();
    let groups = lower.split(|c| !is_digit(c)).filter(|g| !g.is_empty());
    let (groups, digits) = (
        groups.count(),
        lower.chars().filter(|c| is_digit(*c)).count(),
    );
    let letters: Vec<&str> = lower
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|part| !part.is_empty())
        .collect();
    let has_month = letters
        .iter()
        .any(|part| MONTHS.iter().any(|month| part.starts_with(month)));
    let is_bare = letters.iter().all(|part| part.len() <= 3);
    let has_marks = lower.contains(['/', '-', '.', ':']);
    (has_month && groups >= 2 && digits >= 3)
        || (is_bare && groups >= 3 && digits >= 5 && has_marks)
}

fn moments(all: &[i64], now: i64, looked: LookedColumn) -> LookedColumn {
    let present = || all.iter().copied().filter(|t| *t != NO_TIME);
    let missing = all.len() - present().count();
    let (first, last) = match (present().min(), present().max()) {
        (Some(first), Some(last)) => (first, last),
        _ => {
            return LookedColumn { missing, ..looked };
        }
    };
    // A clock may be ahead by an hour, as in the checks of a run.
    let future = present().filter(|t| *t > now + 3_600_000_000).count();
    let is_constant = first == last && missing == 0;
    let day = |t: i64| match DateTime::from_timestamp_micros(t) {
        Some(time) => time.format("%Y-%m-%d %H:%M").to_string(),
        None => t.to_string(),
    };
    LookedColumn {
        kind: match is_constant {
            true => LookedKind::Constant,
            false => LookedKind::Time,
        },
        missing,
        values: match is_constant {
            true => day(first),
            false => format!("{} to {}", day(first), day(last)),
        },
        time: Some(TimeRange {
            first,
            last,
            future,
        }),
        ..looked
    }
}

impl LookedTarget {
    /// Takes the column that is to be predicted: words, booleans and few whole numbers are classes.
    pub(super) fn of(column: &Gathered) -> Self {
        match &column.values {
            Raw::Words(words) => Self::Classes(words.codes.clone()),
            Raw::Times(all) => Self::Classes(vec![MISSING; all.len()].into()),
            Raw::Numbers(all) => {
                let seen = pass(all);
                if !seen.is_whole || seen.few.len() > 10 {
                    return Self::Values(all.clone());
                }
                let class = |v: &f64| seen.few.iter().position(|known| known == v);
                let classes = all.iter().map(|v| class(v).map_or(MISSING, |at| at as u32));
                Self::Classes(classes.collect())
            }
        }
    }
}
