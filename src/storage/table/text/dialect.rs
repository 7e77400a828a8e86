//! Finds the separator of a text table from its first records: the one by which most records have as
//! many fields as the first. Separators within quotes do not count.

use super::split::{FieldSpan, RecordSplitter, SplitStep};

/// The separators that are tried, in the order in which they win a tie.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// The records that are looked at.
const RECORDS: usize = 500;

/// How well a separator fits.
struct DelimiterFit {
    delimiter: u8,
    width: usize,
    /// The share of records with as many fields as the first.
    share: f64,
}

/// Returns the name of a separator, in the plural.
pub(super) fn delimiter_name(delimiter: u8) -> String {
    match delimiter {
        b',' => "commas".to_owned(),
        b';' => "semicolons".to_owned(),
        b'\t' => "tabs".to_owned(),
        b'|' => "pipes".to_owned(),
        other => format!("'{}'", char::from(other)),
    }
}

/// Takes the line `sep=;` that Excel writes off a text. Returns its length and the separator.
pub(super) fn declared(text: &[u8]) -> Option<(usize, u8)> {
    let rest = text.strip_prefix(b"sep=")?;
    match rest {
        [delimiter, b'\r', b'\n', ..] => Some((7, *delimiter)),
        [delimiter, b'\n', ..] => Some((6, *delimiter)),
        _ => None,
    }
}

/// Finds the separator. `is_whole` tells that the sample is the whole text.
pub(super) fn delimiter(sample: &[u8], quote: Option<u8>, is_whole: bool) -> u8 {
    let fits = DELIMITERS.map(|delimiter| fit(delimiter, sample, quote, is_whole));
    let best = |wide: bool| {
        let able = fits.iter().filter(|fit| (fit.width > 1) == wide);
        // The first of equals.
        able.reduce(|best, fit| {
            let is_better = (fit.share, fit.width) > (best.share, best.width);
            if is_better { fit } else { best }
        })
    };

    let (wide, narrow) = (best(true), best(false));
    let chosen = match (wide, narrow) {
        (Some(wide), _) if wide.share >= 0.5 => Some(wide),
        // One column, whose values may hold commas.
        (Some(wide), Some(narrow)) if narrow.share > wide.share => Some(narrow),
        (None, narrow) => narrow,
        (wide, _) => wide,
    };
    chosen.map_or(b',', |fit| fit.delimiter)
}

fn fit(delimiter: u8, sample: &[u8], quote: Option<u8>, is_whole: bool) -> DelimiterFit {
    let mut text = sample.to_vec();
    // The last line is complete; a quote that nobody closes is no fault of the separator.
    if is_whole {
        text.push(b'\n');
    }
    let mut splitter = RecordSplitter::new(delimiter, quote);
    let mut fields: Vec<FieldSpan> = Vec::new();
    let (mut at, mut width, mut records, mut same) = (0, 0, 0, 0);
    while records < RECORDS {
        fields.clear();
        match splitter.step(&mut text, at, false, &mut fields) {
            Ok(SplitStep::Record(next)) => {
                if records == 0 {
                    width = fields.len();
                }
                records += 1;
                same += usize::from(fields.len() == width);
                at = next;
            }
            Ok(SplitStep::Blank(next)) => at = next,
            Ok(SplitStep::More | SplitStep::End) => break,
            // Quotes end where they should not: another separator fits better.
            Err(_) => {
                records = records.max(1) * 4;
                break;
            }
        }
    }
    DelimiterFit {
        delimiter,
        width,
        share: same as f64 / records.max(1) as f64,
    }
}
