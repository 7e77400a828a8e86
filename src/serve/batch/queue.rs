//! The waiting requests, in the order in which they are served: by priority, then deadline, then
//! arrival. Requests whose shapes cannot be merged wait in separate lines. Pure: owns no clock and
//! no lock.

use super::due::Due;
use super::policy::WaitingRequest;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Sizes of axes, of which most models have few.
pub(crate) type AxisSizes = SmallVec<[usize; 4]>;

/// Lines that are kept when they are empty, because the next request most often needs one of them again.
const LINES_KEPT: usize = 8;

/// Requests that can be merged are of the same class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The sizes of the axes of a request's inputs, without the first axis.
    Sizes(AxisSizes),
    /// A request that is merged with no other. The number is its own.
    Alone(u64),
}

impl Default for Class {
    fn default() -> Self {
        Self::Sizes(AxisSizes::new())
    }
}

/// A place in the queue; the smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// 0 is most urgent.
    pub priority: u8,
    /// The earlier one is served first.
    pub due: Due,
    /// Order of arrival; decides between equal ones.
    pub arrival: u64,
}

/// One waiting request.
pub(crate) struct QueuedRequest<T> {
    /// Rows that it has in a batch, at least 1.
    pub rows: usize,
    /// When it was pushed.
    pub pushed: Instant,
    /// Data of the caller.
    pub load: T,
}

/// The waiting requests of one servable.
pub(crate) struct Queue<T> {
    classes: HashMap<Class, BTreeMap<Rank, QueuedRequest<T>>>,
    rows: usize,
    arrivals: u64,
}

/// Requests that are looked at to find out whether too many wait.
const LOOK_MAX: usize = 1_024;

/// How fast the requests of a class leave the queue at best.
pub(crate) struct Flow {
    /// Requests that leave it now.
    pub first: usize,
    /// When those are answered, and the others have their turn.
    pub start: Instant,
    /// What each row takes then.
    pub row: Duration,
}

/// The head of the class that is served next.
pub(crate) struct QueueHead<'q> {
    /// The class.
    pub class: &'q Class,
    /// Its first requests in order, as many as fit into a batch.
    pub members: Vec<WaitingRequest>,
    /// The earliest arrival among them.
    pub oldest: Instant,
}

impl<T> Queue<T> {
    /// Starts empty.
    pub(crate) fn new() -> Self {
        Self {
            classes: HashMap::new(),
            rows: 0,
            arrivals: 0,
        }
    }

    /// Returns the rows that wait.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Tells whether all that waits is served before a request with this priority and time.
    pub(crate) fn is_before(&self, priority: u8, due: Due) -> bool {
        let mut lasts = self.classes.values().filter_map(BTreeMap::last_key_value);
        lasts.all(|(last, _)| (last.priority, last.due) <= (priority, due))
    }

    /// Returns the class of the most urgent request.
    pub(crate) fn first_class(&self) -> Option<&Class> {
        self.first_line().map(|(class, _)| class)
    }

    fn first_line(&self) -> Option<(&Class, &BTreeMap<Rank, QueuedRequest<T>>)> {
        let firsts = self
            .classes
            .iter()
            .filter_map(|(class, line)| Some((*line.first_key_value()?.0, class, line)));
        let (_, class, line) = firsts.min_by_key(|(rank, _, _)| *rank)?;
        Some((class, line))
    }

    /// Adds a request; the caller saw that there is room.
    pub(crate) fn push(
        &mut self,
        class: &Class,
        priority: u8,
        due: Due,
        entry: QueuedRequest<T>,
    ) -> Rank {
        self.arrivals += 1;
        let rank = Rank {
            priority,
            due,
            arrival: self.arrivals,
        };
        self.put(class, rank, entry);
        rank
    }

    /// Puts a request that was taken back into its place.
    pub(crate) fn put(&mut self, class: &Class, rank: Rank, entry: QueuedRequest<T>) {
        self.rows += entry.rows;
        match self.classes.get_mut(class) {
            Some(line) => line.insert(rank, entry),
            None => self
                .classes
                .entry(class.clone())
                .or_default()
                .insert(rank, entry),
        };
    }

    /// Removes a request; `None` if it has been served.
    pub(crate) fn remove(&mut self, class: &Class, rank: Rank) -> Option<T> {
        let line = self.classes.get_mut(class)?;
        let entry = line.remove(&rank)?;
        self.rows -= entry.rows;
        if line.is_empty() {
            self.end_line(class);
        }
        Some(entry.load)
    }

