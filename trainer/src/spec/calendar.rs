//! `[schema.calendar]`: features that are computed from times, such as the hour and the weekday.

use ortus::explain::derivation::CalendarPart;
use ortus::storage::table::text::format::zone_seconds;
use std::collections::BTreeMap;
use toml::Value;

/// The name of the days until the time of the row.
const AGE: &str = "age_days";
/// What a value must be.
const MUST: &str = "a list of \"minute\", \"hour\", \"weekday\", \"day\", \"month\", \"year\", \"days\" and \"age_days\", each at most once; or a table such as { parts = [\"hour\"], zone = \"+02:00\" }";

/// Columns with the features that are computed from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calendar(pub BTreeMap<String, CalendarFeatures>);

/// The features that are computed from a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CalendarFeatures {
    pub parts: Vec<CalendarPart>,
    /// Whether the days until the time of the row are a feature.
    pub age: bool,
    /// The offset from UTC, as it is set and in seconds.
    pub zone: Option<(String, i32)>,
}

impl CalendarFeatures {
    /// Reads a list of parts, or a table of them and a zone.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let (parts, zone) = match value {
            Value::Table(table) if table.keys().all(|key| key == "parts" || key == "zone") => {
                (table.get("parts"), table.get("zone"))
            }
            value => (Some(value), None),
        };
        let mut found = Self::default();
        let parts = parts.and_then(Value::as_array);
        for part in parts.filter(|parts| !parts.is_empty()).ok_or(MUST)? {
            found.add(part.as_str().ok_or(MUST)?)?;
        }
        if let Some(zone) = zone {
            let text = zone.as_str().unwrap_or_default();
            let seconds = zone_seconds(text).ok_or(
                "a table whose 'zone' is \"UTC\" or an offset such as \"+02:00\"; the graph cannot follow daylight saving time",
            )?;
            found.zone = Some((text.to_owned(), seconds));
        }
        Ok(found)
    }

    fn add(&mut self, name: &str) -> Result<(), String> {
        if name == AGE && !self.age {
            self.age = true;
            return Ok(());
        }
        let known = CalendarPart::ALL.iter().find(|(known, _)| *known == name);
        match known {
            Some((_, part)) if !self.parts.contains(part) => self.parts.push(*part),
            _ => return Err(MUST.to_owned()),
        }
        Ok(())
    }

    /// Returns the names of its features.
    fn names(&self) -> Vec<&'static str> {
        let all = CalendarPart::ALL.iter();
        let chosen = all.filter(|(_, part)| self.parts.contains(part));
        let chosen = chosen.map(|(name, _)| *name);
        chosen.chain(self.age.then_some(AGE)).collect()
    }

    /// Returns the offset from UTC in seconds.
    pub(crate) fn zone_seconds(&self) -> i32 {
        self.zone.as_ref().map_or(0, |(_, seconds)| *seconds)
    }
}

impl Calendar {
    /// Returns the canonical value; the same for the same meaning.
    pub(super) fn to_value(&self) -> Value {
        let one = |(name, features): (&String, &CalendarFeatures)| {
            let parts = features.names().into_iter().map(Value::from).collect();
            let table = toml::Table::from_iter([
                ("parts".to_owned(), Value::Array(parts)),
                ("zone".to_owned(), features.zone_seconds().into()),
            ]);
            (name.clone(), Value::Table(table))
        };
        Value::Table(self.0.iter().map(one).collect())
    }
}
