//! Finds columns whose values stand for entities with several rows each, such as customers, and whole
//! numbers that are codes. Both are told by the target: rows of one value agree in it more than others.

use super::{LookedTarget, RepeatedEntity};
use crate::data::columns::{Gathered, Raw};
use crate::frame::MISSING;
use crate::random::mix;

/// Rows of which about so many are looked at: all rows of some of the values.
const ROWS_LOOKED: usize = 100_000;
/// The fewest entities; fewer values are categories.
const ENTITIES_MIN: usize = 100;
/// The fewest rows of an entity, on average.
const ROWS_EACH_MIN: f64 = 2.0;
/// The least agreement of rows of one entity.
const AGREEMENT_MIN: f64 = 0.1;
/// The agreement from which rows of one entity are nearly copies.
const AGREEMENT_SURE: f64 = 0.8;
/// How many codes there may be.
const CODES: std::ops::RangeInclusive<usize> = 10..=254;
/// Parts of names of columns that hold entities.
const ENTITY_NAMES: [&str; 18] = [
    "customer",
    "client",
    "user",
    "patient",
    "account",
    "member",
    "person",
    "household",
    "device",
    "subject",
    "employee",
    "student",
    "card",
    "kunde",
    "buyer",
    "owner",
    "tenant",
    "id",
];

/// The rows of a value, as its key and the target.
struct KeyedRows {
    /// Sorted by the key.
    keys: Vec<(u64, f64)>,
    is_class: bool,
    /// One of so many values was looked at.
    step: u64,
}

/// Returns the entities of a column, if its values stand for some.
pub(super) fn repeated(column: &Gathered, target: &LookedTarget) -> Option<RepeatedEntity> {
    let rows = KeyedRows::of(column, target)?;
    let (values, each) = rows.sizes();
    if values < ENTITIES_MIN || each < ROWS_EACH_MIN {
        return None;
    }
    let agreement = rows.agreement();
    if agreement < AGREEMENT_MIN {
        return None;
    }
    let is_named = is_entity_name(&column.name);
    let is_number = matches!(column.values, Raw::Numbers(_));
    // Neighbours of an amount are alike as well; those of an entity are strangers.
    if is_number && (!is_named || rows.of_neighbours(8).agreement() * 2.0 > agreement) {
        return None;
    }
    Some(RepeatedEntity {
        values,
        agreement,
        is_sure: is_named || agreement >= AGREEMENT_SURE,
    })
}

/// Whether whole numbers are codes: rows of one value agree, and rows of neighbouring values do not.
pub(super) fn is_code(column: &Gathered, target: &LookedTarget) -> bool {
    let Some(rows) = KeyedRows::of(column, target) else {
        return false;
    };
    if !CODES.contains(&rows.sizes().0) {
        return false;
    }
    let agreement = rows.agreement();
    agreement >= AGREEMENT_MIN && rows.of_neighbours(4).agreement() * 2.0 < agreement
}

fn is_entity_name(name: &str) -> bool {
    let mut parts: Vec<String> = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && was_lower) {
            parts.push(String::new());
        }
        was_lower = c.is_lowercase();
        if c.is_alphanumeric()
            && let Some(part) = parts.last_mut()
        {
            part.extend(c.to_lowercase());
        }
    }
    let is_known = |part: &String| {
        ENTITY_NAMES
            .iter()
            .any(|known| part == known || part.strip_suffix('s') == Some(*known))
    };
    parts.iter().any(is_known)
}

