//! The scheduler in virtual time: the real queue, policy, learned costs and expiry, as `Batcher` and
//! its lanes call them, on lanes whose runs take what a [`Machine`] says.

use super::arrivals::Arrival;
use super::machine::{MS, Machine, Nanos};
use crate::serve::batch::admission::{QueuePlace, Room, admit};
use crate::serve::batch::class_costs::ClassCosts;
use crate::serve::batch::cost::BatchCost;
use crate::serve::batch::due::Due;
use crate::serve::batch::policy::BatchLimits;
use crate::serve::batch::queue::{Class, Queue, QueuedRequest, Rank};
use crate::serve::batch::select::{LaneStep, select};
use smallvec::smallvec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// How long a request without a deadline may wait in the queue.
pub(super) const QUEUE_TIMEOUT: Nanos = 2_000 * MS;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its run ended then.
    Ran(Nanos),
    /// It was not admitted.
    Refused,
    /// It left the queue then, because it could not be served in time.
    Expired(Nanos),
}

/// What happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The run of this lane ends.
    End(usize),
    /// This lane has done what is beside its run, and looks for the next.
    Free(usize),
    /// The client of this request gives up, or its time in the queue is over.
    GiveUp(usize),
    /// This request arrives.
    Arrive(usize),
}

/// A run of a lane.
struct LaneRun {
    class: Class,
    rows: usize,
    start: Nanos,
    requests: Vec<usize>,
}

/// The scheduler of one servable, its lanes and its clock.
pub(super) struct Simulation {
    zero: Instant,
    machine: Machine,
    limits: BatchLimits,
    queue: Queue<usize>,
    queue_rows_max: usize,
    costs: ClassCosts,
    beside: f64,
    lanes: Vec<Option<LaneRun>>,
    busy_since: Nanos,
    /// The longest time in which a lane ran.
    pub(super) busy_longest: Nanos,
    /// Rows of the batches that ran, in order.
    pub(super) batches: Vec<usize>,
}

/// What differs between simulations.
pub(super) struct Setup {
    pub(super) machine: Machine,
    pub(super) lanes: usize,
    pub(super) rows_max: usize,
    pub(super) queue_rows_max: usize,
    /// What a lane does after each run, over the run.
    pub(super) beside: f64,
}

/// One trace in progress.
struct Replay<'t> {
    trace: &'t [Arrival],
    events: BinaryHeap<Reverse<(Nanos, Event)>>,
    places: Vec<Option<(Class, Rank)>>,
    ended: Vec<Option<Ended>>,
}

