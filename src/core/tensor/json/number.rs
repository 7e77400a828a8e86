//! The text of a JSON number and the element it stands for, in one pass over the bytes. What cannot be
//! rounded at once goes to the standard library. Never rounds twice.

#[cfg(test)]
mod tests;

/// An element with a JSON form.
pub(super) trait Number: Copy + std::str::FromStr {
    /// Its little-endian bytes.
    type Wire: AsRef<[u8]>;

    /// Reads the number that starts at `at`, and says where its text ends. `None` where the text
    /// is not a JSON number, or not one that this type has.
    fn read(text: &str, at: usize) -> Option<(Self, usize)>;

    /// Converts it.
    fn to_wire(self) -> Self::Wire;
}

macro_rules! float {
    ($float:ty, $of:ident) => {
        impl Number for $float {
            type Wire = [u8; size_of::<$float>()];

            #[inline(always)]
            fn read(text: &str, at: usize) -> Option<(Self, usize)> {
                let Some(decimal) = Decimal::read(text.as_bytes(), at) else {
                    // Most often it is the end of an array.
                    let may_be_token =
                        matches!(text.as_bytes().get(at), Some(b'N' | b'I' | b'-' | b'n'));
                    let found = may_be_token.then(|| token(text, at)).flatten();
                    return found.map(|(value, end)| (value as $float, end));
                };
                let value = match decimal.$of() {
                    Some(value) if decimal.is_negative => -value,
                    Some(value) => value,
                    None => parse(&text[at..decimal.end]).filter(|v: &Self| v.is_finite())?,
                };
                Some((value, decimal.end))
            }

            #[inline]
            fn to_wire(self) -> Self::Wire {
                self.to_le_bytes()
            }
        }
    };
}

macro_rules! integer {
    ($($integer:ty)*) => {$(
        impl Number for $integer {
            type Wire = [u8; size_of::<$integer>()];

            #[inline(always)]
            fn read(text: &str, at: usize) -> Option<(Self, usize)> {
                let bytes = text.as_bytes();
                let (value, end) = whole(bytes, at)?;
                let end_of_number = !matches!(bytes.get(end), Some(b'.' | b'e' | b'E'));
                // Beyond 18 digits, the value may have wrapped around.
                let value = match value {
                    Some(value) if end - at < DIGITS_MAX => value.try_into().ok()?,
                    _ => parse(&text[at..end])?,
                };
                end_of_number.then_some((value, end))
            }

            #[inline]
            fn to_wire(self) -> Self::Wire {
                self.to_le_bytes()
            }
        }
    )*};
}

float!(f32, to_f32);
float!(f64, to_f64);
integer!(u8 u16 u32 u64 i8 i16 i32 i64);

/// Reads what stands for a float that is no JSON number: `NaN`, `Infinity`, `-Infinity`, and `null` for a
/// missing one.
#[cold]
fn token(text: &str, at: usize) -> Option<(f64, usize)> {
    let rest = text.get(at..)?;
    let found = TOKENS.iter().find(|(token, _)| rest.starts_with(token));
    let (token, value) = found?;
    let after = rest.as_bytes().get(token.len());
    ends_value(after).then_some((*value, at + token.len()))
}

/// What stands for floats that JSON has no number for, as Python and TensorFlow Serving write them.
pub(super) const TOKENS: [(&str, f64); 4] = [
    ("NaN", f64::NAN),
    ("Infinity", f64::INFINITY),
    ("-Infinity", f64::NEG_INFINITY),
    ("null", f64::NAN),
];

/// Tells whether a value may end before this byte.
pub(super) fn ends_value(after: Option<&u8>) -> bool {
    matches!(
        after,
        None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')
    )
}

#[cold]
fn parse<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The most digits that always fit a `u64`.
const DIGITS_MAX: usize = 19;

/// A decimal fraction: `digits × 10^exponent`.
struct Decimal {
    digits: u64,
    exponent: i32,
    is_negative: bool,
    /// Whether the digits did not wrap around, and are at most `i64::MAX`: such a number converts to
    /// FP64 in one instruction.
    is_exact: bool,
    end: usize,
}

impl Decimal {
    #[inline(always)]
    fn read(bytes: &[u8], start: usize) -> Option<Self> {
        let is_negative = *bytes.get(start)? == b'-';
        let first = start + usize::from(is_negative);
        // A single digit before the point is so common that the processor should guess it.
        let (mut value, mut end) = if bytes.get(first + 1) == Some(&b'.') {
            (digit(bytes[first])?, first + 1)
        } else {
            whole_digits(bytes, first)?
        };
        // A leading zero does not count.
        let mut count = end - first - usize::from(bytes[first] == b'0');

        let mut exponent = 0;
        if bytes.get(end) == Some(&b'.') {
            let point = end + 1;
            (value, end) = digits(bytes, point, value);
            let places = end - point;
            count += places;
            exponent = -i32::try_from(places).ok().filter(|n| *n > 0)?;
        }
        let mut is_exact = count <= DIGITS_MAX && i64::try_from(value).is_ok();
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let power;
            (power, end) = power_of_ten(bytes, end + 1)?;
            exponent += power.unwrap_or(0);
            is_exact &= power.is_some();
        }

