//! JSON requests of the size that an image network takes: read into tensors and written again, beside
//! `serde_json` reading the same array into a vector, and a copy of its text.

use ortus::testing::json_bodies::{JsonBody, written};
use std::hint::black_box;
use std::time::Instant;

/// Rounds in which all figures are measured one after the other. The fastest counts: neighbours on the
/// machine can only add to it.
const ROUNDS: usize = 41;

pub(crate) fn json_bodies() {
    for body in JsonBody::all() {
        let tensor = body.read();
        let text = body.array.as_bytes();
        let is_text = body.what.starts_with("BYTES");
        let mut seconds: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            seconds[0].push(timed(|| body.read()));
            seconds[1].push(timed(|| written(black_box(&tensor))));
            seconds[2].push(if is_text {
                timed(|| serde_json::from_slice::<Vec<String>>(black_box(text)).expect("valid"))
            } else {
                timed(|| serde_json::from_slice::<Vec<f64>>(black_box(text)).expect("valid"))
            });
            seconds[3].push(timed(|| black_box(text).to_vec()));
        }

        let written_bytes = written(&tensor).len();
        let [read, write, parse, copy] = seconds.map(fastest);
        let rate = |bytes: usize, seconds: f64| (bytes as f64 / 1e6 / seconds).round();
        let figures = serde_json::json!({
            "figure": "JSON elements", "what": body.what, "text_bytes": text.len(),
            "read_ms": read * 1e3, "read_mb_per_s": rate(text.len(), read),
            "serde_json_mb_per_s": rate(text.len(), parse), "memcpy_mb_per_s": rate(text.len(), copy),
            "write_ms": write * 1e3, "write_mb_per_s": rate(written_bytes, write),
            "read_over_serde_json": parse / read, "bar": "≥ 0.8",
        });
        println!("{figures}");
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let result = black_box(work());
    let seconds = start.elapsed().as_secs_f64();
    drop(result);
    seconds
}

fn fastest(values: Vec<f64>) -> f64 {
    values.into_iter().fold(f64::INFINITY, f64::min)
}
