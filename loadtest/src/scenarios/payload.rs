//! P12 and P13: what a byte costs beside a copy in memory and beside the parser
//! alone, and what connections cost that do nothing.

use super::bench::{Bench, outcome};
use super::side::{alternate, costs, median, paired_ratio};
use crate::clients::{GrpcClient, Target};
use crate::golden::Golden;
use crate::process;
use crate::report::{Bar, Finding, Outcome, Plot, Series};
use crate::requests::{Habits, Input, Protocol, RequestSet};
use crate::servers::Server;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

const MODEL: &str = "wide";
/// Floats in a request.
const WIDTHS: [usize; 5] = [256, 4 << 10, 64 << 10, 1 << 20, 4 << 20];
/// Floats in a request in JSON; among them a table of 1,000 times 30 and an image of 3 times 224 times 224.
const TEXT_WIDTHS: [usize; 6] = [256, 4 << 10, 30_000, 64 << 10, 150_528, 1 << 20];
const COPY_TIMES: f64 = 2.5;
const PARSER_SHARE: f64 = 0.8;
/// How long what is compared with is repeated: many ticks of the kernel's count.
const REPEATED: Duration = Duration::from_millis(400);

pub(super) fn sizes(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    let server = bench.serve(&[MODEL], &[])?;
    for protocol in bench.protocols(&[Protocol::Grpc, Protocol::Binary, Protocol::Json]) {
        let mut points = Vec::new();
        match protocol {
            // A JSON text is about twice as long as its floats.
            Protocol::Json => {
                for width in &TEXT_WIDTHS {
                    let finding = of_parser(bench, &server, *width)?;
                    points.push(((width * 4) as f64, finding.figure));
                    found.findings.push(finding);
                }
            }
            Protocol::Grpc | Protocol::Binary => {
                let floor = Server::floor(protocol)?;
                for width in WIDTHS {
                    let findings = of_copy(bench, [&server, &floor], protocol, width)?;
                    points.push(((width * 4) as f64, findings[0].figure));
                    found.findings.extend(findings);
                }
            }
        }
        found.plots.push(Plot {
            title: format!("{} by size", protocol.name()),
            x: "tensor bytes",
            y: match protocol {
                Protocol::Json => "speed over the parser's",
                Protocol::Grpc | Protocol::Binary => "CPU per byte over a copy's",
            },
            is_log: true,
            series: vec![Series {
                name: "ortus".to_owned(),
                points,
            }],
            level: Some(if protocol == Protocol::Json {
                PARSER_SHARE
            } else {
                COPY_TIMES
            }),
        });
    }
    Ok(found)
}

/// Requests with one row of so many floats, and its values.
fn requests(
    bench: &Bench<'_>,
    protocol: Protocol,
    width: usize,
) -> Result<(Rc<RequestSet>, Vec<f64>)> {
    let values = (0..width).map(|i| (i % 9973) as f64 / 1e4 + 0.000_05);
    let values: Vec<f64> = values.map(|v| (v * 1e6).round() / 1e6).collect();
    let tensor =
        |name: &str| json!({"name": name, "shape": [1, width], "datatype": "FP32", "data": values});
    let text = json!({"outputs": [tensor("y")]}).to_string();
    let input = Input {
        sample: json!({"inputs": [tensor("x")]}),
        golden: Some(Golden::parse(text.as_bytes())?),
    };
    let habits = Habits {
        is_fresh: false,
        check_every: bench.run.check_every,
    };
    let requests = RequestSet::new(protocol, MODEL, vec![input], habits)?;
    Ok((Rc::new(requests), values))
}

fn case(protocol: Protocol, width: usize) -> String {
    format!("{} {} KB", protocol.name(), width * 4 / 1000)
}

/// JSON beside the parser alone.
fn of_parser(bench: &Bench<'_>, server: &Server, width: usize) -> Result<Finding> {
    let (requests, values) = requests(bench, Protocol::Json, width)?;
    let side = bench.side("ortus", server, &requests);
    let reports = (0..bench.run.rounds.clamp(1, 3)).map(|_| bench.closed(&side, 1, 1));
    let reports = reports.collect::<Result<Vec<_>>>()?;
    let cost_us = median(costs(&reports));
    let body_bytes = requests.bytes_max() as f64;
    let parser_us = parse_us(&serde_json::to_vec(&json!({"data": values}))?)?;
    let detail = json!({
        "server_us": cost_us, "parser_us": parser_us,
        "server_mb_per_s": body_bytes / cost_us, "parser_mb_per_s": body_bytes / parser_us,
    });
    // Small bodies cost what a request costs.
    let bar = (width >= TEXT_WIDTHS[2]).then_some(Bar::AtLeast(PARSER_SHARE));
    let (case, name) = (case(Protocol::Json, width), "speed over the parser's own");
    Ok(Finding::new(case, name, parser_us / cost_us, bar, detail))
}

