//! How each type of setting is read from a TOML value and written back. An error names the
//! accepted values, as the end of the sentence "it must be …".

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

/// One way to write a `T` in TOML.
pub trait Form<T> {
    /// Reads a value. The error names the accepted values.
    fn read(value: &Value) -> Result<T, String>;
    /// Writes a value; `None` where the setting is unset.
    fn write(setting: &T) -> Option<Value>;

    /// Writes a value in its shortest form; `None` where the setting is unset.
    fn text(setting: &T) -> Option<String> {
        Self::write(setting).map(|value| value.to_string())
    }

    /// Describes the accepted values, in the words of the error.
    fn accepts() -> String {
        // No setting is a date, so every form refuses one.
        let date = toml::value::Datetime {
            date: None,
            time: None,
            offset: None,
        };

        Self::read(&Value::Datetime(date)).err().unwrap_or_default()
    }
}

/// The documentation of one key.
pub struct KeyReference {
    /// The key, as it is written in its section.
    pub key: &'static str,
    /// The values that it accepts, in words.
    pub accepts: String,
    /// Its default as it is written; `None` where it is not set.
    pub default: Option<String>,
    /// Its least and greatest value as they are written.
    pub range: Option<(String, String)>,
    /// The field's doc comment.
    pub text: &'static str,
}

/// Writes both ends of a range in their shortest form.
pub fn range_text<T, F: Form<T>>(range: &RangeInclusive<T>) -> Option<(String, String)> {
    Some((F::text(range.start())?, F::text(range.end())?))
}

/// The form that a type has unless a field names another.
pub struct Plain;

/// A number of bytes: an integer, or a string such as `"64MiB"`.
pub struct Size;

/// One line of text.
pub struct TextLine;

/// The path of a URL, without a query.
pub struct UrlPath;

/// Checks that a setting lies within its range.
pub fn within<T: PartialOrd>(
    setting: &T,
    range: &RangeInclusive<T>,
    write: impl Fn(&T) -> Option<Value>,
) -> Result<(), String> {
    if range.contains(setting) {
        return Ok(());
    }
    let text = |bound: &T| {
        write(bound)
            .map(|value| value.to_string())
            .unwrap_or_default()
    };

    Err(format!(
        "from {} to {}",
        text(range.start()),
        text(range.end())
    ))
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Form<$type> for Plain {
            fn read(value: &Value) -> Result<$type, String> {
                let number = value.as_integer().ok_or("an integer")?;
                number.try_into().map_err(|_| format!("an integer from 0 to {}", <$type>::MAX))
            }

            fn write(setting: &$type) -> Option<Value> {
                Some(Value::Integer(i64::try_from(*setting).unwrap_or(i64::MAX)))
            }
        }

        impl Form<$type> for Size {
            fn read(value: &Value) -> Result<$type, String> {
                let bytes = value.as_str().map_or_else(|| value.as_integer().and_then(|n| n.try_into().ok()), bytes);
                let fits = bytes.and_then(|bytes| bytes.try_into().ok());
                fits.ok_or_else(|| "a number of bytes such as 65536 or \"64MiB\" (B, KiB, MiB, GiB)".into())
            }

            fn write(setting: &$type) -> Option<Value> {
                <Plain as Form<$type>>::write(setting)
            }

            fn text(setting: &$type) -> Option<String> {
                u64::try_from(*setting).ok().map(size_text)
            }
        }
    )*};
}
integers!(u32, usize);

impl Form<f64> for Plain {
    fn read(value: &Value) -> Result<f64, String> {
        let whole = || value.as_integer().map(|n| n as f64);
        value
            .as_float()
            .or_else(whole)
            .filter(|n| n.is_finite())
            .ok_or_else(|| "a number".into())
    }

    fn write(setting: &f64) -> Option<Value> {
        Some(Value::Float(*setting))
    }
}

impl Form<bool> for Plain {
    fn read(value: &Value) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| "true or false".into())
    }

    fn write(setting: &bool) -> Option<Value> {
        Some(Value::Boolean(*setting))
    }
}

impl Form<SocketAddr> for Plain {
    fn read(value: &Value) -> Result<SocketAddr, String> {
        let address = value.as_str().and_then(|text| text.parse().ok());
        address.ok_or_else(|| {
            "an IP address and a port such as \"127.0.0.1:8000\" or \"[::]:8000\"".into()
        })
    }

    fn write(setting: &SocketAddr) -> Option<Value> {
        Some(Value::String(setting.to_string()))
    }
}

impl Form<PathBuf> for Plain {
    fn read(value: &Value) -> Result<PathBuf, String> {
        let text = value
            .as_str()
            .filter(|text| !text.is_empty() && !text.contains('\0'));
        text.map(PathBuf::from)
            .ok_or_else(|| "a path, as a string".into())
    }

    fn write(setting: &PathBuf) -> Option<Value> {
        Some(Value::String(setting.to_string_lossy().into_owned()))
    }
}