        Some(Self {
            digits: value,
            exponent,
            is_negative,
            is_exact,
            end,
        })
    }

    /// The quotient or product in FP64, off by less than 2 units in the last place: the digits and
    /// the division are each rounded once, the power of ten is exact.
    #[inline(always)]
    fn near(&self) -> Option<f64> {
        if !self.is_exact {
            return None;
        }
        let power = *POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let digits = self.digits as i64 as f64;
        Some(if self.exponent < 0 {
            digits / power
        } else {
            digits * power
        })
    }

    /// Rounds the nearly exact FP64 to FP32. That is exact unless it is so near the middle between
    /// two FP32 that the true value may be beyond it.
    #[inline(always)]
    fn to_f32(&self) -> Option<f32> {
        /// The bits of an FP64 that an FP32 does not have, and the middle of their range.
        const SPARE: u64 = (1 << 29) - 1;
        const MIDDLE: u64 = 1 << 28;
        const DOUBT: u64 = 4;

        let near = self.near()?;
        let doubtful = (near.to_bits() & SPARE).abs_diff(MIDDLE) <= DOUBT;
        // Never subnormal: the smallest is 10^-22. Infinite where the number is too large.
        (!doubtful).then_some(near as f32).filter(|v| v.is_finite())
    }

    /// One rounding: the digits are exact, so only the division rounds.
    #[inline(always)]
    fn to_f64(&self) -> Option<f64> {
        const EXACT_MAX: u64 = 1 << f64::MANTISSA_DIGITS;
        self.near().filter(|_| self.digits <= EXACT_MAX)
    }
}

/// The powers of ten that FP64 has exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Reads what follows the `e`, and says where it ends. The inner `None` is a power with more digits
/// than any in range has, or with leading zeros.
fn power_of_ten(bytes: &[u8], start: usize) -> Option<(Option<i32>, usize)> {
    let sign = bytes.get(start)?;
    let first = start + usize::from(matches!(sign, b'+' | b'-'));
    let (power, end) = digits(bytes, first, 0);
    if end == first {
        return None;
    }

    let power = i32::try_from(power).ok().filter(|_| end - first <= 4);
    let power = power.map(|power| if *sign == b'-' { -power } else { power });
    Some((power, end))
}

/// Reads a whole number. The inner `None` is `-0`, which integers without a sign do not have.
#[inline(always)]
fn whole(bytes: &[u8], start: usize) -> Option<(Option<i64>, usize)> {
    let is_negative = *bytes.get(start)? == b'-';
    let (value, end) = whole_digits(bytes, start + usize::from(is_negative))?;
    let value = value as i64;
    let value = match (is_negative, value) {
        (true, 0) => None,
        (true, value) => Some(value.wrapping_neg()),
        (false, value) => Some(value),
    };
    Some((value, end))
}

/// Reads digits without leading zeros, and says where they end.
#[inline(always)]
fn whole_digits(bytes: &[u8], start: usize) -> Option<(u64, usize)> {
    let (value, end) = digits(bytes, start, 0);
    let is_number = end == start + 1 || end > start + 1 && bytes[start] != b'0';
    is_number.then_some((value, end))
}

#[inline(always)]
fn digit(byte: u8) -> Option<u64> {
    let digit = byte.wrapping_sub(b'0');
    (digit <= 9).then_some(digit.into())
}

/// Reads decimal digits from `at` on, appends them to `value`, and says where they end. Wraps
/// around where they are too many.
#[inline(always)]
fn digits(bytes: &[u8], mut at: usize, mut value: u64) -> (u64, usize) {
    const SCALES: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        // Eight bytes at a time, as a branch for each digit would be guessed wrong too often.
        let eight = u64::from_le_bytes(*eight) ^ 0x3030_3030_3030_3030;
        let beyond = (eight.wrapping_add(0x7676_7676_7676_7676) | eight) & 0x8080_8080_8080_8080;
        if beyond == 0 {
            value = value.wrapping_mul(100_000_000).wrapping_add(joined(eight));
            at += 8;
            continue;
        }

        let count = beyond.trailing_zeros() / 8;
        // Moved up, so that zeros come before them.
        let some = joined((eight << 8) << (56 - 8 * count));
        let value = value.wrapping_mul(SCALES[(count & 7) as usize]);
        return (value.wrapping_add(some), at + count as usize);
    }

    while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
        value = value.wrapping_mul(10).wrapping_add((digit - b'0').into());
        at += 1;
    }

    (value, at)
}

/// Joins eight digits, the first in the lowest byte: pairs, then fours, then all.
#[inline(always)]
fn joined(eight: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let pairs = eight.wrapping_mul(10).wrapping_add(eight >> 8);
    let upper = (pairs & PAIRS).wrapping_mul(0x000f_4240_0000_0064);
    let lower = ((pairs >> 16) & PAIRS).wrapping_mul(0x0000_2710_0000_0001);
    upper.wrapping_add(lower) >> 32
}
