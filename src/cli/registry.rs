//! The registry's commands. Parses arguments, calls `registry::commands` and prints a table, or
//! with --json one JSON value.

mod access;
pub mod arguments;
mod audit;
mod change;
mod files;
mod key;
mod lineage;
mod notify;
mod show;

pub use access::{config, open};
pub(crate) use arguments::{RegistryArguments, RegistryVerb, split_target};
pub use notify::nudge;

use super::block_on;
use crate::core::error::Result;
use arguments::AuditVerb;
use std::process::ExitCode;

/// Runs a verb.
pub(super) fn run(verb: RegistryVerb) -> Result<ExitCode> {
    block_on(async {
        match verb {
            RegistryVerb::Push(arguments) => files::push(&arguments).await,
            RegistryVerb::Pull {
                target,
                output,
                common,
            } => files::pull(&target, &output, &common).await,
            RegistryVerb::Export {
                target,
                output,
                common,
            } => files::export(&target, &output, &common).await,
            RegistryVerb::Import(arguments) => files::import(&arguments).await,

            RegistryVerb::List { tag, common } => show::list(tag.as_deref(), &common).await,
            RegistryVerb::Show { target, common } => show::show(&target, &common).await,
            RegistryVerb::History { name, at, common } => {
                show::history(&name, at.as_deref(), &common).await
            }
            RegistryVerb::Diff {
                name,
                one,
                two,
                common,
            } => show::diff(&name, &one, &two, &common).await,
            RegistryVerb::Fleet { common } => show::fleet(&common).await,
            RegistryVerb::Lineage(arguments) => lineage::lineage(&arguments).await,

            RegistryVerb::Promote(arguments) => change::promote(&arguments).await,
            RegistryVerb::Rollback(arguments) => change::rollback(&arguments).await,
            RegistryVerb::Alias(arguments) => change::alias(&arguments).await,
            RegistryVerb::Traffic(arguments) => change::traffic(&arguments).await,
            RegistryVerb::Retire(at) => change::retire(&at).await,
            RegistryVerb::Tag(arguments) => change::tag(&arguments).await,
            RegistryVerb::Approve(at) => change::judge(&at, true).await,
            RegistryVerb::Reject(at) => change::judge(&at, false).await,
            RegistryVerb::Policy(arguments) => change::policy(&arguments).await,

            RegistryVerb::Key { verb } => key::run(verb),
            RegistryVerb::Gc(arguments) => audit::gc(&arguments).await,
            RegistryVerb::Audit {
                verb: AuditVerb::Report(arguments),
            } => audit::report(&arguments).await,
            RegistryVerb::Audit {
                verb: AuditVerb::Verify { common },
            } => audit::verify(&common).await,
        }
    })
}
