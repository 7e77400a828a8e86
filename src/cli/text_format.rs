//! The `--format` of commands that read a table: how its text files are written, as in `train.toml`.

use crate::core::error::{Error, Result, short};
use crate::storage::table::text::format::TextFormat;
use clap::Args;

#[derive(Args)]
pub(super) struct FormatArguments {
    /// How a CSV file is written, as in train.toml: '{ dates = "dmy", delimiter = ";" }' [default: found
    /// from its content]
    #[arg(long, value_name = "TABLE")]
    format: Option<String>,
}

impl FormatArguments {
    /// Reads the settings. Refuses unknown ones.
    pub(super) fn read(&self) -> Result<TextFormat> {
        match &self.format {
            Some(text) => format(text),
            None => Ok(TextFormat::default()),
        }
    }
}

fn format(text: &str) -> Result<TextFormat> {
    #[derive(serde::Deserialize)]
    struct Document {
        format: TextFormat,
    }

    let refused = |why: &str| {
        Error::invalid(format!(
            "--format is {}; it must be a table such as '{{ dates = \"dmy\", delimiter = \";\" }}': {}",
            short(text),
            why.trim_end()
        ))
    };
    // One line, so that nothing follows the table.
    let document = format!("format = {}", text.replace('\n', " "));
    let document: Document = toml::from_str(&document).map_err(|e| refused(e.message()))?;
    document.format.check().map_err(|e| refused(&e.message))?;
    Ok(document.format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_a_table_of_known_settings() {
        let read = format("{ dates = \"dmy\", delimiter = \";\" }").expect("reads");
        assert_eq!(read.dates.as_deref(), Some("dmy"));
        assert_eq!(read.delimiter.as_deref(), Some(";"));
        for (text, part) in [
            ("dmy", "it must be a table such as"),
            ("{ date = \"dmy\" }", "unknown field `date`"),
            ("{ dates = \"dym\" }", "'dates' is \"dym\""),
            ("{ zone = 2 }", "expected a string"),
        ] {
            match format(text) {
                Err(error) => assert!(error.message.contains(part), "{error}"),
                Ok(read) => panic!("{read:?}"),
            }
        }
    }
}
