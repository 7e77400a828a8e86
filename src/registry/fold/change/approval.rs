//! The namespace's policy, and the approvals and rejections of versions. Owns the
//! rule of whose approval counts.

use super::super::Record;
use super::{ProposedState, SignedEntry};
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::registry::sign::Policy;

impl ProposedState<'_> {
    /// Sets the namespace's policy. If signatures are required, any key may sign
    /// a change, but only an owner of the policy may change the policy.
    pub(super) fn set_policy(
        &mut self,
        approvals: u32,
        signatures: Policy,
        owners: &[String],
        keys: &[String],
    ) -> Result<()> {
        if self.signatures == Policy::Require && !keys.iter().any(|key| self.owners.contains(key)) {
            return Err(Error::denied(
                "only a key that owns the policy may change it",
            ));
        }

        self.owners = match signatures {
            Policy::None | Policy::Warn => Vec::new(),
            Policy::Require if !owners.is_empty() => owners.to_vec(),
            Policy::Require if self.owners.is_empty() => keys.to_vec(),
            Policy::Require => std::mem::take(&mut self.owners),
        };

        if signatures == Policy::Require && self.owners.is_empty() {
            return Err(Error::denied(
                "who asks for signed changes signs this one too",
            ));
        }

        (self.approvals, self.signatures) = (approvals, signatures);
        Ok(())
    }

    pub(super) fn judge(
        &mut self,
        name: &ModelName,
        version: Version,
        approve: bool,
        signed: &SignedEntry<'_>,
    ) -> Result<()> {
        let (actor, keys) = (&signed.entry.actor, signed.keys);
        let by_keys = self.signatures == Policy::Require;
        let model = self.model(name)?;
        model.live_record(version)?;
        let Some(record) = model.versions.get_mut(&version) else {
            return Ok(());
        };
        if record.actor == *actor && approve {
            return Err(Error::denied(format!(
                "'{actor}' pushed version {version} and cannot approve it"
            )));
        }

        let own = |key: &String| {
            record.keys.contains(key) || record.signatures.iter().any(|s| s.key == *key)
        };
        if approve && by_keys && keys.iter().all(own) {
            return Err(Error::denied(format!(
                "the key that signed version {version} cannot approve it"
            )));
        }

        let counting: Vec<String> = keys
            .iter()
            .filter(|key| !approve || !own(key))
            .cloned()
            .collect();
        record
            .vouched
            .extend(counting.into_iter().map(|key| (key, approve)));
        record.verdicts.insert(actor.clone(), approve);

        Ok(())
    }
}

/// Fails unless a version has the required approvals.
pub(in crate::registry::fold) fn check_approved(
    record: &Record,
    needed: u32,
    signatures: Policy,
) -> Result<()> {
    let (verdicts, by) = match signatures {
        Policy::Require => (&record.vouched, " by keys"),
        Policy::None | Policy::Warn => (&record.verdicts, ""),
    };

    let against: Vec<&str> = verdicts
        .iter()
        .filter(|(_, yes)| !**yes)
        .map(|(who, _)| who.as_str())
        .collect();
    if needed > 0 && !against.is_empty() {
        return Err(Error::precondition(format!(
            "was rejected by {}",
            against.join(", ")
        )));
    }

    let given = verdicts.values().filter(|yes| **yes).count();
    if (given as u64) < u64::from(needed) {
        return Err(Error::denied(format!(
            "has {given} of the {needed} approvals{by} needed to become champion"
        )));
    }

    Ok(())
}
