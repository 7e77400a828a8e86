//! Numbers that FP32 would merge: how many different values it keeps, and whether a shift inside the
//! graph keeps more. Pure.

#[cfg(test)]
mod tests;

use ortus::core::error::{Error, Result, short};

/// Rows whose values are counted.
const LOOK_ROWS: usize = 65_536;
/// Whole numbers up to this are exact in FP32.
const EXACT: f64 = 16_777_216.0;
/// Numbers with decimals are shifted if the steps of FP32 are more than this share of their spread.
const COARSE: f64 = 1e-6;

/// How a column of numbers becomes FP32.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NumberFit {
    /// What is subtracted in FP64 first; none if the input is FP32.
    pub minus: Option<f64>,
    pub note: Option<String>,
}

/// Different values among those that are counted.
struct KeptValues {
    /// In FP64.
    all: usize,
    /// In FP32.
    plain: usize,
    /// In FP32, after the shift.
    shifted: usize,
}

/// Chooses how a column becomes FP32. Refuses whole numbers of which FP32 merges over a tenth, also
/// after a shift.
pub(super) fn fit(name: &str, all: &[f64]) -> Result<NumberFit> {
    let plain = NumberFit {
        minus: None,
        note: None,
    };
    let known = || all.iter().copied().filter(|v| v.is_finite());
    let is_whole = known().all(|v| v.fract() == 0.0);
    let size = known().fold(0.0, |size: f64, v| size.max(v.abs()));
    if is_whole && size <= EXACT {
        return Ok(plain);
    }

    let step = all.len().div_ceil(LOOK_ROWS).max(1);
    let mut some: Vec<f64> = all.iter().copied().step_by(step).collect();
    some.retain(|v| v.is_finite());
    some.sort_unstable_by(f64::total_cmp);
    let Some(middle) = some.get(some.len() / 2).copied() else {
        return Ok(plain);
    };
    some.dedup();
    let kept = KeptValues {
        all: some.len(),
        plain: kept(&some, 0.0),
        shifted: kept(&some, middle),
    };

    // Without decimals two values are never the same number, written with other errors of rounding.
    let spread = some.last().unwrap_or(&middle) - some.first().unwrap_or(&middle);
    let is_coarse = is_whole || size * f64::from(f32::EPSILON) > COARSE * spread;
    let gain = kept.shifted.saturating_sub(kept.plain);
    let minus = (is_coarse && gain * 100 >= kept.all && gain > 0).then_some(middle);
    let best = minus.map_or(kept.plain, |_| kept.shifted);
    if is_whole && best * 10 < kept.all * 9 {
        return Err(Error::invalid(format!(
            "'{}' holds whole numbers of which FP32 keeps only {best} of {} different ones, also less {middle}; \
             if they are names, CAST them to VARCHAR in the query; if they have parts, split them there, as x / 1000000 and x % 1000000; or leave the column out with 'ignore' in [schema]",
            short(name),
            kept.all
        )));
    }
    Ok(NumberFit {
        minus,
        note: note(name, &kept, minus),
    })
}

/// Counts the different values in FP32. `sorted` are different and in order, which FP32 keeps.
fn kept(sorted: &[f64], minus: f64) -> usize {
    let mut last = f32::NAN;
    let mut count = 0;
    for value in sorted {
        let rounded = (value - minus) as f32;
        count += usize::from(rounded != last);
        last = rounded;
    }
    count
}

fn note(name: &str, kept: &KeptValues, minus: Option<f64>) -> Option<String> {
    let minus = minus?;
    Some(format!(
        "'{}' is an FP64 input: FP32 would keep {} of {} different values; the graph subtracts {minus} first and keeps {}",
        short(name),
        kept.plain,
        kept.all,
        kept.shifted
    ))
}
