//! Which TensorProtos are valid tensors, which version a ModelSpec names, and that
//! every datatype round-trips.

use super::*;
use crate::core::error::Kind;
use proptest::prelude::*;
use prost::Message;

fn proto(dtype: DataType, dims: &[i64]) -> TensorProto {
    TensorProto {
        dtype: dtype as i32,
        tensor_shape: Some(shape_proto(dims.iter().copied())),
        ..TensorProto::default()
    }
}

/// Compares the shape and raw bytes, or a part of the error.
fn check(proto: TensorProto, expected: Result<(&[usize], &[u8]), &str>) {
    match (tensor_from_proto("x", proto), expected) {
        (Ok(tensor), Ok((shape, raw))) => {
            assert_eq!((tensor.shape(), &tensor.to_raw()[..]), (shape, raw))
        }
        (Err(error), Err(part)) => {
            assert!(
                error.message.contains(part),
                "{error} does not say {part:?}"
            );
            assert!(error.message.starts_with("input 'x': "), "{error}");
            assert_eq!(error.kind, Kind::InvalidArgument);
        }
        (got, expected) => panic!("{got:?} is not {expected:?}"),
    }
}

#[test]
fn typed_list_is_read_and_its_last_element_fills_the_shape() {
    let ints = |dtype, dims: &[i64], values: &[i32]| TensorProto {
        int_val: values.to_vec(),
        ..proto(dtype, dims)
    };
    check(
        ints(DataType::DtUint8, &[3], &[1, 2, 255]),
        Ok((&[3], &[1, 2, 255])),
    );
    check(
        ints(DataType::DtUint8, &[2, 2], &[1, 7]),
        Ok((&[2, 2], &[1, 7, 7, 7])),
    );
    check(ints(DataType::DtInt8, &[], &[-1]), Ok((&[], &[255])));
    check(ints(DataType::DtInt8, &[0], &[]), Ok((&[0], &[])));
    check(
        ints(DataType::DtUint8, &[1], &[256]),
        Err("element 0 is out of range for UINT8"),
    );
    check(
        ints(DataType::DtInt16, &[1], &[40_000]),
        Err("out of range for INT16"),
    );
    check(
        ints(DataType::DtUint8, &[1], &[1, 2]),
        Err("2 elements are over the 1"),
    );
    check(ints(DataType::DtUint8, &[2], &[]), Ok((&[2], b"\0\0")));
    check(
        ints(DataType::DtFloat, &[2], &[1, 2]),
        Err("list of FP32 is empty where the shape takes 2 elements, but another list is not"),
    );
    check(ints(DataType::DtInvalid, &[1], &[1]), Err("dtype 0"));
    let half = |values: &[i32]| TensorProto {
        half_val: values.to_vec(),
        ..proto(DataType::DtHalf, &[1])
    };
    check(half(&[0x3c00]), Ok((&[1], &[0, 0x3c])));
    check(half(&[0x1_0000]), Err("out of range"));
    check(half(&[-1]), Err("out of range"));
}

#[test]
fn tensor_content_takes_precedence_over_value_lists() {
    let with = |content: &'static [u8], dtype| TensorProto {
        tensor_content: Bytes::from_static(content),
        int_val: vec![9, 9],
        ..proto(dtype, &[2])
    };

    check(with(&[1, 2], DataType::DtUint8), Ok((&[2], &[1, 2])));
    check(
        with(&[1, 2, 3], DataType::DtUint8),
        Err("takes 2 bytes, got 3"),
    );
    check(with(&[1, 2], DataType::DtBool), Err("neither 0 nor 1"));
    check(
        with(b"\x01\x02abb", DataType::DtString),
        Ok((&[2], b"\x01\0\0\0a\x02\0\0\0bb")),
    );
    check(
        with(b"\x01\x03abb", DataType::DtString),
        Err("reaches beyond"),
    );
    check(
        with(b"\x01\x01abb", DataType::DtString),
        Err("1 bytes follow"),
    );
    check(with(b"\x01", DataType::DtString), Err("lacks 2 lengths"));
    check(
        with(b"\xff\xff", DataType::DtString),
        Err("lacks its length"),
    );
}

