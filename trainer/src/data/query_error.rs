//! The text of an error of the query engine: its first line, cut to a length
//! that fits a message.

use datafusion::error::DataFusionError;

/// The most bytes of a message.
const BYTES_MAX: usize = 400;

/// Returns the first line of the error's text.
pub(super) fn message(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let line = text.lines().next().unwrap_or_default();
    line[..line.floor_char_boundary(BYTES_MAX)].to_owned()
}
