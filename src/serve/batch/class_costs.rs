//! The durations of the batches of each shape class of a model. Pure: owns no clock.

use super::cost::BatchCost;
use super::queue::Class;
use std::collections::HashMap;
use std::time::Duration;

/// The most shape classes whose durations are kept.
const CLASSES_MAX: usize = 64;
/// The weight of a new cycle in the mean.
const CYCLE_WEIGHT: f64 = 1.0 / 16.0;
/// A cycle counts as at most so many times the run.
const CYCLE_MAX: f64 = 4.0;

/// The durations of the batches of each shape class of a model.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassCosts {
    /// What is known at the start.
    initial: BatchCost,
    classes: HashMap<Class, BatchCost>,
    /// What a lane that always has work needs beside its runs, over these: answers, other threads on its core.
    beside: f64,
}

impl ClassCosts {
    pub(super) fn new(initial: BatchCost) -> Self {
        Self {
            initial,
            classes: HashMap::new(),
            beside: 0.0,
        }
    }

    /// Notes the time from the start of a run to the start of the next, for which requests waited already.
    pub(super) fn note_cycle(&mut self, class: &Class, rows: usize, took: Duration) {
        let run = self.of(class).mean(rows);
        if !run.is_zero() {
            let cycle = took.div_duration_f64(run).clamp(1.0, CYCLE_MAX);
            self.beside += (cycle - 1.0 - self.beside) * CYCLE_WEIGHT;
        }
    }

    /// The time in which lanes that always have work do runs of such a duration.
    pub(super) fn busy(&self, runs: Duration) -> Duration {
        runs.mul_f64(1.0 + self.beside)
    }

    /// About how long so many lanes need for rows of a class in batches of the cheapest size up to `batch`; none if
    /// that is not known.
    pub(super) fn wait(
        &self,
        class: &Class,
        rows: usize,
        batch: usize,
        lanes: usize,
    ) -> Option<Duration> {
        let per_row = self.of(class).least_per_row(batch.max(1))?;
        Some(self.busy(per_row.mul_f64(rows as f64 / lanes.max(1) as f64)))
    }

    /// Each class of which something is known; without a class what is known at the start, if no class ran.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<&Class>, &BatchCost)> {
        let initial = self.classes.is_empty().then_some((None, &self.initial));
        let classes = self.classes.iter().map(|(class, cost)| (Some(class), cost));
        initial.into_iter().chain(classes)
    }

    pub(super) fn of(&self, class: &Class) -> &BatchCost {
        self.classes.get(class).unwrap_or(&self.initial)
    }

    /// Notes a run. Requests that are merged with no other teach nothing of others.
    pub(super) fn note(&mut self, class: &Class, rows: usize, took: Duration) {
        if let Some(cost) = self.classes.get_mut(class) {
            return cost.note(rows, took);
        }
        if matches!(class, Class::Alone(_)) {
            return;
        }

        if self.classes.len() >= CLASSES_MAX {
            let least = self.classes.iter().min_by_key(|(_, cost)| cost.runs());
            let least = least.map(|(class, _)| class.clone());
            least.and_then(|class| self.classes.remove(&class));
        }
        let mut cost = self.initial.clone();
        cost.note(rows, took);
        self.classes.insert(class.clone(), cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn each_shape_class_has_its_own_durations() {
        let class = |length: usize| Class::Sizes(smallvec![length]);
        let mut costs = ClassCosts::new(BatchCost::default());
        costs.note(&class(8), 1, MS);
        costs.note(&class(512), 1, MS * 60);
        assert_eq!(costs.of(&class(8)).mean(1), MS);
        assert_eq!(costs.of(&class(512)).mean(1), MS * 60);
        assert_eq!(costs.of(&class(9)).mean(1), Duration::ZERO);
        for length in 1_000..2_000 {
            costs.note(&class(length), 1, MS);
            costs.note(&class(512), 1, MS * 60);
        }
        assert!(costs.classes.len() <= CLASSES_MAX);
        assert_eq!(costs.of(&class(512)).mean(1), MS * 60);
        costs.note(&Class::Alone(1), 1, MS);
        assert!(!costs.classes.contains_key(&Class::Alone(1)));
    }

    #[test]
    fn what_a_lane_needs_beside_its_runs_is_learned_and_bounded() {
        let class = Class::default();
        let mut costs = ClassCosts::new(BatchCost::default());
        costs.note_cycle(&class, 1, MS * 3);
        assert_eq!(costs.busy(MS), MS, "nothing is known of the runs");
        costs.note(&class, 1, MS * 2);
        (0..200).for_each(|_| costs.note_cycle(&class, 1, MS * 3));
        assert!(costs.busy(MS * 10).abs_diff(MS * 15) < MS / 100);
        costs.note_cycle(&class, 1, MS * 1_000_000);
        assert!(costs.busy(MS * 10) < MS * 17, "a stall counts little");
        (0..200).for_each(|_| costs.note_cycle(&class, 1, MS));
        assert!(costs.busy(MS * 10).abs_diff(MS * 10) < MS / 100);
    }
}