#[test]
fn shape_is_bounded() {
    let shaped = |dims: &[i64]| TensorProto {
        float_val: vec![1.0],
        ..proto(DataType::DtFloat, dims)
    };
    check(shaped(&[-1]), Err("negative"));
    check(shaped(&[i64::MAX, 2]), Err("overflows"));
    check(shaped(&[1; RANK_MAX + 1]), Err("rank 17"));
    check(
        shaped(&[1; RANK_MAX]),
        Ok((&[1; RANK_MAX], &1_f32.to_le_bytes())),
    );
    let mut unknown = shaped(&[1]);
    unknown.tensor_shape.as_mut().unwrap().unknown_rank = true;
    check(unknown, Err("unknown_rank"));
    let scalar = TensorProto {
        tensor_shape: None,
        ..shaped(&[])
    };
    check(scalar, Ok((&[], &1_f32.to_le_bytes())));
}

#[test]
fn repeated_last_elements_of_all_inputs_together_are_bounded() {
    let request = |inputs: usize, count: usize| {
        let filled = TensorProto {
            float_val: vec![1.0],
            ..proto(DataType::DtFloat, &[count as i64])
        };
        let named = (0..inputs).map(|i| (i.to_string(), filled.clone()));
        PredictRequest {
            inputs: named.collect(),
            ..PredictRequest::default()
        }
    };
    let quarter = FILL_BYTES_MAX / 4 / 4;
    assert!(decode(request(4, quarter)).is_ok());
    let error = decode(request(5, quarter)).expect_err("over the limit");
    assert!(error.message.contains("67108864 bytes together"), "{error}");
}

#[test]
fn a_repeated_last_element_is_bounded_before_allocation() {
    let filled = |count: usize| TensorProto {
        float_val: vec![1.0],
        ..proto(DataType::DtFloat, &[count as i64])
    };
    let max = FILL_BYTES_MAX / 4;
    for count in [max - 1, max] {
        assert_eq!(
            tensor_from_proto("x", filled(count)).unwrap().bytes(),
            count * 4
        );
    }

    check(filled(max + 1), Err("over the limit of 67108864 bytes"));
    check(filled(1 << 58), Err("over the limit"));
    let long = TensorProto {
        string_val: vec![Bytes::from(vec![b'a'; 1 << 20])],
        ..proto(DataType::DtString, &[64])
    };
    check(long, Err("over the limit"));
    let given = TensorProto {
        string_val: vec!["a".into(), "b".into()],
        ..proto(DataType::DtString, &[3])
    };
    check(given, Ok((&[3], b"\x01\0\0\0a\x01\0\0\0b\x01\0\0\0b")));
    let latin = TensorProto {
        string_val: vec![Bytes::from_static(b"\xfc")],
        ..proto(DataType::DtString, &[1])
    };
    check(latin, Ok((&[1], b"\x01\0\0\0\xfc")));
}

#[test]
fn model_spec_names_a_version_a_label_or_the_latest() {
    let of = |choice: Option<VersionChoice>, signature: &str| {
        let spec = ModelSpec {
            name: "m".into(),
            signature_name: signature.into(),
            version_choice: choice,
        };
        target(Some(&spec)).map(|t| t.selector).map_err(|e| e.kind)
    };

    let label = |text: &str| Some(VersionChoice::VersionLabel(text.into()));
    let version = |n| Some(VersionChoice::Version(n));
    assert_eq!(of(None, ""), Ok(Selector::Latest));
    assert_eq!(
        of(version(7), "serving_default"),
        Ok(Selector::Exact(Version::new(7).unwrap()))
    );
    assert!(of(version(i64::MAX), "").is_ok());
    assert_eq!(of(version(0), ""), Err(Kind::InvalidArgument));
    assert_eq!(of(version(-1), ""), Err(Kind::InvalidArgument));
    assert_eq!(
        of(label("stable"), ""),
        Ok(Selector::Label("stable".into()))
    );
    assert_eq!(of(label(""), ""), Err(Kind::InvalidArgument));
    assert!(of(label(&"l".repeat(LABEL_BYTES_MAX)), "").is_ok());
    assert_eq!(
        of(label(&"l".repeat(LABEL_BYTES_MAX + 1)), ""),
        Err(Kind::InvalidArgument)
    );
    assert_eq!(of(None, "other"), Err(Kind::FailedPrecondition));
    assert_eq!(target(None).unwrap_err().kind, Kind::InvalidArgument);
    assert_eq!(
        target(Some(&ModelSpec::default())).unwrap_err().kind,
        Kind::InvalidArgument
    );
}

