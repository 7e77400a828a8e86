//! What a request costs in allocations, on the thread that serves its connection: the whole data path,
//! without monitoring, on ONNX Runtime. What ONNX Runtime allocates itself is not counted, nor what the
//! client does. A program of its own, because its allocator counts.
//!
//! `ORTUS_ALLOCATION_STACKS=1 cargo test --test allocations -- --nocapture` prints the stack of each
//! allocation of one request.

#![allow(clippy::print_stdout)]

/// The allocator that counts.
mod counted;

use counted::counts;
use ortus::testing::data_path::DataPath;
use ortus::testing::wire_client::{WireCall, WireClient};
use ortus::testing::{engine, graphs};
use std::sync::{Arc, mpsc};

/// Requests before the first that is counted, after which buffers have grown and costs are learned.
const WARM: usize = 1_024;
/// Requests of one count.
const COUNTED: usize = 512;
/// Counts, of which the least is taken: how requests that arrive together form batches depends on
/// measured times.
const COUNTS: usize = 8;
/// Data paths on which a case is counted, while it is over its limit. What a data path learned of a
/// model's costs decides its batches for long, so that counts of one path may all be a little higher.
const PATHS: usize = 5;
const MLP: &[i64] = &[16, 64, 64, 1];
const ROW: [f32; 16] = [0.5; 16];

/// A load, and what a request of it may allocate: what was measured (28.00, 21.28, 28.00, 21.27 and 56.00),
/// and a little for what only happens now and then.
struct AllocationCase {
    what: &'static str,
    call: fn() -> WireCall,
    in_flight: usize,
    allocations_max: f64,
    bytes_max: f64,
}

const fn case(
    what: &'static str,
    call: fn() -> WireCall,
    in_flight: usize,
    allocations_max: f64,
    bytes_max: f64,
) -> AllocationCase {
    AllocationCase {
        what,
        call,
        in_flight,
        allocations_max,
        bytes_max,
    }
}

impl AllocationCase {
    fn holds(&self, each: &EachRequest) -> bool {
        each.allocations <= self.allocations_max && each.bytes <= self.bytes_max
    }
}

fn identity() -> WireCall {
    WireCall::grpc("identity", &ROW)
}

fn mlp() -> WireCall {
    WireCall::grpc("mlp", &ROW)
}

fn binary() -> WireCall {
    WireCall::http_binary("identity", &ROW)
}

const CASES: &[AllocationCase] = &[
    case("ModelInfer, identity", identity, 1, 28.1, 3_950.0),
    case("ModelInfer, identity", identity, 64, 22.3, 5_850.0),
    case("ModelInfer, MLP", mlp, 1, 28.1, 3_850.0),
    case("ModelInfer, MLP", mlp, 64, 22.3, 5_700.0),
    case("HTTP/1 binary, identity", binary, 1, 48.1, 18_100.0),
];

#[test]
fn a_request_allocates_no_more_than_it_did() {
    let start = || {
        let (identity, mlp) = (graphs::identity(16), graphs::perceptron(MLP));
        DataPath::start(
            Arc::new(engine()),
            &[("identity", &identity), ("mlp", &mlp)],
        )
    };
    let path = start();

    let mut broken = Vec::new();
    for case in CASES {
        let mut each = measure(&path, case);
        for _ in 1..PATHS {
            if case.holds(&each) {
                break;
            }
            each = each.min(measure(&start(), case));
        }
        let line = format!(
            "{}, {} in flight: {:.2} allocations, {:.0} bytes",
            case.what, case.in_flight, each.allocations, each.bytes
        );
        println!("{line}");
        if !case.holds(&each) {
            let (allocations, bytes) = (case.allocations_max, case.bytes_max);
            broken.push(format!("{line}; at most {allocations} and {bytes}"));
        }
    }
    assert!(
        broken.is_empty(),
        "a request allocates more than it did; mend that, or raise the limit with a reason:\n{}",
        broken.join("\n")
    );
}

/// The counts of one request.
struct EachRequest {
    allocations: f64,
    bytes: f64,
}

fn measure(path: &DataPath, case: &AllocationCase) -> EachRequest {
    let (give, take) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            counted::count_this_thread();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let (client, served) = path.connect();
                give.send(client).expect("taken");
                served.await;
            });
        });

        let socket = take.recv().expect("a connection");
        let mut client = WireClient::open(socket, (case.call)());
        let mut run = |requests: usize| {
            for _ in 0..requests / case.in_flight {
                client.exchange(case.in_flight);
            }
        };
        run(WARM);
        let mut least = EachRequest::of(|| run(COUNTED));
        for _ in 1..COUNTS {
            least = least.min(EachRequest::of(|| run(COUNTED)));
        }

        if std::env::var_os("ORTUS_ALLOCATION_STACKS").is_some() {
            counted::print_stacks(|| run(case.in_flight));
        }
        least
    })
}

impl EachRequest {
    /// Counts a run of [`COUNTED`] requests.
    fn of(run: impl FnOnce()) -> Self {
        let before = counts();
        run();
        let after = counts();
        Self {
            allocations: (after.allocations - before.allocations) as f64 / COUNTED as f64,
            bytes: (after.bytes - before.bytes) as f64 / COUNTED as f64,
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            allocations: self.allocations.min(other.allocations),
            bytes: self.bytes.min(other.bytes),
        }
    }
}