impl Form<Duration> for Plain {
    fn read(value: &Value) -> Result<Duration, String> {
        value.as_str().and_then(duration).ok_or_else(|| {
            "a duration in a string: an integer and us, ms, s, m, h or d, such as \"250ms\" or \"10s\"".into()
        })
    }

    fn write(setting: &Duration) -> Option<Value> {
        let us = setting.as_micros();
        Some(Value::String(match us {
            _ if us.is_multiple_of(1_000_000) => format!("{}s", us / 1_000_000),
            _ if us.is_multiple_of(1_000) => format!("{}ms", us / 1_000),
            _ => format!("{us}us"),
        }))
    }

    fn text(setting: &Duration) -> Option<String> {
        let seconds = setting.as_secs();
        let (count, unit) = match seconds {
            _ if setting.subsec_nanos() > 0 || seconds == 0 => {
                return Self::write(setting).map(|v| v.to_string());
            }
            _ if seconds.is_multiple_of(86_400) => (seconds / 86_400, "d"),
            _ if seconds.is_multiple_of(3_600) => (seconds / 3_600, "h"),
            _ if seconds.is_multiple_of(60) => (seconds / 60, "m"),
            _ => (seconds, "s"),
        };

        Some(format!("\"{count}{unit}\""))
    }
}

impl<T> Form<Option<T>> for Plain
where
    Self: Form<T>,
{
    fn read(value: &Value) -> Result<Option<T>, String> {
        Self::read(value).map(Some)
    }

    fn write(setting: &Option<T>) -> Option<Value> {
        setting.as_ref().and_then(Self::write)
    }

    fn text(setting: &Option<T>) -> Option<String> {
        setting.as_ref().and_then(Self::text)
    }
}

impl Form<String> for TextLine {
    fn read(value: &Value) -> Result<String, String> {
        let text = value
            .as_str()
            .filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
        text.map(String::from)
            .ok_or_else(|| "one line of text, as a string".into())
    }

    fn write(setting: &String) -> Option<Value> {
        Some(Value::String(setting.clone()))
    }
}

impl Form<Option<String>> for TextLine {
    fn read(value: &Value) -> Result<Option<String>, String> {
        <Self as Form<String>>::read(value).map(Some)
    }

    fn write(setting: &Option<String>) -> Option<Value> {
        setting.clone().map(Value::String)
    }
}

impl Form<Option<String>> for UrlPath {
    fn read(value: &Value) -> Result<Option<String>, String> {
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '%');
        let text = value.as_str();
        let text = text.filter(|text| text.starts_with('/') && text.chars().all(is_plain));
        text.map(|text| Some(text.to_owned()))
            .ok_or_else(|| "a path that begins with a slash, such as \"/metrics\"".into())
    }

    fn write(setting: &Option<String>) -> Option<Value> {
        setting.clone().map(Value::String)
    }
}

impl Form<Vec<String>> for Plain {
    fn read(value: &Value) -> Result<Vec<String>, String> {
        let legal = |v: &Value| {
            v.as_str()
                .filter(|n| crate::core::model::ModelName::parse(n).is_ok())
                .map(str::to_owned)
        };

        let all = value.as_array().filter(|all| all.len() <= NAMES_MAX);
        let all = all.and_then(|all| all.iter().map(legal).collect());
        all.ok_or_else(|| {
            format!("a list of at most {NAMES_MAX} model names such as [\"fraud\", \"churn\"]")
        })
    }

    fn write(setting: &Vec<String>) -> Option<Value> {
        Some(Value::Array(
            setting.iter().cloned().map(Value::String).collect(),
        ))
    }
}

/// Texts such as names of columns.
impl Form<Vec<String>> for TextLine {
    fn read(value: &Value) -> Result<Vec<String>, String> {
        let all = value.as_array().filter(|all| all.len() <= NAMES_MAX);
        let all = all.and_then(|all| {
            all.iter()
                .map(|v| <Self as Form<String>>::read(v).ok())
                .collect()
        });

        all.ok_or_else(|| {
            format!("a list of at most {NAMES_MAX} texts such as [\"age\", \"colour\"]")
        })
    }

    fn write(setting: &Vec<String>) -> Option<Value> {
        <Plain as Form<Vec<String>>>::write(setting)
    }
}

/// Most texts in a list.
const NAMES_MAX: usize = 10_000;

pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = amount(text)?;
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = amount(text)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };

    number.checked_mul(factor)
}

/// Writes a number of bytes in the largest unit that leaves it whole.
fn size_text(bytes: u64) -> String {
    for (factor, unit) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes > 0 && bytes.is_multiple_of(factor) {
            return format!("\"{}{unit}\"", bytes / factor);
        }
    }

    bytes.to_string()
}

/// Splits `"64 MiB"` into 64 and `MiB`.
fn amount(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..at].parse().ok()?, text[at..].trim_start_matches(' ')))
}
