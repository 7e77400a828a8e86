//! Lists of names in messages: a few in full, those most like the wanted one first, and how many more there are.

#[cfg(test)]
mod tests;

use super::error::short;

/// The most names of a list.
const LISTED: usize = 8;
/// The most bytes of a list, beside the first name.
const BYTES: usize = 160;

/// Lists names in their order.
pub fn listed(names: &[&str]) -> String {
    let (mut text, mut shown) = (String::new(), 0);
    for name in names.iter().map(|name| short(name)) {
        let is_full = shown == LISTED || text.len() + name.len() > BYTES;
        if is_full && shown > 0 {
            break;
        }
        let separator = if shown > 0 { ", " } else { "" };
        text.push_str(&format!("{separator}{name}"));
        shown += 1;
    }
    match names.len() - shown {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// Says which names there are instead of an unknown one, such as "; did you mean 'age'? It has age, plan". `has` begins
/// the list.
pub fn instead(unknown: &str, names: &[&str], has: &str) -> String {
    let wanted = short(unknown).to_lowercase();
    let far = |name: &str| strsim::levenshtein(&wanted, &short(name).to_lowercase());
    let mut order: Vec<(usize, &str)> = names.iter().map(|name| (far(name), *name)).collect();
    order.sort_by_key(|(far, _)| *far);
    let near = order
        .first()
        .filter(|(far, name)| *far <= name.len().max(wanted.len()) / 2);
    let Some((_, nearest)) = near else {
        return format!("; {has} {}", listed(names));
    };
    let nearest = short(nearest);
    let sorted: Vec<&str> = order.iter().map(|(_, name)| *name).collect();
    let mut first = has.chars();
    let has = first
        .next()
        .map(|c| c.to_uppercase().to_string() + first.as_str());
    format!(
        "; did you mean '{nearest}'? {} {}",
        has.unwrap_or_default(),
        listed(&sorted)
    )
}
