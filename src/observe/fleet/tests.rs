//! Tests of `fleet`: ten servers with a tenth of the traffic each detect together what none of them
//! detects alone, and any server can go on with the merges of another.

use super::sum::{add, name_of};
use super::*;
use crate::core::hash::Digest;
use crate::core::model::optional::CheckedInputs;
use crate::core::model::{Dim, ModelName, Signature, TensorSpec, Version};
use crate::core::tensor::{DType, Tensor};
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::observer;
use crate::observe::drift::observer::keeper::Taps;
use crate::observe::drift::observer::offer::Observer;
use crate::observe::drift::profile::profile;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::sketch::Sketch;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::metrics::Metrics;
use crate::observe::report::incident::IncidentPhase;
use crate::testing::with_records;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Instant;

const SERVERS: usize = 10;

struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.next()).ln()).sqrt() * (std::f64::consts::TAU * self.next()).cos()
    }

    /// Rows of one number, moved by so much.
    fn rows(&mut self, rows: usize, shift: f64) -> Tensor {
        let values: Vec<f32> = (0..rows).map(|_| (self.normal() + shift) as f32).collect();
        Tensor::from_f32(vec![rows, 1], &values).expect("fits")
    }
}

fn subject() -> WatchSubject {
    let mut random = Random(1);
    let values = (0..20_000)
        .map(|_| f64::from(random.normal() as f32))
        .collect();
    let x = TensorSpec {
        name: "x".into(),
        dtype: DType::F32,
        shape: Some(vec![Dim::Dynamic, Dim::Fixed(1)]),
    };

    let baseline = Baseline::of_columns(
        20_000,
        vec![profile("x", &ColumnSeries::Numbers(values))],
        Vec::new(),
    );

    WatchSubject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(1).expect("legal"),
        digest: Digest([1; 32]),
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
    }
}

fn settings() -> MonitorSettings {
    MonitorSettings {
        window_rows: u32::MAX,
        window_min: Duration::from_secs(60),
        window_max: Duration::from_secs(1 << 30),
        false_alarms_per_month: 0.5,
        ..MonitorSettings::default()
    }
}

/// Counts the periods until the fleet raises an alarm, and until any single server does.
fn detect(shift: f64, slots: usize) -> (Option<usize>, Option<usize>) {
    let mut random = Random(99);
    let watch = || VersionWatch::new(subject(), 1, Instant::now()).expect("its own baseline");
    let mut servers: Vec<VersionWatch> = (0..SERVERS).map(|_| watch()).collect();
    let mut fleet = watch();
    // Each server has its share of the accepted false alarms.
    let own = MonitorSettings {
        false_alarms_per_month: 0.5 / SERVERS as f64,
        ..settings()
    };

    let (mut together, mut alone) = (None, None);
    let mut now = Instant::now();
    for slot in 1..=slots {
        now += Duration::from_secs(60);
        let mut merged = BTreeMap::new();
        for server in &mut servers {
            server.observe(&[random.rows(40, shift)], &[], (now, &own));
            if !server.close(now, &own).is_empty() {
                alone = alone.or(Some(slot));
            }
            add(&mut merged, server.sketch().expect("rows were counted"));
        }
        merged.values().for_each(|sum: &Sketch| fleet.merge(sum));
        if !fleet.close(now, &settings()).is_empty() {
            together = together.or(Some(slot));
        }
    }

    (together, alone)
}

#[test]
fn ten_servers_with_a_tenth_of_the_traffic_detect_together_what_none_detects_alone() {
    let (together, alone) = detect(0.3, 200);
    let together = together.expect("the fleet raises an alarm");
    assert!(
        alone.is_none_or(|alone| alone >= 4 * together),
        "together {together}, alone {alone:?}"
    );
    assert_eq!(detect(0.0, 200), (None, None), "no drift");
}

