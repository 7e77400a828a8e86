//! Compares the messages that the troubleshooting page quotes with the texts in the
//! source, so that a message cannot be reworded without its row.

use crate::support::root;
use std::fs;
use std::path::Path;

/// Inline code in columns headed "… contains", with its line. A quote is cut at each `…`,
/// which stands for a value.
pub(super) fn quoted(page: &str) -> Vec<(usize, String)> {
    let mut quoted = Vec::new();
    let mut columns: Option<Vec<usize>> = None;
    for (at, line) in page.lines().enumerate() {
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(columns) = &columns else {
            let is_wanted = |at: &usize| cells[*at].ends_with("contains");
            columns = Some((0..cells.len()).filter(is_wanted).collect());
            continue;
        };
        let wanted = columns.iter().filter_map(|at| cells.get(*at));
        let quotes = wanted.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let parts = quotes.flat_map(|quote| quote.split('…'));
        let texts = parts.map(|part| part.trim_matches([' ', '\'']).to_owned());
        quoted.extend(texts.filter(|t| !t.is_empty()).map(|text| (at + 1, text)));
    }
    quoted
}

/// The source of the programs, with each text on one line.
pub(super) fn source() -> String {
    let mut all = String::new();
    for folder in ["src", "trainer/src"] {
        add(&root().join(folder), &mut all);
    }
    // A line that ends in a backslash continues with the first word of the next one.
    let mut parts = all.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start())
}

fn add(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            add(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            *all += &fs::read_to_string(&path).expect("a file");
        }
    }
}
