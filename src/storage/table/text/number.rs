//! Numbers as people write them: with a decimal point or comma, marks between thousands, a currency
//! or a percent sign. A value may fit several formats; the column decides. Exact: whole numbers stay
//! integers, and decimals round as the standard library's do.

#[cfg(test)]
mod tests;

/// The formats with a decimal point, and those with a decimal comma.
pub(super) const DECIMAL_POINT: u8 = 0x0f;
pub(super) const DECIMAL_COMMA: u8 = 0xf0;
/// The formats without a mark between thousands, and with each mark.
pub(super) const NO_MARK: u8 = 0x11;
pub(super) const COMMA: u8 = 0x02;
pub(super) const POINT: u8 = 0x20;
pub(super) const SPACE: u8 = 0x44;
pub(super) const APOSTROPHE: u8 = 0x88;

/// The longest number in bytes.
const NUMBER_BYTES_MAX: usize = 64;
/// The largest mantissa that FP64 holds exactly.
const EXACT_MAX: u64 = 1 << 53;
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Signs and codes of currencies, longest first.
const CURRENCIES: [&str; 22] = [
    "US$", "USD", "EUR", "GBP", "JPY", "CHF", "CNY", "AUD", "CAD", "NZD", "SEK", "NOK", "DKK",
    "PLN", "CZK", "INR", "BRL", "$", "€", "£", "¥", "₹",
];

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NumberValue {
    /// A whole number: its sign and its size.
    Whole { negative: bool, size: u64 },
    /// A whole number beyond 64 bits.
    Long,
    /// A number with decimals or an exponent.
    Fraction(f64),
}

/// A number as it is written, with the formats that it fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenNumber {
    pub value: NumberValue,
    pub formats: u8,
    /// Whether it begins with a 0 that has no meaning, such as `007`.
    pub zeros: bool,
}

/// A number in a field, without its signs.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedNumber {
    /// Digits and marks, in one spelling of each mark; then the exponent.
    core: [u8; NUMBER_BYTES_MAX],
    /// The length without the exponent, and with it.
    length: usize,
    whole_length: usize,
    negative: bool,
    pub percent: bool,
    /// An index of [`CURRENCIES`].
    pub currency: Option<u8>,
}

impl NumberValue {
    /// Returns it as FP64.
    pub(super) fn number(self) -> f64 {
        match self {
            Self::Whole { negative, size } if negative => -(size as f64),
            Self::Whole { size, .. } => size as f64,
            Self::Long => f64::NAN,
            Self::Fraction(value) => value,
        }
    }
}

/// Returns the sign of a currency that may also be written by its code.
fn canonical_currency(at: u8) -> u8 {
    let sign = match currency_name(at) {
        "US$" | "USD" => "$",
        "EUR" => "€",
        "GBP" => "£",
        "JPY" => "¥",
        "INR" => "₹",
        other => other,
    };
    position(|name| name == sign).unwrap_or(at)
}

/// Returns the name of a currency.
pub(super) fn currency_name(at: u8) -> &'static str {
    CURRENCIES.get(usize::from(at)).copied().unwrap_or_default()
}