impl Simulation {
    /// Knows nothing of durations.
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            zero: Instant::now(),
            machine: setup.machine,
            limits: BatchLimits {
                fills: false,
                tokens: None,
                rows_max: setup.rows_max,
                delay: Duration::ZERO,
                lanes: setup.lanes,
            },
            queue: Queue::new(),
            queue_rows_max: setup.queue_rows_max,
            costs: ClassCosts::new(BatchCost::default()),
            beside: setup.beside,
            lanes: (0..setup.lanes).map(|_| None).collect(),
            busy_since: 0,
            busy_longest: 0,
            batches: Vec::new(),
        }
    }

    /// One that has learned the same.
    pub(super) fn twin(&self) -> Self {
        let mut twin = Self::new(Setup {
            machine: self.machine.clone(),
            lanes: self.lanes.len(),
            rows_max: self.limits.rows_max,
            queue_rows_max: self.queue_rows_max,
            beside: self.beside,
        });
        twin.costs = self.costs.clone();
        twin
    }

    /// Changes the machine; what was learned stays.
    pub(super) fn move_to(&mut self, machine: Machine) {
        self.machine = machine;
    }

    /// Replays a trace until nothing waits and nothing runs. Returns how each request ended.
    pub(super) fn replay(&mut self, trace: &[Arrival]) -> Vec<Ended> {
        let mut replay = Replay {
            trace,
            events: BinaryHeap::new(),
            places: trace.iter().map(|_| None).collect(),
            ended: vec![None; trace.len()],
        };
        for (number, arrival) in trace.iter().enumerate() {
            let event = (arrival.at, Event::Arrive(number));
            replay.events.push(Reverse(event));
        }

        while let Some(Reverse((now, event))) = replay.events.pop() {
            match event {
                Event::Arrive(number) => self.arrive(&mut replay, number, now),
                Event::GiveUp(number) => self.give_up(&mut replay, number, now),
                Event::End(lane) => self.end(&mut replay, lane, now),
                Event::Free(lane) => self.free(&mut replay, lane, now),
            }
        }
        assert_eq!(self.queue.rows(), 0, "every request left the queue");
        let ended = replay.ended.into_iter();
        ended.map(|end| end.expect("every request ends")).collect()
    }

    fn instant(&self, at: Nanos) -> Instant {
        self.zero + Duration::from_nanos(at)
    }

    fn arrive(&mut self, replay: &mut Replay<'_>, number: usize, now: Nanos) {
        let arrival = replay.trace[number];
        let until = now + arrival.timeout.unwrap_or(QUEUE_TIMEOUT);
        let due = match arrival.timeout {
            Some(_) => Due::answer(self.instant(until)),
            None => Due::start(self.instant(until)),
        };
        let place = QueuePlace {
            class: Class::Sizes(smallvec![arrival.class]),
            priority: arrival.priority,
            due,
        };
        let entry = QueuedRequest {
            rows: arrival.rows,
            pushed: self.instant(now),
            load: number,
        };

        let idle = self.lanes.iter().position(Option::is_none);
        let room = Room {
            rows_max: self.queue_rows_max,
            batch_rows_max: self.limits.rows_max,
            lanes: self.lanes.len(),
            is_lane_idle: idle.is_some(),
        };
        match admit(&mut self.queue, &self.costs, &place, entry, room) {
            Ok(rank) => {
                replay.places[number] = Some((place.class, rank));
                replay.events.push(Reverse((until, Event::GiveUp(number))));
            }
            Err(_) => replay.ended[number] = Some(Ended::Refused),
        }
        if self.lanes.iter().all(Option::is_none) {
            self.busy_since = now;
        }
        if let Some(lane) = idle {
            self.take(replay, lane, now);
        }
    }

    /// What `Waiting` does when its time is over.
    fn give_up(&mut self, replay: &mut Replay<'_>, number: usize, now: Nanos) {
        if let Some((class, rank)) = replay.places[number].take()
            && self.queue.remove(&class, rank).is_some()
        {
            replay.ended[number] = Some(Ended::Expired(now));
        }
    }

    fn end(&mut self, replay: &mut Replay<'_>, lane: usize, now: Nanos) {
        let run = self.lanes[lane].as_mut().expect("it runs");
        for number in run.requests.drain(..) {
            replay.ended[number] = Some(Ended::Ran(now));
        }
        let took = now - run.start;
        self.costs
            .note(&run.class, run.rows, Duration::from_nanos(took));
        let free = now + (took as f64 * self.beside) as Nanos;
        match free > now {
            true => replay.events.push(Reverse((free, Event::Free(lane)))),
            false => self.free(replay, lane, now),
        }
    }

    fn free(&mut self, replay: &mut Replay<'_>, lane: usize, now: Nanos) {
        let run = self.lanes[lane].take().expect("it ran");
        self.take(replay, lane, now);
        if self.lanes[lane].is_some() {
            let took = Duration::from_nanos(now - run.start);
            self.costs.note_cycle(&run.class, run.rows, took);
        }
        if self.lanes.iter().all(Option::is_none) {
            self.busy_longest = self.busy_longest.max(now - self.busy_since);
        }
    }

    /// What a free lane does.
    fn take(&mut self, replay: &mut Replay<'_>, lane: usize, now: Nanos) {
        let at = self.instant(now);
        let selected = select(&mut self.queue, &self.costs, self.limits, None, at);
        for number in selected.late {
            replay.ended[number] = Some(Ended::Expired(now));
        }
        let LaneStep::Run(batch) = selected.step else {
            return;
        };

        let rows = batch.requests.iter().map(|(_, entry)| entry.rows).sum();
        let run = LaneRun {
            class: batch.class,
            rows,
            start: now,
            requests: batch.requests.iter().map(|(_, entry)| entry.load).collect(),
        };
        let end = self.machine.end(now, rows);
        replay.events.push(Reverse((end, Event::End(lane))));
        self.batches.push(rows);
        self.lanes[lane] = Some(run);
    }
}
