//! Tests of `capture`: the fixtures, and requests that are read back from files.

mod limits;
mod optional;
mod rules;

use super::file::Captured;
use super::*;
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Signature, TensorSpec, Version};
use crate::core::request::id::Mint;
use crate::core::tensor::{DType, Strings};
use crate::testing::tensor_spec as spec;
use bytes::Bytes;

fn subject(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Arc<WatchSubject> {
    Arc::new(WatchSubject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(3).expect("legal"),
        digest: Digest([3; 32]),
        signature: Signature {
            inputs,
            outputs,
            ..Signature::default()
        },
        features: Vec::new(),
        baseline: None,
        task: None,
        slices: Vec::new(),
        rules: Default::default(),
    })
}

/// The files that were written, by key. The store stalls while a test holds the lock of `stall`.
#[derive(Clone, Default)]
struct Written {
    files: Arc<Mutex<Vec<(String, Bytes)>>>,
    stall: Arc<Mutex<()>>,
}

fn settings() -> CaptureSettings {
    CaptureSettings {
        share: 1.0,
        rows_max: 1_000,
        bytes_max: 1 << 20,
        age_max: Duration::from_secs(3600),
        queue_bytes_max: 1 << 22,
        request_bytes_max: 1 << 20,
        ..CaptureSettings::default()
    }
}

fn start(settings: CaptureSettings, written: &Written) -> (Arc<Mutex<Capture>>, Arc<Metrics>) {
    let metrics = Metrics::new().expect("metrics");
    let Written { files, stall } = written.clone();
    let put: Put = Box::new(move |key, bytes| {
        drop(stall.lock());
        files.lock().push((key.to_owned(), bytes.into()));
        Ok(())
    });

    let capture = Capture::start(
        settings,
        Arc::clone(&metrics),
        put,
        Box::new(|| Some([7; 16])),
    )
    .expect("starts");

    (capture, metrics)
}

fn show(
    capture: &Arc<Mutex<Capture>>,
    subject: &Arc<WatchSubject>,
    inputs: &[Tensor],
    outputs: &[Tensor],
) -> Uuid {
    let inputs = CheckedInputs {
        required: inputs.to_vec(),
        optional: Vec::new(),
    };
    show_checked(capture, subject, &inputs, outputs)
}

fn show_checked(
    capture: &Arc<Mutex<Capture>>,
    subject: &Arc<WatchSubject>,
    inputs: &CheckedInputs,
    outputs: &[Tensor],
) -> Uuid {
    let prediction = Mint::new().mint();
    let answered = Answered {
        subject,
        prediction,
        inputs: &inputs.required,
        optional: &inputs.optional,
        outputs,
        answers: &[],
        parts: &[],
    };

    Capture::tap(capture)(&answered);
    prediction
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render()).expect("text")
}

fn read(written: &Written) -> Vec<Captured> {
    written
        .files
        .lock()
        .iter()
        .map(|(_, bytes)| Captured::read(bytes.clone()).expect("reads"))
        .collect()
}

fn words<const N: usize>(shape: &[usize], words: [&str; N]) -> Tensor {
    Tensor::strings(shape.to_vec(), Strings::from_parts(words).expect("text")).expect("fits")
}

#[test]
fn unsigned_values_over_63_bits_stay_unsigned_in_new_and_older_files() {
    let subject = subject(
        vec![spec("x", DType::U64, &[-1])],
        vec![spec("y", DType::U64, &[-1])],
    );
    let values = [u64::MAX, 1 << 63, 7];
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensor = Tensor::fixed(DType::U64, vec![3], raw.into()).expect("fits");
    let written = Written::default();
    let (capture, _) = start(settings(), &written);
    let asked = std::slice::from_ref(&tensor);
    show(&capture, &subject, asked, asked);
    capture.lock().finish();
    let mut file = read(&written).remove(0);
    let unsigned = Column::U64(values.to_vec());
    assert_eq!(file.table.column("x"), Some(&unsigned));

    for (_, column) in &mut file.table.columns {
        if let Column::U64(all) = column {
            *column = Column::I64(all.iter().map(|v| v.cast_signed()).collect());
        }
    }

    let older = file.head.write(&file.table).expect("written");
    let older = Captured::read(older.into()).expect("reads");
    assert_eq!(older.table.column("x"), Some(&unsigned));
    let request = &older.requests().expect("requests")[0];
    assert_eq!(
        older.inputs(request).expect("whole")[0].1.to_raw(),
        tensor.to_raw()
    );
}