/// Reads a number without marks other than a decimal point. The most frequent form, and the fastest.
pub(super) fn plain(text: &[u8]) -> Option<WrittenNumber> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };

    let mut mantissa = 0_u64;
    let mut at = 0;
    while let Some(digit) = digits
        .get(at)
        .map(|b| b.wrapping_sub(b'0'))
        .filter(|d| *d < 10)
    {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(digit.into());
        at += 1;
    }
    let whole = at;
    if at == digits.len() && whole > 0 {
        let zeros = whole > 1 && digits[0] == b'0';
        let value = match whole {
            ..20 => NumberValue::Whole {
                negative,
                size: mantissa,
            },
            _ => long(digits, negative),
        };
        return Some(WrittenNumber {
            value,
            formats: u8::MAX,
            zeros,
        });
    }

    let has_point = digits.get(at) == Some(&b'.');
    if has_point {
        at += 1;
        while let Some(digit) = digits
            .get(at)
            .map(|b| b.wrapping_sub(b'0'))
            .filter(|d| *d < 10)
        {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit.into());
            at += 1;
        }
    }
    let decimals = at - whole - usize::from(has_point);
    if whole + decimals == 0 {
        return None;
    }
    let value = if at == digits.len() && whole + decimals < 20 && mantissa <= EXACT_MAX {
        let size = mantissa as f64 / POWERS[decimals];
        if negative { -size } else { size }
    } else {
        exponent(&digits[at..])?;
        std::str::from_utf8(text).ok()?.parse().ok()?
    };

    let is_group = decimals == 3 && (1..4).contains(&whole) && digits[0] != b'0';
    let formats = match has_point {
        false => u8::MAX,
        true if is_group && at == digits.len() => DECIMAL_POINT | POINT,
        true => DECIMAL_POINT,
    };
    Some(WrittenNumber {
        value: NumberValue::Fraction(value),
        formats,
        zeros: false,
    })
}

/// Checks an exponent, or that there is none.
fn exponent(text: &[u8]) -> Option<()> {
    let Some((mark, rest)) = text.split_first() else {
        return Some(());
    };
    let digits = match rest.split_first() {
        Some((b'-' | b'+', digits)) => digits,
        _ => rest,
    };

    let is_exponent =
        matches!(mark, b'e' | b'E') && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_exponent.then_some(())
}

/// Reads a whole number of 20 digits or more.
fn long(digits: &[u8], negative: bool) -> NumberValue {
    let size = std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse().ok());
    match size {
        Some(size) if !negative || size <= i64::MIN.unsigned_abs() => {
            NumberValue::Whole { negative, size }
        }
        _ => NumberValue::Long,
    }
}

/// Takes the signs off a number.
pub(super) fn signed(text: &str) -> Option<SignedNumber> {
    if text.len() > NUMBER_BYTES_MAX {
        return None;
    }
    let mut found = SignedNumber {
        core: [0; NUMBER_BYTES_MAX],
        length: 0,
        whole_length: 0,
        negative: false,
        percent: false,
        currency: None,
    };

    let mut rest = text;
    let mut has_sign = false;
    loop {
        let sign = ['-', '−', '+']
            .into_iter()
            .find(|sign| rest.starts_with(*sign));
        if let Some(sign) = sign.filter(|_| !has_sign) {
            has_sign = true;
            found.negative = sign != '+';
            rest = rest[sign.len_utf8()..].trim_start();
            continue;
        }
        let Some(at) = position(|name| rest.starts_with(name)).filter(|_| found.currency.is_none())
        else {
            break;
        };
        found.currency = Some(canonical_currency(at));
        rest = rest[currency_name(at).len()..].trim_start();
    }

    if let Some(before) = rest.strip_suffix('%') {
        found.percent = true;
        rest = before.trim_end();
    } else if found.currency.is_none()
        && let Some(at) = position(|name| rest.ends_with(name))
    {
        found.currency = Some(canonical_currency(at));
        rest = rest[..rest.len() - currency_name(at).len()].trim_end();
    }
    // A number has few other signs than digits, and ends with one.
    found.fill(rest).filter(|found| {
        let core = &found.core[..found.length];
        core.last().is_some_and(u8::is_ascii_digit)
    })
}

fn position(is: impl Fn(&str) -> bool) -> Option<u8> {
    let at = CURRENCIES.iter().position(|name| is(name))?;
    u8::try_from(at).ok()
}

