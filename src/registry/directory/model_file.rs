//! Which file of a folder is the model: the one that `config.pbtxt` names, else `model.onnx`, else the only
//! one that ends in `.onnx`.

use super::MODEL_FILE;
use super::unserved::is_model_file;
use crate::registry::catalog::{Fingerprint, ModelEntry};
use crate::registry::manifest::COMPANION_PATH;
use std::path::Path;

/// The most file names in a reason.
const NAMES_MAX: usize = 4;

/// Which file of a folder is the model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ModelFileChoice<'f> {
    One(&'f Path),
    /// There are several, none of which has the expected name.
    Several(String),
    None,
}

/// The name that the model file must have, or has first choice of.
pub(super) fn expected(model: &ModelEntry) -> &str {
    named(model).unwrap_or(MODEL_FILE)
}

fn named(model: &ModelEntry) -> Option<&str> {
    let config = model.config.as_ref();
    config.and_then(|config| config.model_filename.as_deref())
}

/// Chooses among the files of a folder.
pub(super) fn choose<'f>(files: &'f Fingerprint, model: &ModelEntry) -> ModelFileChoice<'f> {
    let names = || files.0.iter().map(|stamp| stamp.file.as_path());
    let expected = Path::new(expected(model));
    if let Some(found) = names().find(|name| *name == expected) {
        return ModelFileChoice::One(found);
    }
    if named(model).is_some() {
        return ModelFileChoice::None;
    }

    let candidates: Vec<&Path> = names().filter(|name| is_candidate(name)).collect();
    match candidates.as_slice() {
        [] => ModelFileChoice::None,
        [one] => ModelFileChoice::One(one),
        several => ModelFileChoice::Several(listed(several)),
    }
}

fn is_candidate(name: &Path) -> bool {
    let is_own = name.components().count() == 1;
    is_own && is_model_file(name) && name != Path::new(COMPANION_PATH)
}

fn listed(names: &[&Path]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMES_MAX)
        .map(|name| format!("'{}'", super::unserved::shown(name.as_os_str())))
        .collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::catalog::FileStamp;
    use crate::registry::pbtxt::ModelConfig;

    fn chosen(files: &[&str], named: Option<&str>) -> String {
        let stamp = |file: &&str| FileStamp {
            file: file.into(),
            file_bytes: 1,
            modified_ns: 0,
            inode: 1,
            changed_ns: 0,
        };
        let files = Fingerprint(files.iter().map(stamp).collect());
        let config = ModelConfig {
            model_filename: named.map(str::to_owned),
            ..ModelConfig::default()
        };
        let entry = ModelEntry {
            config: Some(config),
            ..ModelEntry::default()
        };
        match choose(&files, &entry) {
            ModelFileChoice::One(file) => file.display().to_string(),
            ModelFileChoice::Several(names) => format!("several: {names}"),
            ModelFileChoice::None => "none".to_owned(),
        }
    }

    #[test]
    fn the_expected_name_comes_first_and_then_the_only_model() {
        assert_eq!(chosen(&["a.onnx", "model.onnx"], None), "model.onnx");
        assert_eq!(chosen(&["resnet.onnx", "weights.bin"], None), "resnet.onnx");
        assert_eq!(chosen(&["Model.ONNX"], None), "Model.ONNX");
        assert_eq!(chosen(&["companion.onnx", "net.onnx"], None), "net.onnx");
        assert_eq!(chosen(&["companion.onnx"], None), "none");
        assert_eq!(
            chosen(&["a.onnx", "b.onnx"], None),
            "several: 'a.onnx', 'b.onnx'"
        );
        let five = ["a.onnx", "b.onnx", "c.onnx", "d.onnx", "e.onnx"];
        assert!(chosen(&five, None).ends_with("'d.onnx' and 1 more"));
        assert_eq!(chosen(&["deep/model.onnx"], None), "none");
        assert_eq!(
            chosen(&["model.onnx", "net.onnx"], Some("net.onnx")),
            "net.onnx"
        );
        assert_eq!(chosen(&["model.onnx"], Some("net.onnx")), "none");
    }
}
