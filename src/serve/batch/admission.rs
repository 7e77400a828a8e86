//! Decides at arrival whether a request can be served in time, by what waits already. Pure: owns no
//! clock and no lock.

use super::class_costs::ClassCosts;
use super::due::Due;
use super::queue::{Class, Queue, QueuedRequest, Rank};
use crate::core::count::counted;
use crate::core::error::{Error, Result};
use std::time::{Duration, Instant};

/// The share of a request's time that the work before it may take. The rest is for the run in progress, for
/// the run that answers it, and for the way of request and answer. If more work waited, all that is served
/// would be served in the last moment, some of it late, and others would wait for nothing.
const BEFORE_SHARE: f64 = 2.0 / 3.0;

/// Where a request waits in the queue.
pub(super) struct QueuePlace {
    pub class: Class,
    pub priority: u8,
    pub due: Due,
}

/// What serves the queue.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Most rows in the queue.
    pub rows_max: usize,
    /// Most rows of a batch.
    pub batch_rows_max: usize,
    pub lanes: usize,
    /// Whether a lane waits for requests now.
    pub is_lane_idle: bool,
}

/// Adds a request to the queue. Errors: those of [`Backlog::admit`].
pub(super) fn admit<T>(
    queue: &mut Queue<T>,
    costs: &ClassCosts,
    place: &QueuePlace,
    entry: QueuedRequest<T>,
    room: Room,
) -> Result<Rank> {
    let arrival = ArrivingRequest {
        rows: entry.rows,
        due: place.due,
        at: entry.pushed,
    };
    let class = &place.class;
    if !has_time(queue.rows(), arrival, costs, class) || queue.rows() + entry.rows > room.rows_max {
        let backlog = Backlog::found(queue, place.priority, place.due, room);
        backlog.admit(arrival, costs, class)?;
    }
    Ok(queue.push(&place.class, place.priority, place.due, entry))
}

/// Refuses a request of which only its time is known, where it is plain that it cannot be served. Its class
/// is taken to be that of the request which is served next.
pub(super) fn check_room<T>(
    queue: &Queue<T>,
    costs: &ClassCosts,
    due: Due,
    at: Instant,
    room: Room,
) -> Result<()> {
    let Some(class) = queue.first_class() else {
        return Ok(());
    };
    let arrival = ArrivingRequest { rows: 1, due, at };
    Backlog::found(queue, 0, due, room).admit(arrival, costs, class)
}

/// Tells whether there is time for a request even if each row ran alone, one after the other. Most often
/// there is, and nothing else need be computed.
fn has_time(waiting: usize, arrival: ArrivingRequest, costs: &ClassCosts, class: &Class) -> bool {
    let rows = u32::try_from(waiting + arrival.rows).unwrap_or(u32::MAX);
    let alone = costs.of(class).alone();
    let need = alone.and_then(|alone| costs.busy(alone).checked_mul(rows));
    let end = need.and_then(|need| arrival.at.checked_add(spread(need, arrival.due)));
    end.is_some_and(|end| end <= arrival.due.at)
}

/// The time that work before a request stands for.
fn spread(work: Duration, due: Due) -> Duration {
    match due.is_of_answer() {
        true => work.div_f64(BEFORE_SHARE),
        false => work,
    }
}

/// What waits when a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backlog {
    /// Rows in the queue.
    pub rows: usize,
    /// Most rows in the queue.
    pub rows_max: usize,
    /// Most rows of a batch.
    pub batch_rows_max: usize,
    /// Lanes that serve it.
    pub lanes: usize,
    /// Whether no lane is free for the request now.
    pub is_busy: bool,
    /// Whether all that waits is served before the request.
    pub is_before: bool,
}

/// A request that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArrivingRequest {
    /// Its rows, at least 1.
    pub rows: usize,
    /// Until when it can be served.
    pub due: Due,
    /// When it arrived.
    pub at: Instant,
}

impl Backlog {
    /// What a request with this priority and time finds.
    fn found<T>(queue: &Queue<T>, priority: u8, due: Due, room: Room) -> Self {
        let rows = queue.rows();
        Self {
            rows,
            rows_max: room.rows_max,
            batch_rows_max: room.batch_rows_max,
            lanes: room.lanes,
            is_busy: rows > 0 || !room.is_lane_idle,
            is_before: rows == 0 || queue.is_before(priority, due),
        }
    }

