//! Every route has a description.

use super::*;
use crate::api::rest::route::{Route, route};
use http::Method;
use std::collections::BTreeSet;

/// The number of a route, so that a new one must be described too.
fn number(route: &Route) -> u8 {
    match route {
        Route::Live => 0,
        Route::Ready => 1,
        Route::Server => 2,
        Route::Models => 3,
        Route::Metadata(..) => 4,
        Route::ModelReady(..) => 5,
        Route::Infer(..) => 6,
        Route::Config(..) => 7,
        Route::Statistics(..) => 8,
        Route::Index => 9,
        Route::LogSettings => 10,
        Route::TraceSettings(_) => 11,
        Route::Load(_) => 12,
        Route::Unload(_) => 13,
        Route::RegionStatus(_) => 14,
        Route::RegisterRegion(_) => 15,
        Route::UnregisterRegion(_) => 16,
        Route::CudaStatus => 17,
        Route::CudaRegister => 18,
        Route::CudaUnregister => 19,
        Route::TfsPredict(..) => 20,
        Route::TfsInfer(..) => 21,
        Route::TfsStatus(..) => 22,
        Route::TfsMetadata(..) => 23,
        Route::Labels => 24,
        Route::Root => 25,
        Route::OpenApi => 26,
        Route::Invocations => 27,
        Route::Ping => 28,
        Route::Version => 29,
    }
}

#[test]
fn every_route_is_described_and_every_path_is_one() {
    let mut seen = BTreeSet::new();
    for call in calls() {
        let path = call.path.replace("{version}", "3").replace(['{', '}'], "");
        let method = Method::from_bytes(call.method.to_uppercase().as_bytes()).expect("a method");
        let found = route(&method, &path);
        let found = found.unwrap_or_else(|none| panic!("{method} {path}: {none:?}"));
        seen.insert(number(&found));
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        (0..30).collect::<Vec<_>>()
    );
}
