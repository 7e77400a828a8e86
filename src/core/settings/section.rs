//! The macros that declare a section of the configuration. Each field is declared once, with
//! its doc comment, type, default and range; reading, writing, the list of keys and the
//! reference page are generated from it.

use super::form::KeyReference;

/// A section that `section!` declares.
pub trait SettingSection {
    /// The keys, in order.
    const KEYS: &'static [&'static str];
    /// The section's own documentation.
    const ABOUT: &'static str;

    /// Describes every key, in order.
    fn reference() -> Vec<KeyReference>;

    /// Reads one setting; false where there is no such key. Refuses a value that is not of
    /// the key's form or range.
    fn set(&mut self, key: &str, value: &toml::Value) -> Result<bool, String>;

    /// Writes every setting that has a value.
    fn to_table(&self) -> toml::Table;
}

/// Names the form of a field: `Plain` unless the field says another.
#[doc(hidden)]
#[macro_export]
macro_rules! setting_form {
    () => {
        $crate::core::settings::form::Plain
    };
    ($form:ty) => {
        $form
    };
}

/// Names the key of a field: the field's own name unless it says another.
#[doc(hidden)]
#[macro_export]
macro_rules! setting_key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// Reads one field and checks its range.
#[doc(hidden)]
#[macro_export]
macro_rules! setting_read {
    ($value:ident, $type:ty, $form:ty $(, $range:expr)?) => {{
        let setting = <$form as $crate::core::settings::form::Form<$type>>::read($value)?;
        $($crate::core::settings::form::within(&setting, &$range, <$form as $crate::core::settings::form::Form<$type>>::write)?;)?
        setting
    }};
}

/// Describes one field: its documentation, type, default and range.
#[doc(hidden)]
#[macro_export]
macro_rules! setting_reference {
    ($default:expr, $key:expr, $type:ty, $form:ty, $text:expr $(, $range:expr)?) => {
        $crate::core::settings::form::KeyReference {
            key: $key,
            accepts: <$form as $crate::core::settings::form::Form<$type>>::accepts(),
            default: <$form as $crate::core::settings::form::Form<$type>>::text(&$default),
            range: None $(.or($crate::core::settings::form::range_text::<$type, $form>(&$range)))?,
            text: $text,
        }
    };
}

/// Declares a section: `field ["key"]: Type as Form = default, in range;`.
#[macro_export]
macro_rules! section {
    ($(#[doc = $doc:literal])* $name:ident {$(
        $(#[doc = $field_doc:literal])*
        $field:ident $([$key:literal])? : $type:ty $(as $form:ty)? = $default:expr $(, in $range:expr)? ;
    )*}) => {
        $(#[doc = $doc])*
        // A section is as visible as the module that declares it.
        #[allow(unreachable_pub)]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {$(
            $(#[doc = $field_doc])*
            pub $field: $type,
        )*}

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }

        impl $crate::core::settings::section::SettingSection for $name {
            const KEYS: &[&str] = &[$($crate::setting_key!($field $($key)?)),*];

            const ABOUT: &str = concat!($($doc, "\n"),*);

            fn reference() -> Vec<$crate::core::settings::form::KeyReference> {
                let defaults = Self::default();
                vec![$($crate::setting_reference!(
                    defaults.$field, $crate::setting_key!($field $($key)?), $type,
                    $crate::setting_form!($($form)?), concat!($($field_doc, "\n"),*) $(, $range)?
                )),*]
            }

            fn set(&mut self, key: &str, value: &toml::Value) -> Result<bool, String> {
                $(if key == $crate::setting_key!($field $($key)?) {
                    self.$field = $crate::setting_read!(value, $type, $crate::setting_form!($($form)?) $(, $range)?);
                    return Ok(true);
                })*
                Ok(false)
            }

            fn to_table(&self) -> toml::Table {
                let mut table = toml::Table::new();
                $(if let Some(value) = <$crate::setting_form!($($form)?) as $crate::core::settings::form::Form<$type>>::write(&self.$field) {
                    table.insert($crate::setting_key!($field $($key)?).into(), value);
                })*
                table
            }
        }
    };
}

/// Declares a section whose settings may each be left to a lower layer.
#[macro_export]
macro_rules! overridable {
    ($(#[doc = $doc:literal])* $name:ident, $overrides:ident {$(
        $(#[doc = $field_doc:literal])*
        $field:ident $([$key:literal])? : $type:ty $(as $form:ty)? = $default:expr $(, in $range:expr)? ;
    )*}) => {
        $crate::section! { $(#[doc = $doc])* $name {$(
            $(#[doc = $field_doc])*
            $field $([$key])? : $type $(as $form)? = $default $(, in $range)? ;
        )*}}

        /// The settings that were set explicitly; the others are `None`.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $overrides {$(
            $(#[doc = $field_doc])*
            pub $field: Option<$type>,
        )*}

        impl $overrides {
            /// Overrides `lower` with these settings: what is unset here is taken
            /// from `lower`.
            pub(crate) fn over(self, lower: Self) -> Self {
                Self { $($field: self.$field.or(lower.$field)),* }
            }

            /// Fills what is unset with the defaults. Checks nothing.
            pub(crate) fn resolve(self) -> $name {
                $name { $($field: self.$field.unwrap_or_else(|| $default)),* }
            }

            /// Reads one setting; false where there is no such key. Refuses a
            /// value that is not of the key's form or range.
            pub(crate) fn set(&mut self, key: &str, value: &toml::Value) -> Result<bool, String> {
                $(if key == $crate::setting_key!($field $($key)?) {
                    self.$field = Some($crate::setting_read!(value, $type, $crate::setting_form!($($form)?) $(, $range)?));
                    return Ok(true);
                })*
                Ok(false)
            }
        }
    };
}

/// Declares an enum written as one of a few words.
#[macro_export]
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident {$( $(#[$variant_doc:meta])* $variant:ident = $word:literal ),* $(,)?}) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {$( $(#[$variant_doc])* $variant ),*}
        $crate::words! { $name { $($variant = $word),* } }
    };
}

/// Gives an enum of a few words its form.
#[macro_export]
macro_rules! words {
    ($name:ident {$( $variant:ident = $word:literal ),*}) => {
        impl $crate::core::settings::form::Form<$name> for $crate::core::settings::form::Plain {
            fn read(value: &toml::Value) -> Result<$name, String> {
                match value.as_str() {
                    $(Some($word) => Ok($name::$variant),)*
                    _ => Err(format!("one of {}", [$(concat!("\"", $word, "\"")),*].join(", "))),
                }
            }

            fn write(setting: &$name) -> Option<toml::Value> {
                Some(toml::Value::String(match setting { $($name::$variant => $word),* }.into()))
            }
        }
    };
}
