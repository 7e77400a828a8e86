//! What a scan reads of `config.pbtxt`.

use super::*;
use crate::registry::pbtxt::CONFIG_BYTES_MAX;

#[test]
fn configuration_is_read_and_names_the_file() {
    let mut bench = Bench::new();
    bench.write(
        "m/config.pbtxt",
        b"default_model_filename: \"net.onnx\" max_batch_size: 4",
        OLD,
    );

    bench.write("m/1/net.onnx", b"x", OLD);
    bench.write("m/2/model.onnx", b"x", OLD);
    let entry = bench.entry("m");
    assert_eq!(
        (entry.problem, entry.config.unwrap().batch_rows_max),
        (None, Some(4))
    );
    assert_eq!(entry.versions.len(), 1);
    assert!(bench.version().model_path.ends_with("models/m/1/net.onnx"));
}

#[test]
fn refused_configuration_is_a_problem_until_it_is_corrected() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", b"x", OLD);
    bench.write("m/config.pbtxt", b"max_batch_size: 4", OLD);
    let good = bench.entry("m");
    bench.write("m/config.pbtxt", b"sequence_batching { }", OLD);
    let bad = bench.entry("m");
    assert!(
        bad.problem
            .as_ref()
            .is_some_and(|p| p.contains("field 'sequence_batching'")),
        "{:?}",
        bad.problem
    );

    assert_eq!(bad.config, good.config);
    // Its versions have other fingerprints, so that the refused ones are tried
    // again.
    assert_ne!(bad.versions, good.versions);
    bench.write("m/config.pbtxt", b"max_batch_size: 4", OLD);
    assert_eq!(bench.entry("m"), good);
    bench.write("m/config.pbtxt", b"\xff", OLD);
    assert!(
        bench
            .entry("m")
            .problem
            .is_some_and(|p| p.contains("UTF-8"))
    );

    bench.write(
        "m/config.pbtxt",
        &b" ".repeat(CONFIG_BYTES_MAX as usize),
        OLD,
    );

    assert_eq!(bench.entry("m").problem, None);
    bench.write(
        "m/config.pbtxt",
        &b" ".repeat(CONFIG_BYTES_MAX as usize + 1),
        OLD,
    );

    assert!(
        bench
            .entry("m")
            .problem
            .is_some_and(|p| p.contains("over 1048576 bytes"))
    );
}