    /// Removes every request that is overdue. Where another request can still be served in time, removes
    /// also those that cannot: `need` is what a run of their class takes.
    pub(crate) fn expire(&mut self, now: Instant, need: impl Fn(&Class) -> Duration) -> Vec<T> {
        let is_feasible = |rank: &Rank, need: Duration| rank.due.allows(now, need);
        let mut lines = self.classes.iter();
        // Requests are ordered by priority first, so late ones may be anywhere.
        let is_settled = lines.all(|(class, line)| {
            let (first, last) = (line.first_key_value(), line.last_key_value());
            let ends = first.zip(last);
            ends.is_none_or(|((first, _), (last, _))| {
                first.priority == last.priority && first.due.at >= now + need(class)
            })
        });
        if is_settled {
            return Vec::new();
        }

        let mut lines = self.classes.iter();
        let has_feasible = lines.any(|(class, line)| {
            let need = need(class);
            line.keys().any(|rank| is_feasible(rank, need))
        });
        let mut late = Vec::new();
        for (class, line) in &mut self.classes {
            let need = if has_feasible {
                need(class)
            } else {
                Duration::ZERO
            };
            for (_, entry) in line.extract_if(.., |rank, _| !is_feasible(rank, need)) {
                self.rows -= entry.rows;
                late.push(entry.load);
            }
        }

        let are_few = self.classes.len() <= LINES_KEPT;
        self.classes
            .retain(|class, line| !line.is_empty() || are_few && matches!(class, Class::Sizes(_)));
        late
    }

    /// Removes a line that became empty, or keeps it while there are few.
    fn end_line(&mut self, class: &Class) {
        if self.classes.len() > LINES_KEPT || matches!(class, Class::Alone(_)) {
            self.classes.remove(class);
        }
    }

    /// Tells whether some of the most urgent priority of a class will be late even at the best flow.
    pub(crate) fn is_overloaded(&self, class: &Class, flow: &Flow) -> bool {
        let mut end = flow.start;
        let mut waiting = self.most_urgent(class).skip(flow.first).take(LOOK_MAX);
        waiting.any(|(rank, entry)| {
            end += flow
                .row
                .saturating_mul(u32::try_from(entry.rows).unwrap_or(u32::MAX));
            rank.due.is_of_answer() && end > rank.due.at
        })
    }

    /// Removes the requests of the most urgent priority of a class that a run of `need` cannot serve in
    /// time, if it can serve another.
    pub(crate) fn shed(&mut self, class: &Class, now: Instant, need: Duration) -> Vec<T> {
        let mut urgent = self.most_urgent(class);
        if !urgent.any(|(rank, _)| rank.due.allows(now, need)) {
            return Vec::new();
        }
        drop(urgent);

        let Some(line) = self.classes.get_mut(class) else {
            return Vec::new();
        };
        let priority = line.first_key_value().map(|(rank, _)| rank.priority);
        let is_late = |rank: &Rank| Some(rank.priority) == priority && !rank.due.allows(now, need);
        let late: Vec<_> = line.extract_if(.., |rank, _| is_late(rank)).collect();
        self.rows -= late.iter().map(|(_, entry)| entry.rows).sum::<usize>();
        late.into_iter().map(|(_, entry)| entry.load).collect()
    }

    /// The requests of a class that have the priority of its first, in order.
    fn most_urgent(&self, class: &Class) -> impl Iterator<Item = (&Rank, &QueuedRequest<T>)> {
        let line = self.classes.get(class).into_iter().flatten();
        let mut priority = None;
        line.take_while(move |(rank, _)| *priority.get_or_insert(rank.priority) == rank.priority)
    }

    /// Returns the head of the class whose first request is the most urgent.
    pub(crate) fn head(&self, rows_max: usize) -> Option<QueueHead<'_>> {
        let (class, line) = self.first_line()?;

        let mut rows = 0;
        let mut oldest = line.first_key_value()?.1.pushed;
        let mut members = Vec::with_capacity(line.len().min(rows_max));
        for (rank, entry) in line {
            if rows >= rows_max {
                break;
            }
            rows += entry.rows;
            oldest = oldest.min(entry.pushed);
            members.push(WaitingRequest {
                rows: entry.rows,
                due: rank.due,
            });
        }

        Some(QueueHead {
            class,
            members,
            oldest,
        })
    }

    /// Takes the first `count` requests of a class.
    pub(crate) fn take(&mut self, class: &Class, count: usize) -> Vec<(Rank, QueuedRequest<T>)> {
        let Some(line) = self.classes.get_mut(class) else {
            return Vec::new();
        };
        let mut taken = Vec::with_capacity(count.min(line.len()));
        taken.extend(std::iter::from_fn(|| line.pop_first()).take(count));
        self.rows -= taken.iter().map(|(_, e)| e.rows).sum::<usize>();

        if line.is_empty() {
            self.end_line(class);
        }
        taken
    }
}
