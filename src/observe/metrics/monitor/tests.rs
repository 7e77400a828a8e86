//! Tests of `monitor`.

use super::*;
use crate::observe::metrics::Metrics;

#[test]
fn the_series_of_a_version_stay_while_one_of_its_revisions_is_monitored() {
    let metrics = Metrics::new().expect("metrics");
    let model = ModelName::parse("m").expect("legal");
    let version = Version::new(1).expect("legal");
    let line = |name: &str| {
        let text = String::from_utf8(metrics.render()).expect("text");
        let prefix = format!("{name}{{model=\"m\",version=\"1\"}} ");
        let line = text.lines().find_map(|l| l.strip_prefix(&prefix));
        line.map(str::to_owned)
    };

    let mut old = metrics.monitor.of(&model, version);
    old.set((10, 5), 1, &[]);
    let mut new = metrics.monitor.of(&model, version);
    new.set((3, 2), 0, &[]);
    assert_eq!(line("ortus_monitor_rows_total").as_deref(), Some("13"));
    drop(old);
    new.set((4, 3), 0, &[]);
    assert_eq!(line("ortus_monitor_rows_total").as_deref(), Some("14"));
    assert_eq!(
        line("ortus_monitor_sampled_rows_total").as_deref(),
        Some("8")
    );
    assert_eq!(line("ortus_drift_alarms").as_deref(), Some("0"));
    drop(new);
    assert_eq!(line("ortus_monitor_rows_total"), None);
    assert_eq!(line("ortus_drift_alarms"), None);
}
