//! What TensorFlow's tensors carry and refuse.

use super::*;

fn proto(dtype: tf::DataType, dims: &[i64]) -> tf::TensorProto {
    let dim = dims.iter().map(|size| tf::tensor_shape_proto::Dim { size: *size, name: String::new() }).collect();
    let tensor_shape = Some(tf::TensorShapeProto { dim, unknown_rank: false });
    tf::TensorProto { dtype: dtype as i32, tensor_shape, ..tf::TensorProto::default() }
}

fn floats(dims: &[i64], values: &[f32]) -> tf::TensorProto {
    tf::TensorProto { float_val: values.to_vec(), ..proto(tf::DataType::DtFloat, dims) }
}

fn refused(proto: tf::TensorProto, part: &str) {
    let error = tensor_from_proto("x", proto).expect_err("must be refused");
    assert!(error.message.starts_with("input 'x': ") && error.message.contains(part), "{error}");
}

#[test]
fn the_last_element_fills_the_shape_within_a_limit() {
    let filled = tensor_from_proto("x", floats(&[2, 2], &[1.0, 2.0])).expect("filled");
    assert_eq!(filled, Tensor::from_f32(vec![2, 2], &[1.0, 2.0, 2.0, 2.0]).expect("fits"));
    let most = (FILL_BYTES_MAX / 4) as i64;
    assert!(tensor_from_proto("x", floats(&[most], &[1.0])).is_ok());
    refused(floats(&[most + 1], &[1.0]), "one element fills at most");
    refused(floats(&[1], &[1.0, 2.0]), "takes 1 elements, got 2");
    refused(floats(&[2], &[]), "takes 2 elements, got 0");
    assert!(tensor_from_proto("x", floats(&[0], &[])).is_ok());
}

#[test]
fn malformed_tensors_are_refused() {
    refused(floats(&[-1], &[1.0]), "negative");
    refused(proto(tf::DataType::DtInvalid, &[]), "dtype 0 is not served");
    refused(
        tf::TensorProto { tensor_content: vec![0; 3].into(), ..proto(tf::DataType::DtFloat, &[1]) },
        "takes 4 bytes, got 3",
    );
    refused(
        tf::TensorProto { int_val: vec![300], ..proto(tf::DataType::DtUint8, &[1]) },
        "out of the datatype's range",
    );
    refused(tf::TensorProto { tensor_content: vec![0; 3].into(), ..proto(tf::DataType::DtString, &[1]) }, "string_val");
    let unknown = tf::TensorShapeProto { dim: vec![], unknown_rank: true };
    refused(tf::TensorProto { tensor_shape: Some(unknown), ..floats(&[1], &[1.0]) }, "unknown rank");
}

#[test]
fn every_datatype_survives_both_ways() {
    for dtype in DType::ALL {
        let tensor = match dtype.element_bytes() {
            None => Tensor::strings(vec![2], Strings::from_parts(["a", "bc"]).expect("text")),
            Some(width) => {
                Tensor::fixed(dtype, vec![2], [1, 0, 0, 0, 0, 0, 0, 0].repeat(2)[..2 * width].to_vec().into())
            }
        }
        .expect("fits");
        assert_eq!(tensor_from_proto("x", tensor_to_proto(&tensor)).expect("our own"), tensor, "{dtype}");
    }
}

#[test]
fn an_absent_version_is_not_version_zero() {
    let spec = |choice| p::ModelSpec { name: "m".into(), version_choice: choice, signature_name: String::new() };
    let selector = |choice| target(Some(&spec(choice))).map(|t| t.selector).map_err(|e| e.kind);
    use p::model_spec::VersionChoice;
    assert_eq!(selector(None), Ok(Selector::Latest));
    assert_eq!(selector(Some(VersionChoice::Version(0))), Err(crate::error::Kind::InvalidArgument));
    assert_eq!(selector(Some(VersionChoice::Version(3))), Ok(Selector::Exact(Version::new(3).expect("legal"))));
    assert_eq!(selector(Some(VersionChoice::VersionLabel("s".into()))), Ok(Selector::Label("s".into())));
    assert_eq!(target(None).map_err(|e| e.kind), Err(crate::error::Kind::InvalidArgument));
    let other = p::ModelSpec { signature_name: "other".into(), ..spec(None) };
    assert_eq!(target(Some(&other)).map_err(|e| e.kind), Err(crate::error::Kind::FailedPrecondition));
}
