//! Whether a version is in the registry already, so that a push adds nothing.

use super::plan::Identity;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::ModelName;
use crate::registry::commands::Operator;
use crate::registry::fold::{NamespaceState, Record};
use crate::registry::manifest::{File, Manifest, Role};

impl Operator {
    /// Returns the manifest of a version that differs from `new` in its golden
    /// rows at most, if `new` has none. So the same push from a machine that
    /// rounds differently is the same version.
    pub(super) async fn known(
        &self,
        state: &NamespaceState,
        name: &ModelName,
        new: &Manifest,
    ) -> Result<Option<Manifest>> {
        let Some(model) = state
            .models
            .get(name)
            .filter(|_| !new.files.iter().any(is_golden))
        else {
            return Ok(None);
        };

        let records = model.versions.values().rev();
        for record in records.filter(|r| r.retired.is_none() && has_files(r, new)) {
            // A damaged version never matches, so that the push repairs it.
            let Ok(found) = self.manifest(record).await else {
                continue;
            };
            let mut without_golden = found.clone();
            without_golden.files.retain(|f| !is_golden(f));

            let golden = found.files.iter().find(|f| is_golden(f));
            let golden = golden.map(|f| record.blob(f.digest, f.bytes));
            let is_whole = match golden {
                Some(blob) => self.log.is_whole(&blob).await?,
                None => true,
            };
            if without_golden == *new && is_whole {
                return Ok(Some(found));
            }
        }

        Ok(None)
    }

    /// Refuses a push with a key if the version is there without a signature of
    /// that key: signatures cannot be added to a version later.
    pub(super) fn check_signed(
        &self,
        state: &NamespaceState,
        name: &ModelName,
        manifest: Digest,
    ) -> Result<()> {
        let (Some(key), Some(model)) = (&self.key, state.models.get(name)) else {
            return Ok(());
        };
        let identity = Identity {
            manifest,
            run: None,
        };

        let Some(version) = identity.find(model) else {
            return Ok(());
        };

        let record = model.versions.get(&version);
        if record.is_some_and(|r| r.signatures.iter().any(|s| s.key == key.public())) {
            return Ok(());
        }
        Err(Error::precondition(format!(
            "version {version} is the same and is not signed by this key; \
             retire it and push again, or push with a new tag"
        )))
    }
}

fn is_golden(file: &File) -> bool {
    file.role == Role::Golden
}

fn has_files(record: &Record, manifest: &Manifest) -> bool {
    let has_file = |f: &File| record.blobs.iter().any(|b| b.digest == f.digest);
    manifest.files.iter().all(has_file)
}
