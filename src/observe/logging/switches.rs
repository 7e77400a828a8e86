//! Switches of a running log: what is written beyond, or short of, what its level says.

use super::filter;
use crate::core::error::{Error, Result};
use std::sync::OnceLock;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

/// The log of this process, once it is started.
static RUNNING: OnceLock<reload::Handle<SwitchedTargets, Registry>> = OnceLock::new();

/// Which lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogSwitches {
    pub errors: bool,
    pub warnings: bool,
    /// Ordinary messages.
    pub infos: bool,
    /// 1 for details of this server, 2 or more for all of them.
    pub detail: u32,
}

/// The targets of the level that is configured, with the switches of clients.
pub(super) struct SwitchedTargets {
    configured: Targets,
    /// None until a client sets them.
    switches: Option<LogSwitches>,
}

/// The beginning of this server's own targets.
const OWN: &str = "ortus";

impl SwitchedTargets {
    /// Reads a level.
    pub(super) fn new(level: &str) -> Result<Self> {
        Ok(Self {
            configured: filter(level)?,
            switches: None,
        })
    }

    fn current(&self) -> LogSwitches {
        let writes = |level| self.configured.would_enable(OWN, &level);
        self.switches.unwrap_or_else(|| LogSwitches {
            errors: writes(Level::ERROR),
            warnings: writes(Level::WARN),
            infos: writes(Level::INFO),
            detail: u32::from(writes(Level::DEBUG)) + u32::from(writes(Level::TRACE)),
        })
    }

    fn writes(&self, target: &str, level: Level) -> bool {
        let configured = self.configured.would_enable(target, &level);
        let Some(switches) = self.switches else {
            return configured;
        };
        let is_own = target.starts_with(OWN);
        match level {
            Level::ERROR => switches.errors && (configured || is_own),
            Level::WARN => switches.warnings && (configured || is_own),
            Level::INFO => switches.infos && (configured || is_own),
            Level::DEBUG => configured || (is_own && switches.detail >= 1),
            Level::TRACE => configured || (is_own && switches.detail >= 2),
        }
    }
}

impl<S> Filter<S> for SwitchedTargets {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.writes(metadata.target(), *metadata.level())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.writes(metadata.target(), *metadata.level()) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let loudest = self.configured.iter().map(|(_, level)| level).max();
        let loudest = loudest.max(self.configured.default_level());
        let wanted = self.switches.map(|switches| match switches.detail {
            0 => LevelFilter::INFO,
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        });
        loudest.max(wanted)
    }
}

/// Returns a filter that [`switch`] can change. The first one of the process is the one that it changes.
pub(super) fn reloadable(targets: SwitchedTargets) -> reload::Layer<SwitchedTargets, Registry> {
    let (layer, handle) = reload::Layer::new(targets);
    // A second start of the log is refused by its caller.
    let _ = RUNNING.set(handle);
    layer
}

/// Returns what the log of this process writes.
pub(crate) fn current() -> Result<LogSwitches> {
    let read = RUNNING
        .get()
        .map(|handle| handle.with_current(SwitchedTargets::current));
    read.and_then(std::result::Result::ok)
        .ok_or_else(not_running)
}

/// Changes what the log of this process writes.
pub(crate) fn switch(switches: LogSwitches) -> Result<()> {
    let set = |targets: &mut SwitchedTargets| targets.switches = Some(switches);
    let done = RUNNING.get().map(|handle| handle.modify(set));
    done.and_then(std::result::Result::ok)
        .ok_or_else(not_running)
}

fn not_running() -> Error {
    Error::precondition("the log of this process is not started")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [Level; 5] = [
        Level::ERROR,
        Level::WARN,
        Level::INFO,
        Level::DEBUG,
        Level::TRACE,
    ];

    #[track_caller]
    fn check(targets: &SwitchedTargets, target: &str, expected: &str) {
        let letters = LEVELS.iter().zip("ewidt".chars());
        let found: String = letters
            .filter(|(level, _)| targets.writes(target, **level))
            .map(|(_, letter)| letter)
            .collect();
        assert_eq!(found, expected, "{target}");
    }

    #[test]
    fn a_level_holds_until_it_is_switched() {
        let mut targets = SwitchedTargets::new("warn,ortus::batch=debug").expect("legal");
        check(&targets, "ortus::app", "ew");
        check(&targets, "ortus::batch", "ewid");
        check(&targets, "hyper", "ew");
        let start = targets.current();
        assert_eq!(
            (start.errors, start.warnings, start.infos, start.detail),
            (true, true, false, 0)
        );

        targets.switches = Some(LogSwitches {
            infos: true,
            ..start
        });
        check(&targets, "ortus::app", "ewi");
        check(&targets, "ortus::batch", "ewid");
        check(&targets, "hyper", "ew");
        targets.switches = Some(LogSwitches {
            warnings: false,
            detail: 1,
            ..start
        });
        check(&targets, "ortus::app", "ed");
        check(&targets, "hyper", "e");
        targets.switches = Some(LogSwitches {
            errors: false,
            detail: 2,
            ..start
        });
        check(&targets, "ortus::app", "wdt");
        assert_eq!(targets.current().detail, 2);
    }

    #[test]
    fn the_hint_is_not_quieter_than_any_target() {
        let hint = |targets: &SwitchedTargets| Filter::<Registry>::max_level_hint(targets);
        let mut targets = SwitchedTargets::new("warn,ortus::batch=debug").expect("legal");
        assert_eq!(hint(&targets), Some(LevelFilter::DEBUG));
        let start = targets.current();
        targets.switches = Some(LogSwitches { detail: 2, ..start });
        assert_eq!(hint(&targets), Some(LevelFilter::TRACE));
        let mut quiet = SwitchedTargets::new("error").expect("legal");
        let start = quiet.current();
        quiet.switches = Some(LogSwitches {
            infos: true,
            ..start
        });
        assert_eq!(hint(&quiet), Some(LevelFilter::INFO));
    }
}