#[test]
fn signature_is_described_with_its_dynamic_axes() {
    let spec = |name: &str, shape| TensorSpec {
        name: name.into(),
        dtype: DType::F32,
        shape,
    };

    let signature = Signature {
        inputs: vec![spec("x", Some(vec![Dim::Dynamic, Dim::Fixed(4)]))],
        outputs: vec![spec("y", None)],
        ..Signature::default()
    };
    let def = signature_def(&signature);
    let shape = def.inputs["x"].tensor_shape.clone().unwrap();
    assert_eq!(
        shape.dim.iter().map(|d| d.size).collect::<Vec<_>>(),
        [-1, 4]
    );
    assert_eq!(def.inputs["x"].dtype, DataType::DtFloat as i32);
    assert!(def.outputs["y"].tensor_shape.as_ref().unwrap().unknown_rank);
    assert_eq!(def.method_name, "tensorflow/serving/predict");
}

fn tensor_of(dtype: DType, bytes: &[u8]) -> Tensor {
    let Some(width) = dtype.element_bytes() else {
        let text = String::from_utf8_lossy(bytes).replace('\0', "0");
        return Tensor::strings(vec![1, 2], Strings::from_parts([&text, "ü"]).unwrap()).unwrap();
    };
    let mask = if dtype == DType::Bool { 1 } else { 0xff };
    let raw: Vec<u8> = bytes[..bytes.len() / width * width]
        .iter()
        .map(|b| b & mask)
        .collect();
    Tensor::fixed(dtype, vec![raw.len() / width, 1], raw.into()).unwrap()
}

proptest! {
    #[test]
    fn every_datatype_comes_back_bit_for_bit(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for dtype in DType::ALL {
            let tensor = tensor_of(dtype, &bytes);
            let wire = tensor_to_proto(&tensor).encode_to_vec();
            let proto = TensorProto::decode(&wire[..]).unwrap();
            prop_assert_eq!(tensor_from_proto("x", proto).unwrap(), tensor);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(proto) = TensorProto::decode(&bytes[..]) {
            let _ = tensor_from_proto("x", proto);
        }
    }

    #[test]
    fn damaged_tensors_never_panic(at in 0_usize..40, byte in any::<u8>()) {
        for dtype in DType::ALL {
            let mut wire = tensor_to_proto(&tensor_of(dtype, &[1; 16])).encode_to_vec();
            let last = wire.len() - 1;
            wire[at.min(last)] = byte;
            // One changed byte can ask for a fill; the limit keeps it small enough to try.
            if let Ok(proto) = TensorProto::decode(&wire[..]) {
                let _ = tensor_from_proto("x", proto);
            }
        }
    }
}

#[test]
fn the_model_of_a_request_is_read_before_its_tensors() {
    let named = |name: &str| ModelSpec {
        name: name.to_owned(),
        signature_name: SIGNATURE.to_owned(),
        version_choice: Some(VersionChoice::Version(3)),
    };
    let request = PredictRequest {
        model_spec: Some(named("m")),
        inputs: [("x".to_owned(), TensorProto::default())].into(),
        output_filter: vec!["y".to_owned()],
    };
    let bytes = request.encode_to_vec();
    assert_eq!(spec(&bytes), Some(named("m")));
    // A decoder merges the two.
    assert_eq!(spec(&[&bytes[..], &bytes].concat()), None);
    assert_eq!(spec(&[&bytes[..3], b"\xff"].concat()), None);
    assert_eq!(spec(b""), None);
}
