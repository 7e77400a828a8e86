//! SIGTERM, SIGINT and SIGHUP: the first asks the server to stop, a second one ends the process at
//! once. They are followed on a thread of their own, so that they act in every phase. SIGHUP stays
//! ignored where whoever started the server ignores it, as nohup does.

use super::end::end_process;
use crate::api::stop::{InFlight, Stop};
use crate::core::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The signals that stop the server, caught from the start on.
pub(crate) struct Signals {
    stop: Stop,
    asked: CancellationToken,
    is_listening: Arc<AtomicBool>,
}

/// What the thread that follows signals knows.
struct SignalThread {
    asked: CancellationToken,
    is_listening: Arc<AtomicBool>,
    requests: InFlight,
}

impl Signals {
    /// Catches the signals from now on. Until [`Signals::start_listening`], the first one ends the
    /// process with code 0, because no request can be lost.
    pub(crate) fn install() -> Result<Self> {
        let stop = Stop::default();
        let requests = stop.requests.clone();
        let signals = Self {
            stop,
            asked: CancellationToken::new(),
            is_listening: Arc::default(),
        };
        let thread = SignalThread {
            asked: signals.asked.clone(),
            is_listening: Arc::clone(&signals.is_listening),
            requests,
        };

        let (installed, is_installed) = channel();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || thread.main(&installed))
            .map_err(|e| Error::internal("start the signal thread").with_source(e))?;
        is_installed
            .recv()
            .map_err(|_| Error::internal("the signal thread ended at its start"))??;

        Ok(signals)
    }

    /// Returns the stop, whose requests a second signal counts.
    pub(super) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// From now on a signal only asks for the stop: requests may be in flight.
    pub(super) fn start_listening(&self) {
        self.is_listening.store(true, Ordering::SeqCst);
    }

    /// Waits for the first signal.
    pub(super) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Tells whether the first signal has come.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }
}

impl SignalThread {
    fn main(self, installed: &Sender<Result<()>>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let error = Error::internal("build the signal runtime").with_source(error);
                let _ = installed.send(Err(error));
                return;
            }
        };

        runtime.block_on(async {
            let caught = CaughtSignals::install();
            match caught {
                Ok(caught) => {
                    let _ = installed.send(Ok(()));
                    self.follow(caught).await;
                }
                Err(error) => {
                    let _ = installed.send(Err(error));
                }
            }
        });
    }

    async fn follow(self, mut caught: CaughtSignals) {
        caught.next().await;
        if !self.is_listening.load(Ordering::SeqCst) {
            tracing::info!("stopped by a signal before the start was complete");
            end_process(0);
        }
        self.asked.cancel();

        caught.next().await;
        let lost = self.requests.count();
        tracing::warn!(requests = lost, "ended at once by a second signal");
        end_process(u8::from(lost > 0));
    }
}

struct CaughtSignals {
    term: Signal,
    int: Signal,
    /// None where it is ignored.
    hup: Option<Signal>,
}

impl CaughtSignals {
    fn install() -> Result<Self> {
        let catch = |kind| {
            signal(kind).map_err(|e| Error::internal("install a signal handler").with_source(e))
        };
        Ok(Self {
            term: catch(SignalKind::terminate())?,
            int: catch(SignalKind::interrupt())?,
            hup: match is_ignored(libc::SIGHUP) {
                true => None,
                false => Some(catch(SignalKind::hangup())?),
            },
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            () = hangup(&mut self.hup) => {}
        }
    }
}

/// Waits for SIGHUP, where it is not ignored.
async fn hangup(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Tells whether the process was started with a signal ignored.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: a `sigaction` of zeros is valid. The call only writes the present action to it.
    unsafe {
        let mut present: libc::sigaction = std::mem::zeroed();
        let is_known = libc::sigaction(signal, std::ptr::null(), &raw mut present) == 0;
        is_known && present.sa_sigaction == libc::SIG_IGN
    }
}
