//! Exports features that are computed from FP64 inputs. The operations are those of
//! [`ortus::explain::derivation`], in the same order, so that both round in the same way.

use super::graph::GraphBuilder;
use ortus::explain::derivation::{CalendarPart, DAY, Derivation, DerivedValue};

/// Adds operations on FP64 numbers to a graph.
struct DoubleNodes<'g> {
    graph: &'g mut GraphBuilder,
}

/// Adds a feature; returns the name of its tensor, which is FP32.
pub(super) fn feature(graph: &mut GraphBuilder, derivation: &Derivation) -> String {
    let source = derivation.source.as_str();
    let mut nodes = DoubleNodes { graph };
    let value = match &derivation.how {
        DerivedValue::Minus(constant) => nodes.minus(source, *constant),
        DerivedValue::Part {
            part,
            per_second,
            zone,
        } => {
            let seconds = nodes.floor_of(source, *per_second);
            let local = nodes.plus(&seconds, *zone);
            nodes.part(&local, *part)
        }
        DerivedValue::DaysUntil {
            until,
            per_second,
            until_per_second,
        } => {
            let until = nodes.over(until, *until_per_second);
            let from = nodes.over(source, *per_second);
            let seconds = nodes.difference(&until, &from);
            nodes.floor_of(&seconds, DAY)
        }
    };
    graph.node("Cast", &[&value], &[("to", 1.into())])
}

impl DoubleNodes<'_> {
    fn with(&mut self, op: &str, x: &str, constant: f64) -> String {
        let constant = self.graph.double(constant);
        self.graph.node(op, &[x, &constant], &[])
    }

    fn plus(&mut self, x: &str, constant: f64) -> String {
        self.with("Add", x, constant)
    }

    fn minus(&mut self, x: &str, constant: f64) -> String {
        self.with("Sub", x, constant)
    }

    fn times(&mut self, x: &str, constant: f64) -> String {
        self.with("Mul", x, constant)
    }

    fn over(&mut self, x: &str, constant: f64) -> String {
        self.with("Div", x, constant)
    }

    fn floor_of(&mut self, x: &str, divisor: f64) -> String {
        let ratio = self.over(x, divisor);
        self.graph.node("Floor", &[&ratio], &[])
    }

    fn difference(&mut self, x: &str, y: &str) -> String {
        self.graph.node("Sub", &[x, y], &[])
    }

    fn sum(&mut self, x: &str, y: &str) -> String {
        self.graph.node("Add", &[x, y], &[])
    }

    /// Returns what is left of `x` after whole multiples.
    fn rest(&mut self, x: &str, divisor: f64) -> String {
        let ratio = self.floor_of(x, divisor);
        let multiples = self.times(&ratio, divisor);
        self.difference(x, &multiples)
    }

    /// Returns a part of a time in seconds, as [`CalendarPart::of`] does.
    fn part(&mut self, seconds: &str, part: CalendarPart) -> String {
        if part == CalendarPart::Minute {
            let minutes = self.floor_of(seconds, 60.0);
            return self.rest(&minutes, 60.0);
        }
        let days = self.floor_of(seconds, DAY);
        match part {
            CalendarPart::Days => days,
            CalendarPart::Weekday => {
                let from_monday = self.plus(&days, 3.0);
                self.rest(&from_monday, 7.0)
            }
            CalendarPart::Hour => {
                let of_day = self.rest(seconds, DAY);
                self.floor_of(&of_day, 3_600.0)
            }
            _ => self.part_of_date(&days, part),
        }
    }

    fn part_of_date(&mut self, days: &str, part: CalendarPart) -> String {
        let shifted = self.plus(days, 719_468.0);
        let era = self.floor_of(&shifted, 146_097.0);
        let of_era = self.rest(&shifted, 146_097.0);
        let [fourth, hundredth, last] =
            [1_460.0, 36_524.0, 146_096.0].map(|days| self.floor_of(&of_era, days));
        let leaps = self.difference(&fourth, &hundredth);
        let leaps = self.sum(&leaps, &last);
        let without_leaps = self.difference(&of_era, &leaps);
        let year = self.floor_of(&without_leaps, 365.0);
        let days_before = self.times(&year, 365.0);
        let [fourth, hundredth] = [4.0, 100.0].map(|years| self.floor_of(&year, years));
        let before = self.sum(&days_before, &fourth);
        let before = self.difference(&before, &hundredth);
        let of_year = self.difference(&of_era, &before);
        let fifths = self.times(&of_year, 5.0);
        let fifths = self.plus(&fifths, 2.0);
        let month = self.floor_of(&fifths, 153.0);
        let is_next = self.floor_of(&month, 10.0);
        match part {
            CalendarPart::Year => {
                let years = self.times(&era, 400.0);
                let years = self.sum(&years, &year);
                self.sum(&years, &is_next)
            }
            CalendarPart::Month => {
                let month = self.plus(&month, 3.0);
                let twelve = self.times(&is_next, 12.0);
                self.difference(&month, &twelve)
            }
            _ => {
                let fifths = self.times(&month, 153.0);
                let fifths = self.plus(&fifths, 2.0);
                let before = self.floor_of(&fifths, 5.0);
                let day = self.difference(&of_year, &before);
                self.plus(&day, 1.0)
            }
        }
    }
}
