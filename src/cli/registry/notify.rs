//! Notifies servers of a change, so that they read the registry before their next poll.

use super::arguments::By;
use crate::cli::print::note;
use crate::client;
use crate::core::error::Result;
use crate::registry::commands::Operator;
use crate::registry::log::now;
use futures_util::future::join_all;

/// Most servers that a command notifies.
const NUDGES_MAX: usize = 64;

/// Notifies servers of a change: those that are named, or else those of the fleet. A server that
/// does not answer is not an error, because it polls the registry anyway.
pub async fn nudge(operator: &Operator, by: &By) {
    let is_named = !by.nudge.is_empty();
    let addresses = if is_named {
        by.nudge.clone()
    } else {
        fleet(operator).await
    };

    let sent = addresses
        .iter()
        .take(NUDGES_MAX)
        .map(|address| client::nudge(address));
    let errors = join_all(sent).await.into_iter().filter_map(Result::err);

    // A server of the fleet may have ended; only one that the user named must answer.
    for error in errors.filter(|_| is_named) {
        note(&format!(
            "ortus: a server was not notified of the change and will see it at its next poll: {error}"
        ));
    }
}

/// Lists the operator APIs of the fleet's servers; none if the registry cannot be read.
async fn fleet(operator: &Operator) -> Vec<String> {
    let servers = operator.log.fleet(now()).await.unwrap_or_default();
    servers
        .into_iter()
        .map(|server| server.addresses.operator)
        .collect()
}