    /// Errors: `ResourceExhausted` if the queue has no room or is longer than a request may wait,
    /// `DeadlineExceeded` if the deadline cannot be met.
    pub(super) fn admit(
        self,
        arrival: ArrivingRequest,
        costs: &ClassCosts,
        class: &Class,
    ) -> Result<()> {
        let ArrivingRequest { rows, due, at } = arrival;
        let cost = costs.of(class);
        let batch = self.rows.min(self.batch_rows_max);
        let all = costs.wait(class, self.rows, batch, self.lanes);
        // When half of what waits is done, and there is room again for others too.
        let retry_after = all.map(|wait| wait / 2);
        if self.rows + rows > self.rows_max {
            let full = format!(
                "the queue is full at {}; the request was not executed",
                counted(self.rows_max, "row")
            );
            return Err(Error::overloaded(full).unexecuted(retry_after));
        }
        // A lane that is free runs it all the same: what was learned may no longer hold.
        if !self.is_busy && due.allows(at, Duration::ZERO) {
            return Ok(());
        }

        let wait = all.filter(|_| self.is_before);
        let before = wait.unwrap_or(Duration::ZERO);
        // The run that answers it is as large as what waits allows.
        let run_rows = match wait {
            Some(_) => cost.best_rows(rows, (self.rows + rows).min(self.batch_rows_max)),
            None => rows,
        };
        if due.allows(at + spread(before, due), cost.mean(run_rows)) {
            return Ok(());
        }

        let before_ms = before.as_millis();
        Err(match due.is_of_answer() {
            true if before_ms > 0 => Error::late(format!(
                "the deadline cannot be met: about {before_ms} ms of work wait before the request; \
                 it was not executed"
            )),
            true => Error::late("the deadline cannot be met; the request was not executed"),
            false => Error::overloaded(format!(
                "about {before_ms} ms of work wait before the request, longer than it may wait \
                 (queue_timeout); it was not executed"
            )),
        }
        .unexecuted(retry_after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::Kind;
    use crate::serve::batch::cost::BatchCost;

    const MS: Duration = Duration::from_millis(1);

    /// 16 rows wait for 2 lanes.
    fn backlog() -> Backlog {
        Backlog {
            rows: 16,
            rows_max: 64,
            batch_rows_max: 8,
            lanes: 2,
            is_busy: true,
            is_before: true,
        }
    }

    /// A row takes 10 ms alone and 5 ms in a batch of 8: 16 rows take 2 lanes 40 ms.
    fn cost() -> ClassCosts {
        let mut costs = unknown();
        costs.note(&Class::default(), 1, MS * 10);
        costs.note(&Class::default(), 8, MS * 40);
        costs
    }

    fn unknown() -> ClassCosts {
        ClassCosts::new(BatchCost::default())
    }

    fn kind(
        backlog: Backlog,
        due: fn(Instant) -> Due,
        ms: u32,
        costs: &ClassCosts,
    ) -> Option<Kind> {
        let at = Instant::now();
        let due = due(at + MS * ms);
        let arrival = ArrivingRequest { rows: 1, due, at };
        let admitted = backlog.admit(arrival, costs, &Class::default());
        admitted.err().map(|error| error.kind)
    }

    #[test]
    fn a_deadline_within_the_work_that_waits_is_refused_at_once() {
        let late = Some(Kind::DeadlineExceeded);
        // The work before it may take two thirds of what its own run, in a batch of 8, leaves of its time.
        assert_eq!(kind(backlog(), Due::answer, 99, &cost()), late);
        assert_eq!(kind(backlog(), Due::answer, 100, &cost()), None);
        // What is less urgent is served later.
        let urgent = Backlog {
            is_before: false,
            ..backlog()
        };
        assert_eq!(kind(urgent, Due::answer, 11, &cost()), None);
        assert_eq!(kind(urgent, Due::answer, 9, &cost()), late);
        let free = Backlog {
            rows: 0,
            is_busy: false,
            ..backlog()
        };
        assert_eq!(kind(free, Due::answer, 1, &cost()), None);
        // As long as nothing is known, or larger batches may be cheaper, nothing is refused.
        assert_eq!(kind(backlog(), Due::answer, 1, &unknown()), None);
        let mut alone = unknown();
        alone.note(&Class::default(), 1, MS * 10);
        assert_eq!(kind(backlog(), Due::answer, 11, &alone), None);
    }

    #[test]
    fn a_queue_longer_than_a_request_may_wait_is_full_for_it() {
        let full = Some(Kind::ResourceExhausted);
        assert_eq!(kind(backlog(), Due::start, 39, &cost()), full);
        assert_eq!(kind(backlog(), Due::start, 40, &cost()), None);
        let filled = Backlog {
            rows: 64,
            ..backlog()
        };
        assert_eq!(kind(filled, Due::start, 60_000, &cost()), full);
        assert_eq!(kind(filled, Due::start, 60_000, &unknown()), full);
    }

    #[test]
    fn what_has_time_alone_is_admitted() {
        let at = Instant::now();
        let arrival = |ms: u32| ArrivingRequest {
            rows: 2,
            due: Due::answer(at + MS * ms),
            at,
        };
        let class = Class::default();
        // Eight rows of 10 ms may take two thirds.
        assert!(has_time(6, arrival(120), &cost(), &class));
        assert!(!has_time(6, arrival(119), &cost(), &class));
        assert!(!has_time(0, arrival(60_000), &unknown(), &class));
        assert!(!has_time(usize::MAX / 2, arrival(60_000), &cost(), &class));
    }

    #[test]
    fn a_refusal_says_when_half_of_the_work_is_done() {
        let at = Instant::now();
        let due = Due::answer(at);
        let arrival = ArrivingRequest { rows: 1, due, at };
        let after = |backlog: Backlog, costs: &ClassCosts| {
            let refused = backlog.admit(arrival, costs, &Class::default());
            let error = refused.expect_err("refused");
            error.unexecuted.expect("not executed").retry_after
        };
        assert_eq!(after(backlog(), &cost()), Some(MS * 20));
        let filled = Backlog {
            rows: 64,
            ..backlog()
        };
        assert_eq!(after(filled, &cost()), Some(MS * 80));
        assert_eq!(after(filled, &unknown()), None);
    }
}
