//! The presence of a server in its fleet: published at intervals, removed at the
//! end.

use super::{Follower, LOOK_MAX, Standing, same_entry};
use crate::registry::log;
use crate::registry::servers::{HEARTBEAT, Presence};
use std::time::{Duration, Instant};

/// Time limit of removing this server from the fleet at its end.
const LEAVE_MAX: Duration = Duration::from_secs(1);

impl Follower {
    /// Publishes this server to the fleet: at once after a change, else at
    /// intervals. A failure is ignored, and a store whose log is refused is not
    /// written to.
    pub(crate) fn publish(&mut self, now: Instant) {
        let standing = self.status();
        if standing.refused.is_some() {
            return;
        }
        let is_fresh = |(published, at): &(Standing, Instant)| {
            *published == standing && now.saturating_duration_since(*at) < HEARTBEAT
        };
        let Some(addresses) = self
            .options
            .addresses
            .get()
            .filter(|_| !self.published.as_ref().is_some_and(is_fresh))
        else {
            return;
        };

        let presence = Presence {
            server: self.server.clone(),
            addresses: addresses.clone(),
            entry: standing.seq,
            time: log::now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };

        self.published = Some((standing, now));
        let announced = self.runtime.block_on(async {
            let announce = async {
                // A folder that was removed must not be created again.
                same_entry(&self.log, &self.state).await?;
                self.log.announce(&presence).await
            };
            tokio::time::timeout(LOOK_MAX, announce).await
        });

        if !matches!(announced, Ok(Ok(()))) {
            tracing::debug!("this server was not published to the fleet");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.published.is_some() {
            let _ = self.runtime.block_on(async {
                tokio::time::timeout(LEAVE_MAX, self.log.leave(&self.server)).await
            });
        }
    }
}