#[test]
fn counts_are_added_up_and_columns_with_other_cells_are_skipped() {
    let mut watch = VersionWatch::new(subject(), 1, Instant::now()).expect("its own baseline");
    watch.observe(
        &[Random(3).rows(100, 0.0)],
        &[],
        (Instant::now(), &settings()),
    );
    watch.close(Instant::now(), &settings());
    let sketch = watch.sketch().expect("rows");
    assert!(
        watch.sketch().is_none(),
        "the same rows are not counted twice"
    );
    let mut sum = BTreeMap::new();
    add(&mut sum, sketch.clone());
    add(&mut sum, sketch.clone());
    let mut other = sketch.clone();
    other.columns[0].counts.push(7);
    add(&mut sum, other);
    let both = &sum[&name_of(&sketch)];
    let counts = |s: &Sketch| s.columns[0].counts.iter().sum::<u32>();
    assert_eq!(
        (counts(both), both.columns[0].ends),
        (2 * counts(&sketch), sketch.columns[0].ends)
    );
    let text = serde_json::to_string(&sketch).expect("JSON");
    assert_eq!(
        serde_json::from_str::<Sketch>(&text).expect("reads"),
        sketch
    );
}

/// A server: a monitor of one version, and its part in the fleet.
struct Server {
    monitor: Arc<Monitor>,
    observer: Observer,
    merger: Merger,
    alarms: Arc<Mutex<Vec<Incident>>>,
    random: Random,
}

/// How a server judges its own windows.
#[derive(Clone, Copy)]
enum OwnTests {
    /// They raise alarms.
    Sharp,
    /// They never do.
    Blunt,
}

impl OwnTests {
    fn settings(self) -> MonitorSettings {
        match self {
            Self::Sharp => settings(),
            Self::Blunt => MonitorSettings {
                ks: 1.0,
                wasserstein: 1e6,
                psi: 1e6,
                js: 1.0,
                missing: 1.0,
                breach_share: 1.0,
                ..settings()
            },
        }
    }
}

fn server(records: &Records, (name, seed): (&str, u64), own: OwnTests) -> Server {
    let metrics = Metrics::new().expect("metrics");
    let options = observer::MonitorOptions {
        settings: MonitorSettings {
            window_rows: 100,
            window_min: Duration::from_millis(1),
            queue_bytes_max: 1 << 20,
            cpu_share: 1.0,
            columns_shown: 1,
            ..own.settings()
        },
        tapped_share: 0.0,
    };

    let monitor = Monitor::start(
        options,
        Arc::clone(&metrics),
        Box::new(|_| {}),
        Taps::default(),
    )
    .expect("starts");
    let alarms: Arc<Mutex<Vec<Incident>>> = Arc::default();
    let sent = Arc::clone(&alarms);
    let member = FleetMember {
        records: records.clone(),
        server: name.to_owned(),
        slot: Duration::from_secs(60),
        settings: settings(),
        sink: Box::new(move |alarm| sent.lock().push(alarm)),
        series: metrics.monitor.fleet(),
    };

    let observer = monitor.watch(subject(), None).expect("watched");
    Server {
        monitor,
        observer,
        merger: Merger::new(member),
        alarms,
        random: Random(seed),
    }
}

impl Server {
    /// Counts rows, and waits until their window has closed.
    async fn count(&mut self, shift: f64) {
        let before = self.windows();
        let (id, rows) = (uuid::Uuid::now_v7(), self.random.rows(400, shift));
        let inputs = CheckedInputs {
            required: vec![rows],
            optional: Vec::new(),
        };
        let asked = self.observer.asked(id, &inputs);
        self.observer.answered(id, asked, &[]);

        for _ in 0..500 {
            if self.windows() > before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }

        panic!("no window closed");
    }

    fn sent(&self) -> usize {
        self.alarms.lock().len()
    }

    fn windows(&self) -> u64 {
        let report = self
            .monitor
            .report(&ModelName::parse("m").expect("legal"), None);
        report.first().map_or(0, |r| r.windows)
    }
}

