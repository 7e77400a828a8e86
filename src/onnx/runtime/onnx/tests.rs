//! Real sessions on graphs made here: round trips of every datatype and rank, and
//! the error of an absent provider.

#![allow(clippy::print_stdout)]

mod optional;
mod shared;

use super::*;
use crate::onnx::runtime::provider::ProviderKind;
use crate::proto::onnx as o;
use crate::testing::engine;
use crate::testing::graphs::{self, node};
use std::collections::BTreeMap;

/// The format's number of a datatype.
fn number(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::U16 => 4,
        DType::I16 => 5,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::String => 8,
        DType::Bool => 9,
        DType::F16 => 10,
        DType::F64 => 11,
        DType::U32 => 12,
        DType::U64 => 13,
        DType::BF16 => 16,
    }
}

/// Declares a tensor; −1 is a dynamic axis.
pub(crate) fn declare(name: &str, dtype: DType, dims: &[i64]) -> o::ValueInfoProto {
    graphs::declare(name, number(dtype), dims)
}

/// Encodes a graph as a model.
pub(crate) fn model(graph: o::GraphProto) -> SessionSource {
    SessionSource {
        bytes: graphs::model(graph).into(),
        external_dir: None,
    }
}

fn on(kind: ProviderKind) -> SessionOptions {
    let providers = vec![Provider {
        kind,
        options: BTreeMap::new(),
    }];
    SessionOptions {
        intra_op_threads: 1,
        spinning: false,
        providers,
        warnings: RuntimeWarnings::default(),
    }
}

/// Opens a session on the processor.
pub(crate) fn open(source: &SessionSource) -> Box<dyn Session> {
    engine()
        .open(source, &on(ProviderKind::Cpu))
        .expect("opens")
}

fn identity(dtype: DType, dims: &[i64]) -> SessionSource {
    model(o::GraphProto {
        node: vec![node("Identity", &["x"], "y")],
        input: vec![declare("x", dtype, dims)],
        output: vec![declare("y", dtype, dims)],
        ..o::GraphProto::default()
    })
}

fn sample(dtype: DType, shape: Vec<usize>) -> Tensor {
    let count = crate::core::tensor::elements(&shape).expect("small");
    match dtype.element_bytes() {
        None => Tensor::strings(
            shape,
            crate::core::tensor::Strings::from_parts((0..count).map(|i| format!("ü{i}")))
                .expect("text"),
        ),
        Some(width) => {
            let byte = |i: usize| {
                if dtype == DType::Bool {
                    (i % 2) as u8
                } else {
                    (i * 37 % 120) as u8
                }
            };
            Tensor::fixed(dtype, shape, (0..count * width).map(byte).collect())
        }
    }
    .expect("fits")
}

#[test]
fn every_datatype_and_rank_comes_back_bit_for_bit() {
    for dtype in DType::ALL {
        for (dims, shape) in [
            (&[-1, 3][..], vec![2, 3]),
            (&[][..], vec![]),
            (&[-1][..], vec![0]),
            (&[-1, -1, 2, 1, -1][..], vec![1, 2, 2, 1, 3]),
        ] {
            let mut session = open(&identity(dtype, dims));
            let given = sample(dtype, shape);
            let outputs = session.run(&[given.view()]).expect("runs");
            assert_eq!(
                (outputs[0].dtype(), outputs[0].shape()),
                (dtype, given.shape())
            );
            assert_eq!(
                outputs[0].to_raw(),
                given.to_raw(),
                "{dtype} {:?}",
                given.shape()
            );
        }
    }
}

#[test]
fn misaligned_bytes_are_copied_into_place() {
    let mut session = open(&identity(DType::F64, &[-1]));
    let padded: Bytes = std::iter::once(0).chain(2.5_f64.to_le_bytes()).collect();
    let given = Tensor::fixed(DType::F64, vec![1], padded.slice(1..)).expect("fits");
    assert_eq!(
        session.run(&[given.view()]).expect("runs")[0].to_raw(),
        given.to_raw()
    );
}

#[test]
fn an_index_out_of_range_is_an_invalid_request_and_the_session_keeps_working() {
    let source = SessionSource {
        bytes: graphs::lookup().into(),
        external_dir: None,
    };
    let mut session = open(&source);
    let index =
        |i: i64| Tensor::fixed(DType::I64, vec![1], i.to_le_bytes().to_vec().into()).expect("fits");
    let error = session.run(&[index(10).view()]).expect_err("out of range");
    assert_eq!(
        error.kind,
        crate::core::error::Kind::InvalidArgument,
        "{error}"
    );

    assert!(!error.message.contains('/'), "{error}");
    assert_eq!(
        session.run(&[index(2).view()]).expect("runs")[0].to_raw()[..],
        0.25_f32.to_le_bytes()
    );
}

#[test]
fn an_absent_provider_is_an_error_and_a_listed_fallback_is_taken() {
    let engine = engine();
    let source = identity(DType::F32, &[-1]);
    for kind in [ProviderKind::Cuda, ProviderKind::Tensorrt] {
        match engine.open(&source, &on(kind)) {
            Ok(session) => assert_eq!(session.provider(), kind.name()),
            Err(error) => {
                println!("NOT RUN: a session on {}: {error}", kind.name());
                assert_eq!(error.kind, crate::core::error::Kind::FailedPrecondition);
                assert!(error.message.contains(kind.name()), "{error}");
                let mut options = on(kind);
                options.providers.extend(on(ProviderKind::Cpu).providers);
                assert_eq!(
                    engine
                        .open(&source, &options)
                        .expect("falls back")
                        .provider(),
                    "cpu"
                );
            }
        }
    }
}
