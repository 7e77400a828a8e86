//! Which keys a follower trusts, and what it asks of a version's signatures.

use super::Follower;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::registry::fold::Record;
use crate::registry::sign::{Policy, Trust, statement};

impl Follower {
    /// Reads the trust file, where approvals are by keys. One that cannot be read
    /// is told, and what it last said holds.
    pub(super) fn read_trust(&mut self) {
        let by_keys = self.options.approvals > 0 || self.state.signatures == Policy::Require;
        let Some(path) = self.options.trust.as_deref().filter(|_| by_keys) else {
            return;
        };
        let read = if path.exists() {
            Trust::read(path)
        } else {
            Err(Error::not_found("the trust file is not there"))
        };
        match read {
            Ok(trust) => (self.trust, self.untrusted) = (trust, None),
            Err(error) if self.untrusted.as_deref() == Some(&error.message) => {}
            Err(error) => {
                tracing::error!(%error, "the trust file cannot be read; what it last said holds");
                self.untrusted = Some(error.message);
            }
        }
    }

    /// What is asked of signatures: by this server or by the namespace, whichever
    /// asks for more.
    fn policy(&self) -> Policy {
        // Approvals by keys say nothing of a version that anybody may have pushed.
        let own = if self.options.approvals > 0 {
            Policy::Require
        } else {
            self.options.signatures
        };
        own.max(self.state.signatures)
    }

    /// Holds a version to the policy. The trust file is read each time, so that
    /// a revocation counts from the next load on.
    pub(super) fn check_signature(
        &self,
        name: &ModelName,
        version: Version,
        record: &Record,
    ) -> Result<()> {
        let policy = self.policy();
        if policy == Policy::None {
            return Ok(());
        }
        let trust = self
            .options
            .trust
            .as_deref()
            .map(Trust::read)
            .transpose()?
            .unwrap_or_default();
        let bytes = statement(self.log.namespace(), name, &record.manifest);
        let Err(why) = trust.vouching(&record.signatures, &bytes) else {
            return Ok(());
        };
        if policy == Policy::Require {
            return Err(Error::denied(format!(
                "no trusted key vouches for the version: {why}"
            )));
        }
        tracing::warn!(
            model = name.as_str(),
            version = version.number(),
            why,
            "no trusted key vouches for the version"
        );
        Ok(())
    }
}