#[test]
fn one_server_merges_each_period_and_another_can_go_on() {
    with_records(async |records| {
        let mut one = server(&records, ("one", 5), OwnTests::Blunt);
        let mut two = server(&records, ("two", 6), OwnTests::Blunt);
        let monitors = (Arc::clone(&one.monitor), Arc::clone(&two.monitor));
        for slot in 10..13 {
            one.count(1.0).await;
            two.count(1.0).await;
            one.merger
                .end_period(&monitors.0, slot)
                .await
                .expect("a turn");
            two.merger
                .end_period(&monitors.1, slot)
                .await
                .expect("a turn");
        }
        // The period before the last is merged. However many metrics moved, it is one incident.
        let sent: Vec<Incident> = one.alarms.lock().clone();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(
            sent[0].summary.starts_with("x is higher than it was"),
            "{sent:?}"
        );
        assert_eq!((sent[0].servers, two.sent()), (Some(2), 0));
        let shown = two
            .monitor
            .report(&ModelName::parse("m").expect("legal"), None)
            .remove(0);
        let fleet = shown.fleet.expect("merged");
        assert_eq!(fleet.servers, 2);
        assert!(fleet.merged.alarms >= 4, "each metric that moved");
        let listed = &fleet.merged.incidents;
        assert_eq!((listed.len(), &listed[0].incident), (1, &sent[0].incident));
        assert!(fleet.merged.sampled_rows > 0);
        // The server that merged is gone. The other one replays its merges and repeats no alarm.
        drop(one);
        for slot in 13..16 {
            two.count(1.0).await;
            two.merger
                .end_period(&monitors.1, slot)
                .await
                .expect("a turn");
        }
        assert_eq!(
            (two.merger.merged, two.sent()),
            (Some(14), 0),
            "it was in alarm already"
        );
        let listed: Vec<_> = records
            .list("windows/merged")
            .try_collect()
            .await
            .expect("listed");
        assert_eq!(listed.len(), 6, "{listed:?}");
        // A third server starts where the longest window starts, and its windows end with the others'.
        let three = server(&records, ("three", 7), OwnTests::Blunt);
        let mut merger = three.merger;
        merger.end_period(&three.monitor, 17).await.expect("a turn");
        assert_eq!(merger.merged, Some(16));
        let windows = merger
            .watches
            .values()
            .next()
            .map(|w| w.watch.report(&settings()).windows);
        assert_eq!(
            windows,
            Some(15),
            "numbered by the last period that had rows"
        );
    });
}

#[test]
fn the_fleet_tells_an_incident_only_once_no_server_tells_it() {
    with_records(async |records| {
        let mut one = server(&records, ("one", 5), OwnTests::Sharp);
        let mut two = server(&records, ("two", 6), OwnTests::Blunt);
        let monitors = (Arc::clone(&one.monitor), Arc::clone(&two.monitor));
        for slot in 10..13 {
            one.count(1.0).await;
            two.count(1.0).await;
            let turn = one.merger.end_period(&monitors.0, slot).await;
            turn.expect("a turn");
            let turn = two.merger.end_period(&monitors.1, slot).await;
            turn.expect("a turn");
        }
        assert_eq!((one.merger.merged, one.sent()), (Some(11), 0), "its own");
        let shown = |server: &Server| {
            let name = ModelName::parse("m").expect("legal");
            let fleet = server.monitor.report(&name, None).remove(0).fleet;
            fleet.expect("merged").merged.incidents.clone()
        };
        let known = shown(&two);
        assert_eq!(known.len(), 1, "every server shows it");

        // Another server merges, and knows that the first one tells it.
        two.count(1.0).await;
        let turn = two.merger.end_period(&monitors.1, 13).await;
        turn.expect("a turn");
        assert_eq!((two.merger.merged, two.sent()), (Some(12), 0));

        // The first server is gone, and with it its incident.
        drop(one);
        two.count(1.0).await;
        let turn = two.merger.end_period(&monitors.1, 14).await;
        turn.expect("a turn");
        let sent = two.alarms.lock().clone();
        let told: Vec<_> = sent.iter().map(|i| (i.phase, &i.incident)).collect();
        assert_eq!(told, [(IncidentPhase::Opened, &known[0].incident)]);
    });
}

#[test]
fn a_server_whose_clock_is_far_ahead_or_behind_covers_no_other() {
    with_records(async |records| {
        let mut one = server(&records, ("one", 5), OwnTests::Sharp);
        let two = server(&records, ("two", 6), OwnTests::Blunt);
        one.count(1.0).await;
        for (slot, is_covered) in [(9, false), (10, true), (12, true), (13, false)] {
            let written = one.merger.write_open(&one.monitor, slot).await;
            written.expect("written");
            let told = two.merger.columns_told(&two.monitor, 10).await;
            assert_eq!(!told.is_empty(), is_covered, "{slot}");
        }
    });
}
