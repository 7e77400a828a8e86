//! The generator against the floors: every answer is the request's own bytes.

use super::*;
use crate::clients::Target;
use crate::load::{self, Pace, Plan};
use crate::requests::{Habits, Input, Protocol, RequestSet};
use serde_json::json;
use std::rc::Rc;

fn floor(serve: fn(tokio::net::TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || accept(&listener, 2, serve));
    address
}

fn plan(address: &str, protocol: Protocol, values: usize) -> Plan {
    let data = vec![0.123_456; values];
    let sample =
        json!({"inputs": [{"name": "x", "shape": [1, values], "datatype": "FP32", "data": data}]});
    let input = Input {
        sample,
        golden: None,
    };
    let habits = Habits {
        is_fresh: true,
        check_every: 8,
    };
    let requests = RequestSet::new(protocol, "m", vec![input], habits).unwrap();
    Plan {
        target: Target {
            address: address.into(),
            requests: Rc::new(requests.echoed()),
            deadline: Some(Duration::from_secs(9)),
        },
        pace: Pace::Closed { in_flight: 8 },
        length: Duration::from_millis(200),
        warm_up: Duration::from_millis(20),
        connections: 2,
        cancel: None,
    }
}

#[test]
fn floors_answer_with_the_bytes_of_the_request() {
    let grpc = floor(h2_echo::spawn);
    let http = floor(http_echo::spawn);
    for (address, protocol) in [
        (&grpc, Protocol::Grpc),
        (&http, Protocol::Binary),
        (&http, Protocol::Json),
    ] {
        // Of one frame, and of several windows.
        for values in [16, 300_000] {
            let report = load::run(&plan(address, protocol, values), None).unwrap();
            let json = report.json(None);
            assert!(report.tally.right > 0, "{protocol:?} {values}: {json}");
            assert!(
                report.verdict(None).is_ok(),
                "{protocol:?} {values}: {json}"
            );
        }
    }
}

#[test]
fn an_answer_of_the_wrong_bytes_is_caught() {
    let http = floor(http_echo::spawn);
    let mut plan = plan(&http, Protocol::Json, 16);
    let golden =
        json!({"outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [1.0]}]});
    let input = Input {
        sample: json!({"inputs": []}),
        golden: Some(crate::golden::Golden::parse(golden.to_string().as_bytes()).unwrap()),
    };
    let habits = Habits {
        is_fresh: false,
        check_every: 1,
    };
    let requests = RequestSet::new(Protocol::Json, "m", vec![input], habits).unwrap();
    plan.target.requests = Rc::new(requests);
    let error = load::run(&plan, None).err().unwrap().to_string();
    assert!(error.contains("the first request: no output"), "{error}");
}
