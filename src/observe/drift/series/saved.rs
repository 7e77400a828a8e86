//! The values of a column as the next process reads them: numbers as Base64 of their bytes, which holds
//! NaN and infinities and is short.

use super::ColumnSeries;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The values of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SavedSeries {
    /// Numbers of 32 bits, little-endian.
    F32(String),
    /// Numbers of 64 bits, little-endian.
    F64(String),
    Whole(Vec<i64>),
    Words(Vec<String>),
}

impl SavedSeries {
    /// Takes the values of a column.
    pub(crate) fn of(series: &ColumnSeries) -> Self {
        match series {
            ColumnSeries::Whole(values) => Self::Whole(values.clone()),
            ColumnSeries::Words(words) => Self::Words(words.clone()),
            ColumnSeries::Numbers(values) => {
                let is_narrow = |v: &f64| v.is_nan() || f64::from(*v as f32) == *v;
                if values.iter().all(is_narrow) {
                    let bytes = values.iter().flat_map(|v| (*v as f32).to_le_bytes());
                    Self::F32(STANDARD.encode(bytes.collect::<Vec<u8>>()))
                } else {
                    let bytes = values.iter().flat_map(|v| v.to_le_bytes());
                    Self::F64(STANDARD.encode(bytes.collect::<Vec<u8>>()))
                }
            }
        }
    }

    /// Returns the values; none if the text is damaged.
    pub(crate) fn read(self) -> Option<ColumnSeries> {
        Some(match self {
            Self::Whole(values) => ColumnSeries::Whole(values),
            Self::Words(words) => ColumnSeries::Words(words),
            Self::F32(text) => {
                let bytes = STANDARD.decode(text).ok()?;
                let (values, rest) = bytes.as_chunks::<4>();
                let wide = values.iter().map(|v| f64::from(f32::from_le_bytes(*v)));
                ColumnSeries::Numbers(wide.collect()).of_whole_bytes(rest)?
            }
            Self::F64(text) => {
                let bytes = STANDARD.decode(text).ok()?;
                let (values, rest) = bytes.as_chunks::<8>();
                let wide = values.iter().map(|v| f64::from_le_bytes(*v));
                ColumnSeries::Numbers(wide.collect()).of_whole_bytes(rest)?
            }
        })
    }
}

impl ColumnSeries {
    fn of_whole_bytes(self, rest: &[u8]) -> Option<Self> {
        rest.is_empty().then_some(self)
    }
}