/// Makes 2 × 2 values of a datatype, with the ends of its range and, for floats, a NaN.
fn extremes(dtype: DType) -> Tensor {
    match dtype {
        DType::String => words(&[2, 2], ["", "é", "x\"y", "plain"]),
        DType::Bool => {
            Tensor::fixed(dtype, vec![2, 2], Bytes::from_static(&[0, 1, 1, 0])).expect("fits")
        }
        _ => {
            let size = dtype.element_bytes().expect("fixed");
            let mut bytes = vec![0xff; size];
            bytes.extend(vec![0x80; size]);
            bytes.extend((0..size).map(|i| if i + 1 == size { 0x7f } else { 0xff }));
            bytes.extend((0..size).map(|i| u8::from(i == 0)));
            Tensor::fixed(dtype, vec![2, 2], bytes.into()).expect("fits")
        }
    }
}

#[test]
fn every_datatype_reads_back_to_the_bit() {
    let inputs: Vec<TensorSpec> = DType::ALL
        .iter()
        .map(|d| spec(&format!("i{d}"), *d, &[-1, 2]))
        .collect();
    let outputs = vec![
        spec("image", DType::F32, &[-1, 3, -1]),
        spec("y", DType::F16, &[-1]),
    ];
    let subject = subject(inputs, outputs);

    let inputs: Vec<Tensor> = DType::ALL.iter().map(|d| extremes(*d)).collect();
    let image = Tensor::from_f32(vec![2, 3, 4], &[1.5; 24]).expect("fits");
    let y = Tensor::fixed(DType::F16, vec![2], Bytes::from_static(&[0, 60, 0, 188])).expect("fits");
    let outputs = [image, y];

    let written = Written::default();
    let (capture, _) = start(settings(), &written);
    let id = show(&capture, &subject, &inputs, &outputs);
    capture.lock().finish();

    let file = read(&written).remove(0);
    let requests = file.requests().expect("requests");
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (requests[0].prediction, requests[0].rows.clone()),
        (id, 0..2)
    );

    let read_back = file.inputs(&requests[0]).expect("whole");
    for ((name, back), tensor) in read_back.iter().zip(&inputs) {
        // NaNs differ from themselves; their bytes do not.
        assert_eq!(back.shape(), tensor.shape(), "{name}");
        assert_eq!(back.to_raw(), tensor.to_raw(), "{name}");
    }

    let read_back = file.outputs(&requests[0]).expect("whole");
    let read_back: Vec<Tensor> = read_back.into_iter().map(|(_, tensor)| tensor).collect();
    assert_eq!(read_back, outputs);

    let key = written.files.lock()[0].0.clone();
    assert!(
        key.starts_with("capture/model=m/version=3/hour=20"),
        "{key}"
    );
}

#[test]
fn a_request_whose_tensors_differ_in_rows_is_dropped_and_spoils_no_file() {
    let subject = subject(
        vec![spec("a", DType::F32, &[-1]), spec("b", DType::F32, &[-1])],
        vec![spec("y", DType::F32, &[-1])],
    );
    let rows = |n: usize| Tensor::from_f32(vec![n], &vec![1.0; n]).expect("fits");
    let written = Written::default();
    let (capture, metrics) = start(settings(), &written);
    for (a, b, y) in [(2, 2, 2), (2, 3, 2), (2, 2, 1), (0, 0, 0), (1, 1, 1)] {
        show(&capture, &subject, &[rows(a), rows(b)], &[rows(y)]);
    }
    capture.lock().finish();
    assert_eq!(read(&written).remove(0).table.rows, 3);
    assert!(text(&metrics).contains("ortus_capture_dropped_total{reason=\"refused\"} 3"));
}
