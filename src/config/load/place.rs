//! Which setting the path of a flag or variable names.

use crate::serve::settings::padding::{PADDING, PADDING_KEYS};
use crate::serve::settings::watched::{WATCHED, WATCHED_KEYS};

/// Where a path leads.
pub(super) struct SettingPlace<'p> {
    pub(super) section: &'p str,
    pub(super) key: &'p str,
    /// A key of the table that is the setting.
    pub(super) part: Option<&'p str>,
}

impl<'p> SettingPlace<'p> {
    pub(super) fn of(section: &'p str, key: &'p str, separator: &str) -> Self {
        let table = |outer, table| Self {
            section: outer,
            key: table,
            part: Some(key),
        };
        match section.rsplit_once(separator) {
            Some((outer, PADDING)) if PADDING_KEYS.contains(&key) => table(outer, PADDING),
            Some((outer, WATCHED)) if WATCHED_KEYS.contains(&key) => table(outer, WATCHED),
            _ => Self {
                section,
                key,
                part: None,
            },
        }
    }
}
