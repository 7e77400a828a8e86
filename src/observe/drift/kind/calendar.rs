//! Columns of the calendar, by their names and values: hours, weekdays, months, days, times since
//! 1970; and names of identifiers.

use super::{ends, steps_around};
use crate::observe::drift::facts::LearnedValues;
use crate::observe::drift::series::ColumnSeries;
use std::collections::BTreeSet;

/// A unit of the calendar: what names say it, the range of its values, and its length.
struct CalendarUnit {
    title: &'static str,
    names: &'static [&'static str],
    /// Ranges that its whole values may have.
    ranges: &'static [(f64, f64)],
    length: f64,
}

const UNITS: &[CalendarUnit] = &[
    CalendarUnit {
        title: "an hour of the day",
        names: &[
            "hour",
            "hr",
            "hod",
            "hourofday",
            "stunde",
            "uhrzeit",
            "heure",
            "hora",
            "ora",
            "uur",
            "godzina",
        ],
        ranges: &[(0.0, 23.0), (1.0, 24.0)],
        length: 24.0,
    },
    CalendarUnit {
        title: "a day of the week",
        names: &[
            "weekday",
            "dow",
            "wday",
            "dayofweek",
            "day",
            "week",
            "wochentag",
            "tag",
            "jour",
            "joursemaine",
            "dia",
            "diasemana",
            "giorno",
            "dag",
            "weekdag",
        ],
        ranges: &[(0.0, 6.0), (1.0, 7.0)],
        length: 7.0,
    },
    CalendarUnit {
        title: "a month",
        names: &[
            "month", "mnth", "mth", "monat", "mois", "mes", "mese", "maand",
        ],
        ranges: &[(1.0, 12.0), (0.0, 11.0)],
        length: 12.0,
    },
    CalendarUnit {
        title: "a quarter",
        names: &[
            "quarter",
            "qtr",
            "season",
            "quartal",
            "trimestre",
            "kwartaal",
        ],
        ranges: &[(1.0, 4.0), (0.0, 3.0)],
        length: 4.0,
    },
    CalendarUnit {
        title: "a day of the month",
        names: &[
            "day",
            "mday",
            "dom",
            "dayofmonth",
            "tag",
            "jour",
            "dia",
            "giorno",
            "dag",
        ],
        ranges: &[(1.0, 31.0)],
        length: 31.0,
    },
    CalendarUnit {
        title: "a minute",
        names: &["minute", "minuto", "minuut"],
        ranges: &[(0.0, 59.0)],
        length: 60.0,
    },
    CalendarUnit {
        title: "a week of the year",
        names: &[
            "week",
            "weekofyear",
            "isoweek",
            "woche",
            "kw",
            "kalenderwoche",
            "semaine",
            "semana",
            "settimana",
        ],
        ranges: &[(1.0, 53.0)],
        length: 53.0,
    },
    CalendarUnit {
        title: "a day of the year",
        names: &["yday", "doy", "dayofyear", "yearday"],
        ranges: &[(1.0, 366.0)],
        length: 366.0,
    },
];

/// The days of the week, in English, German, French, Spanish, Italian and Dutch, whole and cut short.
const WEEKDAYS: [&str; 6] = [
    "monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun",
    "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag mo di mi do fr sa so",
    "lundi mardi mercredi jeudi vendredi samedi dimanche lun mar mer jeu ven sam dim",
    "lunes martes miércoles miercoles jueves viernes sábado sabado domingo lun mar mié mie jue vie sáb sab dom",
    "lunedì lunedi martedì martedi mercoledì mercoledi giovedì giovedi venerdì venerdi sabato domenica lun mar mer gio ven sab dom",
    "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag ma di wo do vr za zo",
];
/// The months in the same languages.
const MONTHS: [&str; 6] = [
    "january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept oct nov dec",
    "januar jänner februar märz maerz april mai juni juli august september oktober november dezember jan feb mär mrz apr jun jul aug sep okt nov dez",
    "janvier février fevrier mars avril mai juin juillet août aout septembre octobre novembre décembre decembre janv févr fevr avr juil sept oct nov déc dec",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre ene feb mar abr may jun jul ago sep sept oct nov dic",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre gen feb mar apr mag giu lug ago set ott nov dic",
    "januari februari maart april mei juni juli augustus september oktober november december jan feb mrt apr mei jun jul aug sep okt nov dec",
];

