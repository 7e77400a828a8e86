//! Tests of `arrivals`.

use super::*;
use std::time::Duration;

#[test]
fn rows_are_noted_by_the_hour_of_the_day_also_for_the_next_process() {
    let start = Instant::now();
    let at = |hours: u64| start + Duration::from_secs(hours * 3_600);
    let mut arrivals = Arrivals::default();
    // What came before the first look came at an unknown hour.
    arrivals.note(500, 2, at(2));
    assert!(arrivals.save(at(2)).is_empty());
    arrivals.note(500, 3, at(3));
    arrivals.note(900, 26, at(26));
    arrivals.note(901, 31, at(31));

    let known = |ages: [u32; DAY_HOURS]| -> Vec<(usize, u32)> {
        let known = ages.into_iter().enumerate();
        known.filter(|(_, age)| *age < u32::MAX).collect()
    };
    let wanted = vec![(2, 6 * 3_600), (7, 3_600)];
    assert_eq!(known(arrivals.ages(at(32))), wanted);

    // Nobody watched for 10 hours.
    let mut next = Arrivals::default();
    next.restore(&arrivals.save(at(32)), at(42));
    assert_eq!(known(next.ages(at(42))), wanted);
}
