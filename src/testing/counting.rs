//! How fast the monitor counts, for the benchmarks: on one thread, on rows that
//! hold to their baseline.

use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::{DType, Tensor};
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::layout::Side;
use crate::observe::drift::profile::profile;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::drift::watch::{VersionWatch, WatchSubject};
use std::time::{Duration, Instant};

/// A watch of so many columns, and a tensor of rows for it.
pub struct Counting {
    watch: VersionWatch,
    settings: MonitorSettings,
    rows: Tensor,
    values: usize,
}

impl Counting {
    /// Makes both.
    pub fn new(columns: usize, rows: usize) -> Self {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u32 << 24) as f32
        };

        let x = TensorSpec {
            name: "x".into(),
            dtype: DType::F32,
            shape: Some(vec![Dim::Dynamic, Dim::Fixed(columns)]),
        };

        let column = |i: usize, values: Vec<f64>| {
            profile(&format!("x[{i}]"), &ColumnSeries::Numbers(values))
        };

        let inputs = (0..columns).map(|i| {
            column(
                i,
                (0..2_000)
                    .map(|_| f64::from(random()))
                    .chain([-1.0, 2.0])
                    .collect(),
            )
        });

        let baseline = Baseline::of_columns(2_002, inputs.collect(), Vec::new());

        let subject = WatchSubject {
            model: crate::registry::commands::conformance::name("m"),
            version: crate::registry::commands::conformance::version(1),
            digest: crate::core::hash::Digest([0; 32]),
            signature: Signature {
                inputs: vec![x],
                outputs: Vec::new(),
                ..Signature::default()
            },
            features: Vec::new(),
            baseline: Some(baseline),
            task: None,
            slices: Vec::new(),
            rules: Default::default(),
        };

        let bytes = (0..columns * rows)
            .flat_map(|_| random().to_le_bytes())
            .collect();
        let settings = MonitorSettings {
            window_rows: u32::MAX,
            window_min: Duration::from_secs(1),
            window_max: Duration::from_secs(1 << 30),
            own_rows: 1,
            ..MonitorSettings::default()
        };

        Self {
            watch: VersionWatch::new(subject, 1, Instant::now()).expect("its own baseline"),
            settings,
            rows: Tensor::fixed(DType::F32, vec![rows, columns], bytes).expect("fits"),
            values: columns * rows,
        }
    }

    /// Values held to the contract in a second.
    pub fn contract(&self) -> f64 {
        self.rate(|| {
            self.watch
                .contracts
                .count(Side::Input, std::slice::from_ref(&self.rows))
        })
    }

    /// Values counted in windows in a second.
    pub fn windows(&mut self) -> f64 {
        let rows = self.rows.clone();
        let (values, start) = (self.values, Instant::now());
        let mut done = 0_usize;
        while start.elapsed() < Duration::from_secs(1) {
            let rows = std::slice::from_ref(&rows);
            self.watch.observe(rows, &[], (start, &self.settings));
            done += values;
        }

        done as f64 / start.elapsed().as_secs_f64()
    }

    fn rate(&self, once: impl Fn()) -> f64 {
        let start = Instant::now();
        let mut done = 0_usize;
        while start.elapsed() < Duration::from_secs(1) {
            once();
            done += self.values;
        }
        done as f64 / start.elapsed().as_secs_f64()
    }
}
