//! TensorFlow Serving's configuration of monitoring: whether metrics are served, and at which path.

use super::section::{once, refuse, unsupported};
use super::{BYTE_ORDER_MARK, syntax};
use crate::core::error::Result;

/// The path where TensorFlow Serving serves metrics unless another is set.
const PATH: &str = "/monitoring/prometheus/metrics";

/// Reads the text of a file. Returns the path of the metrics, if they are to be served. Every error is
/// `InvalidArgument` and names the line and the field.
pub(crate) fn read(text: &str) -> Result<Option<String>> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let (mut is_on, mut path) = (false, PATH.to_owned());
    for field in once(&syntax::parse(text)?, &[])? {
        if field.name != "prometheus_config" {
            return unsupported(field);
        }
        for field in field.message()? {
            match field.name.as_str() {
                "enable" => is_on = field.flag()?,
                "path" if field.text()?.is_empty() => {}
                "path" if field.text()?.starts_with('/') => field.text()?.clone_into(&mut path),
                "path" => return refuse(field, "must begin with a slash"),
                _ => return unsupported(field),
            }
        }
    }
    Ok(is_on.then_some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_path_that_is_set() {
        let path = |text: &str| read(text).expect(text);
        assert_eq!(path(""), None);
        assert_eq!(path("prometheus_config { enable: false }"), None);
        assert_eq!(
            path("prometheus_config { enable: true }").as_deref(),
            Some(PATH)
        );
        let own = "prometheus_config { enable: true, path: \"/metrics\" }";
        assert_eq!(path(own).as_deref(), Some("/metrics"));
        for (text, needle) in [
            ("prometheus_config { enable: 3 }", "'enable' must be"),
            ("prometheus_config { path: \"m\" }", "'path' must begin"),
            ("other {}", "'other' is not supported"),
            ("prometheus_config {", "line 1"),
        ] {
            let error = read(text).expect_err(text).message;
            assert!(error.contains(needle), "{error}");
        }
    }
}
