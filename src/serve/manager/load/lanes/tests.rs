//! Large models share one session, small ones do not, and a hung lane gets a session either way.

use super::*;
use crate::core::error::Error;
use crate::core::tensor::{DType, Tensor};
use crate::testing::{engine, graphs};

/// A table of so many FP32 numbers.
fn source(table: usize) -> SessionSource {
    SessionSource {
        bytes: graphs::marked(1.0, table).into(),
        external_dir: None,
    }
}

fn lanes(source: &SessionSource) -> LaneSessions {
    let options = SessionOptions::single();
    let mut lanes = LaneSessions::open(&engine(), source, &options).expect("opens");
    lanes.fill(&engine(), source, &options, 3).expect("opens");
    assert_eq!(lanes.sessions.len(), 3);
    lanes
}

#[test]
fn only_lanes_of_large_models_share_a_session() {
    let numbers = SHARED_FROM_BYTES as usize / size_of::<f32>();
    assert_eq!(lanes(&source(numbers)).distinct(), 1);
    assert_eq!(lanes(&source(numbers / 2)).distinct(), 3);
}

#[test]
fn external_data_counts_as_weights() {
    let numbers = SHARED_FROM_BYTES as usize / size_of::<f32>();
    let folder = tempfile::tempdir().expect("a folder");
    let outside = graphs::marked_outside(1.0, numbers, "table.bin");
    std::fs::write(folder.path().join("table.bin"), &outside.data).expect("written");
    let source = SessionSource {
        bytes: outside.model.into(),
        external_dir: Some(folder.path().canonicalize().expect("a path")),
    };
    assert!(source.bytes.len() < 1000);
    assert_eq!(lanes(&source).distinct(), 1);
}

#[test]
fn a_hung_lane_gets_a_session_of_the_shared_model_and_else_one_of_its_own() {
    let numbers = SHARED_FROM_BYTES as usize / size_of::<f32>();
    let gone = || Reopening {
        open: Box::new(|| Err(Error::unavailable("opened from the file"))),
    };
    let LaneSessions {
        mut sessions,
        shared,
    } = lanes(&source(numbers));
    let reopen = gone().with(shared);
    let one = Tensor::fixed(DType::I64, vec![1], vec![0; 8].into()).expect("fits");
    let mut again = reopen().expect("the hung lane holds the model");
    let expected = sessions[0].run(&[one.view()]).expect("runs")[0].to_raw();
    assert_eq!(
        again.run(&[one.view()]).expect("runs")[0].to_raw(),
        expected
    );

    drop((sessions, again));
    let said = |reopen: &Reopen| reopen().err().map(|error| error.message);
    assert_eq!(said(&reopen).as_deref(), Some("opened from the file"));
    assert_eq!(
        said(&gone().with(None)).as_deref(),
        Some("opened from the file")
    );
}
