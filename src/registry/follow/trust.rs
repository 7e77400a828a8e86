//! Which keys a follower trusts, and which signatures it requires of a version.

use super::Follower;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::registry::fold::Record;
use crate::registry::sign::{Policy, Trust, statement};

impl Follower {
    /// Reads the trust file, if approvals are by keys. If it is unreadable, that is
    /// logged, and the keys last read stay trusted.
    pub(super) fn read_trust(&mut self) {
        let by_keys =
            self.options.settings.approvals > 0 || self.state.signatures == Policy::Require;
        let Some(path) = self.options.settings.trust.as_deref().filter(|_| by_keys) else {
            return;
        };
        let read = if path.exists() {
            Trust::read(path)
        } else {
            Err(Error::not_found("the trust file does not exist"))
        };

        match read {
            Ok(trust) => (self.trust, self.untrusted) = (trust, None),
            Err(error) if self.untrusted.as_deref() == Some(&error.message) => {}
            Err(error) => {
                tracing::error!(%error, "the trust file cannot be read; the keys last read stay trusted");
                self.untrusted = Some(error.message);
            }
        }
    }

    /// Returns the stricter of the policies of this server and of the namespace.
    fn policy(&self) -> Policy {
        // Approvals by keys are worth little for a version that anybody could push.
        let own = if self.options.settings.approvals > 0 {
            Policy::Require
        } else {
            self.options.settings.signatures
        };

        own.max(self.state.signatures)
    }

    /// Checks a version against the policy. The trust file is read each time, so
    /// that a revocation takes effect at the next load.
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
            .settings
            .trust
            .as_deref()
            .map(Trust::read)
            .transpose()?
            .unwrap_or_default();
        let bytes = statement(self.log.namespace(), name, &record.manifest);

        let Err(why) = trust.trusted_signers(&record.signatures, &bytes) else {
            return Ok(());
        };
        if policy == Policy::Require {
            return Err(Error::denied(format!(
                "the version has no signature by a trusted key: {why}"
            )));
        }

        tracing::warn!(
            model = name.as_str(),
            version = version.number(),
            why,
            "the version has no signature by a trusted key"
        );

        Ok(())
    }
}