impl SignedNumber {
    /// Takes digits and marks.
    fn fill(mut self, text: &str) -> Option<Self> {
        let (digits, power) = text.split_at(text.find(['e', 'E']).unwrap_or(text.len()));
        for c in digits.chars() {
            let byte = match c {
                '0'..='9' | '.' | ',' | ' ' | '\'' => c as u8,
                '\u{a0}' | '\u{202f}' | '\u{2009}' => b' ',
                '’' => b'\'',
                _ => return None,
            };
            *self.core.get_mut(self.length)? = byte;
            self.length += 1;
        }

        exponent(power.as_bytes())?;
        self.whole_length = self.length + power.len();
        let place = self.core.get_mut(self.length..self.whole_length)?;
        place.copy_from_slice(power.as_bytes());
        Some(self)
    }

    /// Returns whether a decimal mark or a mark between thousands is in it.
    pub(super) fn has_marks(&self) -> bool {
        !self.core[..self.length].iter().all(u8::is_ascii_digit)
    }

    /// Reads it in a format. None if it does not fit.
    pub(super) fn read(&self, format: u8) -> Option<WrittenNumber> {
        let decimal = if format & DECIMAL_POINT != 0 {
            b'.'
        } else {
            b','
        };
        let thousands = match format {
            COMMA => Some(b','),
            POINT => Some(b'.'),
            format if format & SPACE != 0 => Some(b' '),
            format if format & APOSTROPHE != 0 => Some(b'\''),
            _ => None,
        };

        let core = &self.core[..self.length];
        let end = core
            .iter()
            .position(|b| *b == decimal)
            .unwrap_or(core.len());
        let mut digits = [0; NUMBER_BYTES_MAX + 1];
        let mut length = 0;
        let mut put = |byte: u8| {
            digits[length] = byte;
            length += 1;
        };
        if self.negative {
            put(b'-');
        }
        let is_grouped = thousands.is_some_and(|mark| core[..end].contains(&mark));
        if is_grouped {
            groups(&core[..end], thousands.unwrap_or_default(), &mut put)?;
        } else {
            core[..end].iter().for_each(|b| put(*b));
        }
        if end < core.len() {
            put(b'.');
            core[end + 1..].iter().for_each(|b| put(*b));
        }
        self.core[self.length..self.whole_length]
            .iter()
            .for_each(|b| put(*b));
        // Marks that are left are no part of a plain number.
        plain(&digits[..length])
    }

    /// Returns the formats of these that it fits, with the values with a decimal point and comma.
    pub(super) fn fits(&self, formats: u8) -> (u8, [Option<WrittenNumber>; 2]) {
        let mut fit = 0;
        let mut values = [None, None];
        for at in 0..8 {
            let format = formats & (1 << at);
            if format == 0 {
                continue;
            }
            if let Some(found) = self.read(format) {
                fit |= format;
                values[at / 4].get_or_insert(found);
            }
        }
        (fit, values)
    }
}

/// Takes digits in groups of three; the first may be shorter, but does not begin with 0.
fn groups(text: &[u8], mark: u8, put: &mut dyn FnMut(u8)) -> Option<()> {
    for (at, group) in text.split(|b| *b == mark).enumerate() {
        let fits = match at {
            0 => (1..4).contains(&group.len()) && group[0] != b'0',
            _ => group.len() == 3,
        };
        if !fits {
            return None;
        }
        group.iter().for_each(|b| put(*b));
    }
    Some(())
}

/// Reads a field in the format of its column.
pub(super) fn number(text: &[u8], format: u8) -> Option<NumberValue> {
    match plain(text) {
        Some(found) if found.formats & format == 0 => return None,
        Some(found) if format & DECIMAL_POINT != 0 || found.formats == u8::MAX => {
            return Some(found.value);
        }
        _ => {}
    }
    let text = std::str::from_utf8(text).ok()?;
    match signed(text) {
        Some(found) => found.read(format).map(|found| found.value),
        None => infinite(text).map(NumberValue::Fraction),
    }
}

/// Reads an infinite number.
pub(super) fn infinite(text: &str) -> Option<f64> {
    let (sign, name) = match text.strip_prefix('-') {
        Some(name) => (-1.0, name),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let is_infinite = ["inf", "infinity"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known));
    is_infinite.then_some(sign * f64::INFINITY)
}