/// Binary tensors beside a copy in memory, and beside the floor, which sends the same bytes through the kernel.
fn of_copy(
    bench: &Bench<'_>,
    [server, floor]: [&Server; 2],
    protocol: Protocol,
    width: usize,
) -> Result<[Finding; 2]> {
    let (requests, _) = requests(bench, protocol, width)?;
    let echoed = Rc::new(requests.echoed());
    let sides = [
        bench.side("ortus", server, &requests),
        bench.side("floor", floor, &echoed),
    ];
    let rounds = bench.run.rounds.clamp(1, 3);
    let all = alternate(2, rounds, |side| bench.closed(&sides[side], 1, 1))?;
    let (ours, theirs) = (costs(&all[0]), costs(&all[1]));
    let over_floor = paired_ratio(&ours, &theirs);
    let (cost_us, floor_us) = (median(ours), median(theirs));
    // In and out.
    let bytes = 2.0 * (width * 4) as f64;
    let copy_us = copy_us(width * 4)? * 2.0;
    let detail = json!({
        "server_us": cost_us, "floor_us": floor_us, "copy_us": copy_us,
        "ns_per_byte": cost_us * 1e3 / bytes, "floor_over_copy": floor_us / copy_us,
    });
    let bar = (width >= WIDTHS[2] && protocol == Protocol::Grpc).then_some(Bar::AtMost(COPY_TIMES));
    let case = case(protocol, width);
    Ok([
        Finding::new(
            case.clone(),
            "CPU per byte over memcpy's",
            cost_us / copy_us,
            bar,
            detail.clone(),
        ),
        Finding::new(case, "server CPU over floor", over_floor, None, detail),
    ])
}

/// The CPU time of one repetition, in microseconds.
fn repeat_us(mut once: impl FnMut()) -> Result<f64> {
    let (before, mut count) = (process::used("self")?, 0.0);
    loop {
        let start = Instant::now();
        while start.elapsed() < REPEATED {
            once();
            count += 1.0;
        }
        // On a busy machine this thread has had less than its time.
        let used = process::used("self")?.saturating_sub(before);
        if used >= REPEATED {
            return Ok(used.as_secs_f64() * 1e6 / count);
        }
    }
}

/// A copy in memory of so many bytes.
fn copy_us(bytes: usize) -> Result<f64> {
    let (from, mut to) = (vec![1_u8; bytes], vec![0_u8; bytes]);
    repeat_us(|| {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    })
}

/// Reading a JSON array of numbers.
fn parse_us(text: &[u8]) -> Result<f64> {
    repeat_us(|| {
        let parsed: std::result::Result<Value, _> = serde_json::from_slice(black_box(text));
        let _ = black_box(parsed);
    })
}

const COUNTS: [usize; 4] = [1, 8, 1_000, 9_000];
const IDLE_KB: f64 = 40.0;
const BUSY_SHARE: f64 = 0.9;
const BUSY_IN_FLIGHT: usize = 64;

pub(super) fn connections(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    let server = bench.serve(&["m0"], &["limits.connections_max=20000"])?;
    let requests = Rc::new(bench.requests(Protocol::Grpc, "m0", 1)?);
    let side = bench.side("ortus", &server, &requests);
    for count in COUNTS {
        let (mut ratios, mut each_kb) = (Vec::new(), Vec::new());
        // Without, with, with, without.
        for _ in 0..bench.run.rounds.div_ceil(2) {
            let rate = || Ok::<_, Error>(bench.closed(&side, BUSY_IN_FLIGHT, 4)?.rate());
            let alone = rate()?;
            let before = server.resident_mb()?;
            let idle = Idle::open(&side.target, count)?;
            each_kb.push((server.resident_mb()? - before).max(0.0) * 1e3 / count as f64);
            let beside = [rate()?, rate()?];
            drop(idle);
            ratios.extend([beside[0] / alone, beside[1] / rate()?]);
        }
        let case = format!("{count} idle connections");
        // The memory of a few connections is less than the unit that the kernel counts;
        // a server keeps the memory of earlier ones, so the first time counts.
        let bar = (count >= 1_000).then_some(Bar::AtMost(IDLE_KB));
        let (detail, figure) = (json!({"each_round_kb": each_kb}), each_kb[0]);
        let name = "KB per connection";
        found
            .findings
            .push(Finding::new(case.clone(), name, figure, bar, detail));
        let bar = Some(Bar::AtLeast(BUSY_SHARE));
        let detail = json!({"rounds": ratios});
        let name = "rate over that without";
        found
            .findings
            .push(Finding::new(case, name, median(ratios), bar, detail));
    }
    Ok(found)
}

/// Connections that do nothing, until they are dropped.
struct Idle {
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Idle {
    fn open(target: &Target, count: usize) -> Result<Self> {
        let address = target.address.to_string();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (opened, all) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let mut held = Vec::new();
                for _ in 0..count {
                    match GrpcClient::connect(&address, None).await {
                        Ok(client) => held.push(client),
                        Err(error) => {
                            let _ = opened.send(Err(error));
                            return;
                        }
                    }
                }
                let _ = opened.send(Ok(()));
                let _ = ended.await;
            });
        });
        all.recv()??;
        // Until the server has answered the settings of the last.
        std::thread::sleep(std::time::Duration::from_millis(500));
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
