//! Tests of `kind`: columns as real tables have them, and the kind that each must get.

use super::*;
use crate::core::hash::SplitMix;

/// Random numbers that are always the same.
struct Random(SplitMix);

impl Random {
    fn next(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (a, b) = (self.next(), self.next());
        (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// A series in which each value depends on the one before.
    fn sticky(&mut self, rows: usize, memory: f64) -> Vec<f64> {
        let new = (1.0 - memory * memory).sqrt();
        let mut value = self.normal();
        let step = |_| {
            value = memory * value + new * self.normal();
            value
        };
        (0..rows).map(step).collect()
    }
}

fn kind_of(name: &str, values: Vec<f64>) -> FoundKind {
    find_kind(name, &ColumnSeries::Numbers(values), ColumnFacts::default())
}

#[test]
fn independent_rows_are_stationary_whatever_their_distribution() {
    for seed in 0..20 {
        let mut random = Random(SplitMix(seed));
        let mut check = |name: &str, of: &dyn Fn(&mut Random) -> f64| {
            let values = (0..6_000).map(|_| of(&mut random)).collect();
            let found = kind_of(name, values);
            assert_eq!(
                found.kind,
                ColumnKind::Stationary,
                "{name}: {}",
                found.reason
            );
            assert!(found.design_effect < 2.5, "{name}: {}", found.design_effect);
        };
        check("age", &|r| (18.0 + 60.0 * r.next()).floor());
        check("score", &|r| r.normal());
        check("income", &|r| (10.0 + r.normal()).exp());
        check("claims", &|r| {
            if r.next() < 0.9 {
                0.0
            } else {
                (6.0 + 1.5 * r.normal()).exp()
            }
        });
        check("rooms", &|r| (1.0 + 7.0 * r.next()).floor());
        check("flag", &|r| f64::from(u8::from(r.next() < 0.3)));
        check("minimum_temp", &|r| (30.0 * r.next()).floor());
        check("is_month_end", &|r| f64::from(u8::from(r.next() < 0.03)));
    }
}

#[test]
fn alike_neighbours_have_a_design_effect_and_slow_levels_are_unsteady() {
    for seed in 0..20 {
        let mut random = Random(SplitMix(100 + seed));
        let found = kind_of("x", random.sticky(24_000, 0.9));
        assert_eq!(found.kind, ColumnKind::Stationary, "{}", found.reason);
        // The ranks are a little less alike than the values, whose effect is 19.
        assert!(
            (8.0..40.0).contains(&found.design_effect),
            "{}",
            found.design_effect
        );

        let slow = kind_of("x", random.sticky(24_000, 0.9995));
        assert!(
            matches!(slow.kind, ColumnKind::Unsteady | ColumnKind::Trending),
            "{}",
            slow.reason
        );

        // Levels that hardly matter are found in long baselines, where they are worth many rows, too.
        for rows in [24_000, 100_000] {
            let levels: Vec<f64> = (0..12).map(|_| 0.35 * random.normal()).collect();
            let steps = (0..rows)
                .map(|i| levels[i * 12 / rows] + random.normal())
                .collect();
            let found = kind_of("x", steps);
            assert_eq!(found.kind, ColumnKind::Unsteady, "{}", found.reason);
        }

        let levels: Vec<f64> = (0..10).map(|_| random.normal()).collect();
        let steps = (0..24_000)
            .map(|i| levels[i / 2_400] + random.normal())
            .collect();
        let found = kind_of("x", steps);
        assert!(
            matches!(found.kind, ColumnKind::Unsteady | ColumnKind::Trending),
            "{}",
            found.reason
        );
    }
}

#[test]
fn cycles_are_found_by_their_order() {
    for seed in 0..10 {
        let mut random = Random(SplitMix(200 + seed));
        for (period, noise) in [(48, 0.3), (48, 1.0), (24, 0.7), (336, 0.5), (1_000, 0.5)] {
            let wave = |row: usize| (row as f64 / period as f64 * std::f64::consts::TAU).sin();
            let values = (0..17_520)
                .map(|row| wave(row) * 1.4 + noise * random.normal())
                .collect();
            let found = kind_of("temperature", values);
            assert_eq!(found.kind, ColumnKind::Cyclic, "{period}: {}", found.reason);
            assert!(!found.groups.is_empty());
        }
    }
}

#[test]
fn calendar_columns_are_told_by_names_values_and_steps() {
    let mut random = Random(SplitMix(1));
    let rows = 17_520;
    let hours: Vec<f64> = (0..rows)
        .map(|row| f64::from((row / 2 % 24) as u8))
        .collect();
    let check = |name: &str, values: Vec<f64>, kind: ColumnKind| {
        let found = kind_of(name, values);
        assert_eq!(found.kind, kind, "{name}: {}", found.reason);
    };

    check("b", hours.clone(), ColumnKind::Cyclic);
    // A random fifth of the rows, in their order, as a trainer holds rows out.
    let part = hours
        .iter()
        .copied()
        .filter(|_| random.next() < 0.2)
        .collect();
    check("b", part, ColumnKind::Cyclic);
    let mut shuffled = hours;
    (1..rows).for_each(|at| shuffled.swap(at, (random.next() * (at + 1) as f64) as usize));
    check("pickupHour", shuffled.clone(), ColumnKind::Cyclic);
    check("b", shuffled, ColumnKind::Stationary);

    let weekday = (0..rows)
        .map(|row| f64::from((row / 48 % 7) as u8))
        .collect();
    check("day_of_week", weekday, ColumnKind::Cyclic);
    let month = (0..rows)
        .map(|row| f64::from((1 + row * 8 / rows) as u8))
        .collect();
    check("month", month, ColumnKind::Cyclic);
    let words = |names: &[&str]| {
        let all = (0..rows).map(|row| names[row / 48 % names.len()].to_owned());
        find_kind(
            "c",
            &ColumnSeries::Words(all.collect()),
            ColumnFacts::default(),
        )
        .kind
    };
    assert_eq!(
        words(&["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]),
        ColumnKind::Cyclic
    );
    assert_ne!(words(&["red", "green", "blue"]), ColumnKind::Identifier);
}

#[test]
fn times_and_counters_are_trending_and_keys_are_identifiers() {
    let mut random = Random(SplitMix(2));
    let mut check = |name: &str, of: &dyn Fn(usize, &mut Random) -> f64, kind: ColumnKind| {
        let values = (0..5_000).map(|row| of(row, &mut random)).collect();
        let found = kind_of(name, values);
        assert_eq!(found.kind, kind, "{name}: {}", found.reason);
    };

    check(
        "ts",
        &|row, _| 1.7e9 + row as f64 * 1_800.0,
        ColumnKind::Trending,
    );
    check(
        "created_at",
        &|_, r| 1.7e9 + (r.next() * 2e7).floor(),
        ColumnKind::Trending,
    );
    check("n", &|row, _| row as f64, ColumnKind::Trending);
    check(
        "balance",
        &|row, r| 1e4 - row as f64 + 300.0 * r.normal(),
        ColumnKind::Trending,
    );
    check(
        "order_id",
        &|row, _| ((row * 7_919) % 5_003) as f64,
        ColumnKind::Identifier,
    );
    check(
        "key",
        &|row, _| ((row * 7_919) % 5_003) as f64,
        ColumnKind::Identifier,
    );
    check(
        "amount",
        &|_, r| (1e6 * r.next()).floor(),
        ColumnKind::Stationary,
    );
    check("same", &|_, _| 3.0, ColumnKind::Constant);

    let ids = (0..5_000).map(|i| format!("{i:08x}")).collect();
    let found = find_kind("session", &ColumnSeries::Words(ids), ColumnFacts::default());
    assert_eq!(found.kind, ColumnKind::Identifier, "{}", found.reason);
    let few = find_kind(
        "x",
        &ColumnSeries::Numbers(vec![1.0; 50]),
        ColumnFacts::default(),
    );
    assert_eq!(few.kind, ColumnKind::Stationary, "{}", few.reason);
}
