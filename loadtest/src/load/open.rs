//! The open loop: requests are sent when they are due. A request that finds no
//! free connection waits for one, and that wait is latency.

use super::Shared;
use crate::Result;
use crate::clients::Sender;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A request of the schedule.
struct Dispatched {
    due: Duration,
    sent: Duration,
}

/// Senders without a request, and requests without a sender.
struct Pool {
    shared: Rc<Shared>,
    idle: RefCell<Vec<Sender>>,
    waiting: RefCell<VecDeque<Dispatched>>,
}

/// Sends at the due times within `length`; returns when all are dispatched.
pub(super) async fn send(
    shared: &Rc<Shared>,
    senders: Vec<Sender>,
    times: Box<dyn Iterator<Item = Duration> + Send>,
    length: Duration,
) -> Result<()> {
    let (tick, mut ticks) = mpsc::unbounded_channel();
    let start = shared.start.get();
    let schedule = move || {
        for due in times.take_while(|due| *due < length) {
            let wait = due.saturating_sub(start.elapsed());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            if tick.send(due).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new()
        .name("schedule".to_owned())
        .spawn(schedule)?;

    // Streams of these in turn, where the protocol has streams.
    let lenders: Vec<Sender> = senders.iter().filter_map(Sender::share).collect();
    let pool = Rc::new(Pool {
        shared: shared.clone(),
        idle: RefCell::new(senders),
        waiting: RefCell::default(),
    });
    let mut turn = 0;
    while let Some(due) = ticks.recv().await {
        let sent = shared.now();
        let dispatched = Dispatched { due, sent };
        shared.begun();
        let idle = pool.idle.borrow_mut().pop();
        let sender = idle.or_else(|| {
            turn += 1;
            lenders.get(turn % lenders.len().max(1))?.share()
        });
        match sender {
            Some(sender) => drop(tokio::task::spawn_local(work(
                pool.clone(),
                sender,
                dispatched,
            ))),
            None => pool.waiting.borrow_mut().push_back(dispatched),
        }
    }
    Ok(())
}

/// Sends one request, and then those that wait.
async fn work(pool: Rc<Pool>, mut sender: Sender, first: Dispatched) {
    let mut next = Some(first);
    while let Some(Dispatched { due, sent }) = next {
        pool.shared.send(&mut sender, Some(due), sent).await;
        pool.shared.ended();
        next = pool.waiting.borrow_mut().pop_front();
    }
    pool.idle.borrow_mut().push(sender);
}