impl KeyedRows {
    fn of(column: &Gathered, target: &LookedTarget) -> Option<Self> {
        let key = |row: usize| -> Option<u64> {
            match &column.values {
                Raw::Words(words) => Some(words.codes[row])
                    .filter(|code| *code != MISSING)
                    .map(u64::from),
                // In their order, so that neighbours are near.
                Raw::Numbers(all) => Some(all[row])
                    .filter(|v| v.is_finite() && v.abs() < 1e15)
                    .map(|v| (v as i64).cast_unsigned() ^ (1 << 63)),
                Raw::Times(_) => None,
            }
        };
        let (count, is_class) = match target {
            LookedTarget::Classes(all) => (all.len(), true),
            LookedTarget::Values(all) => (all.len(), false),
        };
        let value = |row: usize| match target {
            LookedTarget::Classes(all) => Some(all[row]).filter(|c| *c != MISSING).map(f64::from),
            LookedTarget::Values(all) => Some(all[row]).filter(|v| v.is_finite()),
        };

        let step = count.div_ceil(ROWS_LOOKED).max(1) as u64;
        let is_looked_at = |key: &u64| step == 1 || mix(*key, 1).is_multiple_of(step);
        let rows = (0..count).filter_map(|row| Some((key(row).filter(is_looked_at)?, value(row)?)));
        let mut keys: Vec<(u64, f64)> = rows.collect();
        if keys.len() < ENTITIES_MIN {
            return None;
        }
        keys.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Some(Self {
            keys,
            is_class,
            step,
        })
    }

    /// Returns how many values there are, and how many rows each has.
    fn sizes(&self) -> (usize, f64) {
        let values = self.keys.chunk_by(|a, b| a.0 == b.0).count();
        let each = self.keys.len() as f64 / values.max(1) as f64;
        (values * self.step as usize, each)
    }

    /// Puts so many neighbouring values together.
    fn of_neighbours(&self, of: u64) -> Self {
        let mut keys = Vec::with_capacity(self.keys.len());
        for (at, rows) in (0_u64..).zip(self.keys.chunk_by(|a, b| a.0 == b.0)) {
            keys.extend(rows.iter().map(|(_, value)| (at / of, *value)));
        }
        keys.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Self {
            keys,
            is_class: self.is_class,
            step: self.step,
        }
    }

    /// Returns how far rows of one value agree in the target: 0 as far as any two rows, 1 wholly. For
    /// classes the share of equal pairs (Cohen's kappa), for values the share of the variance between
    /// values of the column.
    fn agreement(&self) -> f64 {
        match self.is_class {
            true => self.agreement_of_classes(),
            false => self.agreement_of_values(),
        }
    }

    fn agreement_of_classes(&self) -> f64 {
        let count = |n: usize| n as f64;
        let (mut equal, mut pairs) = (0.0, 0.0);
        for rows in self.keys.chunk_by(|a, b| a.0 == b.0) {
            pairs += count(rows.len()) * (count(rows.len()) - 1.0);
            for class in rows.chunk_by(|a, b| a.1 == b.1) {
                equal += count(class.len()) * (count(class.len()) - 1.0);
            }
        }
        let mut classes: Vec<f64> = self.keys.iter().map(|(_, class)| *class).collect();
        classes.sort_unstable_by(f64::total_cmp);
        let whole = count(classes.len());
        let shares = classes.chunk_by(|a, b| a == b);
        let chance: f64 = shares
            .map(|class| (count(class.len()) / whole).powi(2))
            .sum();
        match pairs > 0.0 && chance < 1.0 {
            true => (equal / pairs - chance) / (1.0 - chance),
            false => 0.0,
        }
    }

    fn agreement_of_values(&self) -> f64 {
        let n = self.keys.len() as f64;
        let mean = self.keys.iter().map(|(_, v)| v).sum::<f64>() / n;
        let whole = self
            .keys
            .iter()
            .map(|(_, v)| (v - mean).powi(2))
            .sum::<f64>()
            / (n - 1.0);
        let (mut within, mut values) = (0.0, 0.0);
        for rows in self.keys.chunk_by(|a, b| a.0 == b.0) {
            let mean = rows.iter().map(|(_, v)| v).sum::<f64>() / rows.len() as f64;
            within += rows.iter().map(|(_, v)| (v - mean).powi(2)).sum::<f64>();
            values += 1.0;
        }
        match n > values && whole > 0.0 {
            true => 1.0 - within / (n - values) / whole,
            false => 0.0,
        }
    }
}
