//! The JSON form of names, versions and digests: their printed text, checked when
//! it is read.

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{Alias, ModelName, Version};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use std::borrow::Cow;

macro_rules! as_text {
    ($type:ty, $parse:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                $parse(&text).map_err(D::Error::custom)
            }
        }
    };
}

as_text!(ModelName, ModelName::parse);
as_text!(Alias, Alias::parse);
as_text!(Digest, Digest::parse);

/// A version is a JSON number as a value, and a string as the key of an object.
impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.number())
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        Self::new(number)
            .ok_or_else(|| D::Error::custom("a version must be an integer from 1 to 2^63 - 1"))
    }
}

/// Reads JSON of a known type; `what` names it where it is malformed.
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::precondition(format!("{what} is malformed: {e}")).with_source(e))
}

/// Writes JSON.
pub(super) fn write<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("registry records hold only what JSON can represent")
}