/// Tells whether a column is a unit of the calendar: why, and how many values the unit has.
pub(super) fn calendar_of(
    name: &str,
    series: &ColumnSeries,
    learned: Option<&LearnedValues>,
) -> Option<(String, f64)> {
    let known = learned.and_then(LearnedValues::codes);
    let with_learned = |mut values: Vec<f64>| {
        let here = values.len();
        values.extend(known.into_iter().flatten().map(|code| *code as f64));
        unit_of(name, &values, here)
    };
    match series {
        ColumnSeries::Words(words) => {
            let known = learned.and_then(LearnedValues::words);
            named_days(
                words
                    .iter()
                    .take(100_000)
                    .chain(known.into_iter().flatten()),
            )
        }
        ColumnSeries::Whole(values) => with_learned(values.iter().map(|v| *v as f64).collect()),
        ColumnSeries::Numbers(values) => {
            with_learned(values.iter().copied().filter(|v| !v.is_nan()).collect())
        }
    }
}

fn named_days<'w>(words: impl Iterator<Item = &'w String>) -> Option<(String, f64)> {
    let plain = |word: &'w String| {
        let word = word.trim().trim_end_matches('.').to_lowercase();
        (!word.is_empty()).then_some(word)
    };
    let found: BTreeSet<String> = words.filter_map(plain).collect();
    let all_in = |languages: &[&str]| {
        let is_of = |names: &&str| {
            let names: Vec<&str> = names.split(' ').collect();
            found.iter().all(|word| names.contains(&word.as_str()))
        };
        found.len() >= 3 && languages.iter().any(is_of)
    };

    if all_in(&WEEKDAYS) {
        return Some(("its words are days of the week".to_owned(), 7.0));
    }
    all_in(&MONTHS).then(|| ("its words are months".to_owned(), 12.0))
}

/// Finds a unit by the name and the range of whole values, or by values that step around its circle; only
/// the first `ordered` values are in the order of rows.
fn unit_of(name: &str, values: &[f64], ordered: usize) -> Option<(String, f64)> {
    if !values.iter().all(|v| v.fract() == 0.0) {
        return None;
    }
    let (least, greatest) = ends(values)?;
    let words = words_of(name);
    let is_within = |unit: &CalendarUnit| {
        unit.ranges
            .iter()
            .any(|(low, high)| *low <= least && greatest <= *high)
    };
    // A flag, such as `is_month_end`, is no unit of the calendar.
    let has_many = greatest - least >= 2.0;
    let is_named =
        |unit: &&CalendarUnit| has_many && words.iter().any(|w| unit.names.contains(&w.as_str()));
    if let Some(unit) = UNITS.iter().filter(is_named).find(|unit| is_within(unit)) {
        let reason = format!("its name and range are those of {}", unit.title);
        return Some((reason, unit.length));
    }

    // Without a telling name: the whole circle, walked step by step.
    let is_whole = |unit: &&CalendarUnit| {
        unit.ranges
            .iter()
            .any(|(low, high)| (*low, *high) == (least, greatest))
    };
    let unit = UNITS
        .iter()
        .filter(|unit| matches!(unit.length as u32, 7 | 12 | 24))
        .filter(is_whole)
        .find(|unit| steps_around(&values[..ordered], unit.length))?;
    let reason = format!(
        "its values are those of {}, and go round in the order of rows",
        unit.title
    );
    Some((reason, unit.length))
}

/// Ranges of times since 1970, from 2001 to 2065: in seconds, milliseconds, microseconds and
/// nanoseconds.
const TIMES: [(f64, f64); 4] = [(1e9, 3e9), (1e12, 3e12), (1e15, 3e15), (1e18, 3e18)];

/// Tells whether a column is a time since 1970.
pub(super) fn is_time(name: &str, (least, greatest): (f64, f64)) -> bool {
    const NAMES: [&str; 12] = [
        "ts",
        "time",
        "timestamp",
        "date",
        "datetime",
        "epoch",
        "unixtime",
        "unix",
        "created",
        "updated",
        "at",
        "when",
    ];
    let is_named = words_of(name).iter().any(|w| NAMES.contains(&w.as_str()));
    is_named
        && TIMES
            .iter()
            .any(|(low, high)| *low <= least && greatest < *high)
}

/// Tells whether a name is that of an identifier.
pub(super) fn is_identifier(name: &str) -> bool {
    words_of(name)
        .iter()
        .any(|w| matches!(w.as_str(), "id" | "ids" | "uuid" | "guid" | "key" | "index"))
}

/// Splits a name into lower-case words: `pickupHour` and `pickup_hour` are `pickup` and `hour`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        let starts = letter.is_uppercase() && was_lower;
        was_lower = letter.is_lowercase();
        if starts || !letter.is_alphabetic() {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            let last = words.last_mut().expect("begins with a word");
            last.extend(letter.to_lowercase());
        }
    }

    words.retain(|word| !word.is_empty());
    let whole: String = words.concat();
    words.push(whole);
    words
}
