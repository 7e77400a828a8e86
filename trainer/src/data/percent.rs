//! Shares of rows as text.

/// Returns a share of rows for a person.
pub(crate) fn percent(rows: usize, of: usize) -> String {
    let share = 100.0 * rows as f64 / of.max(1) as f64;
    match share {
        s if rows > 0 && s < 0.1 => "<0.1 %".to_owned(),
        s if rows < of && s > 99.9 => ">99.9 %".to_owned(),
        s => format!("{s:.1} %"),
    }
}
