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
pub(crate) use arguments::{Common, Verb, split_target};
pub use notify::nudge;

use super::block_on;
use crate::core::error::Result;
use arguments::AuditVerb;
use std::process::ExitCode;

/// Runs a verb.
pub(super) fn run(verb: Verb) -> Result<ExitCode> {
    block_on(async {
        match verb {
            Verb::Push(arguments) => files::push(&arguments).await,
            Verb::Pull {
                target,
                output,
                common,
            } => files::pull(&target, &output, &common).await,
            Verb::Export {
                target,
                output,
                common,
            } => files::export(&target, &output, &common).await,
            Verb::Import(arguments) => files::import(&arguments).await,

            Verb::List { tag, common } => show::list(tag.as_deref(), &common).await,
            Verb::Show { target, common } => show::show(&target, &common).await,
            Verb::History { name, at, common } => {
                show::history(&name, at.as_deref(), &common).await
            }
            Verb::Diff {
                name,
                one,
                two,
                common,
            } => show::diff(&name, &one, &two, &common).await,
            Verb::Fleet { common } => show::fleet(&common).await,
            Verb::Lineage(arguments) => lineage::lineage(&arguments).await,

            Verb::Promote(arguments) => change::promote(&arguments).await,
            Verb::Rollback(arguments) => change::rollback(&arguments).await,
            Verb::Alias(arguments) => change::alias(&arguments).await,
            Verb::Traffic(arguments) => change::traffic(&arguments).await,
            Verb::Retire(at) => change::retire(&at).await,
            Verb::Tag(arguments) => change::tag(&arguments).await,
            Verb::Approve(at) => change::judge(&at, true).await,
            Verb::Reject(at) => change::judge(&at, false).await,
            Verb::Policy(arguments) => change::policy(&arguments).await,

            Verb::Key { verb } => key::run(verb),
            Verb::Gc(arguments) => audit::gc(&arguments).await,
            Verb::Audit {
                verb: AuditVerb::Report(arguments),
            } => audit::report(&arguments).await,
            Verb::Audit {
                verb: AuditVerb::Verify { common },
            } => audit::verify(&common).await,
        }
    })
}
