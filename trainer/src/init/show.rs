//! Shows in the terminal what was understood of the data: what is suspicious first, then the columns.

use super::Understood;
use ortus::cli::print::{TextTable, line};
use ortus::core::count::counted;
use ortus::core::error::short;

/// The most columns that are shown.
pub(super) const COLUMNS_MAX: usize = 60;
/// The most remarks that are shown.
pub(super) const REMARKS_MAX: usize = 25;

/// Prints what was understood.
pub(crate) fn print(understood: &Understood) {
    line(&heading(understood));
    if !understood.remarks.is_empty() {
        line("");
        line("look at this first:");
    }
    for remark in understood.remarks.iter().take(REMARKS_MAX) {
        let what = &remark.what;
        match remark.way_out.as_str() {
            "" => line(&format!("- {what}")),
            way_out => line(&format!("- {what}\n  → {way_out}")),
        }
    }
    if let Some(more) = more(understood.remarks.len(), REMARKS_MAX, "remark") {
        line(&format!("- {more}"));
    }

    line("");
    let mut table = TextTable::new(&["column", "kind", "missing", "values", "use"]);
    for column in understood.columns.iter().take(COLUMNS_MAX) {
        table.row(&[
            &shown(&column.name),
            column.kind,
            &column.missing,
            &column.values,
            &column.used,
        ]);
    }
    table.print();
    if let Some(more) = more(understood.columns.len(), COLUMNS_MAX, "column") {
        line(&format!(" {more}"));
    }
    line("");
    line(&understood.plan);
}

/// Returns the data in one line: how many rows and columns, and how its files are written.
pub(super) fn heading(understood: &Understood) -> String {
    let dialect = understood.dialect.iter();
    let dialect: String = dialect.map(|found| format!(", read as: {found}")).collect();
    format!(
        "{}: {}, {}{dialect}",
        understood.data,
        counted(understood.rows, "row"),
        counted(understood.columns.len(), "column")
    )
}

/// Returns how many are not shown, if there are more than the most.
pub(super) fn more(all: usize, most: usize, what: &str) -> Option<String> {
    let rest = all.checked_sub(most).filter(|rest| *rest > 0)?;
    Some(format!(
        "… and {}; --html and --json show all",
        counted(rest, &format!("more {what}"))
    ))
}

/// Returns a name in one line.
pub(super) fn shown(name: &str) -> String {
    short(name).replace(char::is_control, "␤")
}
