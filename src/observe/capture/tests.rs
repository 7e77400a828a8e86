//! What is captured reads back as it was asked and answered, and no more than
//! may be kept is.

use super::file::Captured;
use super::sheet::{Form, Keep};
use super::*;
use crate::core::hash::Digest;
use crate::core::model::{Dim, ModelName, Signature, TensorSpec, Version};
use crate::core::request::id::Mint;
use crate::core::tensor::{DType, Strings};
use bytes::Bytes;

fn spec(name: &str, dtype: DType, dims: &[i64]) -> TensorSpec {
    let dim = |d: &i64| usize::try_from(*d).map_or(Dim::Dynamic, Dim::Fixed);
    TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(dims.iter().map(dim).collect()),
    }
}

fn subject(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Arc<Subject> {
    Arc::new(Subject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(3).expect("legal"),
        digest: Digest([3; 32]),
        signature: Signature { inputs, outputs },
        features: Vec::new(),
        baseline: None,
        task: None,
        slices: Vec::new(),
    })
}

/// Files by their keys, and whether the store takes any.
#[derive(Clone, Default)]
struct Written {
    files: Arc<Mutex<Vec<(String, Bytes)>>>,
    stalls: Arc<std::sync::atomic::AtomicBool>,
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
    let Written { files, stalls } = written.clone();
    let put: Put = Box::new(move |key, bytes| {
        while stalls.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
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
    subject: &Arc<Subject>,
    (inputs, outputs): (&[Tensor], &[Tensor]),
) -> Uuid {
    let prediction = Mint::new().mint();
    let answered = Answered {
        subject,
        prediction,
        inputs,
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

#[test]
fn unsigned_values_over_63_bits_are_kept_unsigned_and_read_from_older_files() {
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
    show(&capture, &subject, (asked, asked));
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

#[test]
fn every_datatype_reads_back_to_the_bit() {
    let dtypes = DType::ALL;
    let inputs: Vec<TensorSpec> = dtypes
        .iter()
        .map(|d| spec(&format!("i{d}"), *d, &[-1, 2]))
        .collect();
    let subject = subject(
        inputs,
        vec![
            spec("image", DType::F32, &[-1, 3, -1]),
            spec("y", DType::F16, &[-1]),
        ],
    );

    let tensor = |dtype: DType| match dtype {
        DType::String => {
            let words = ["", "é", "x\"y", "plain"];
            Tensor::strings(vec![2, 2], Strings::from_parts(words).expect("text")).expect("fits")
        }
        DType::Bool => {
            Tensor::fixed(dtype, vec![2, 2], Bytes::from_static(&[0, 1, 1, 0])).expect("fits")
        }
        _ => {
            let size = dtype.element_bytes().expect("fixed");
            // Ends of the range, ones, a quiet NaN where it is a float.
            let mut bytes = vec![0xff; size];
            bytes.extend(vec![0x80; size]);
            bytes.extend((0..size).map(|i| if i + 1 == size { 0x7f } else { 0xff }));
            bytes.extend((0..size).map(|i| u8::from(i == 0)));
            Tensor::fixed(dtype, vec![2, 2], bytes.into()).expect("fits")
        }
    };

    let inputs: Vec<Tensor> = dtypes.iter().map(|d| tensor(*d)).collect();
    let image = Tensor::from_f32(vec![2, 3, 4], &[1.5; 24]).expect("fits");
    let y = Tensor::fixed(DType::F16, vec![2], Bytes::from_static(&[0, 60, 0, 188])).expect("fits");
    let written = Written::default();
    let (capture, _) = start(settings(), &written);
    let id = show(&capture, &subject, (&inputs, &[image.clone(), y.clone()]));
    capture.lock().finish();
    let file = read(&written).remove(0);
    let requests = file.requests().expect("requests");
    assert_eq!(
        (
            requests.len(),
            requests[0].prediction,
            requests[0].rows.clone()
        ),
        (1, id, 0..2)
    );

    for ((name, back), tensor) in file
        .inputs(&requests[0])
        .expect("whole")
        .iter()
        .zip(&inputs)
    {
        // NaNs differ from themselves; their bytes do not.
        assert_eq!(
            (back.shape(), back.to_raw()),
            (tensor.shape(), tensor.to_raw()),
            "{name}"
        );
    }

    let outputs: Vec<Tensor> = file
        .outputs(&requests[0])
        .expect("whole")
        .into_iter()
        .map(|(_, t)| t)
        .collect();
    assert_eq!(outputs, [image, y]);

    assert!(
        written.files.lock()[0]
            .0
            .starts_with("capture/model=m/version=3/hour=20"),
        "{:?}",
        written.files.lock()[0].0
    );
}

#[test]
fn what_is_to_be_left_out_is_nowhere_in_the_file() {
    let subject = subject(
        vec![
            spec("name", DType::String, &[-1]),
            spec("ssn", DType::String, &[-1]),
            spec("x", DType::F32, &[-1, 2]),
        ],
        vec![spec("y", DType::F32, &[-1])],
    );

    let words =
        |w: &str| Tensor::strings(vec![1], Strings::from_parts([w]).expect("text")).expect("fits");
    let x = Tensor::from_f32(vec![1, 2], &[1.0, 2.0]).expect("fits");
    let y = Tensor::from_f32(vec![1], &[3.0]).expect("fits");
    let settings = CaptureSettings {
        drop: vec!["m/ssn".to_owned(), "x[1]".to_owned()],
        hash: vec!["name".to_owned()],
        ..settings()
    };

    let written = Written::default();
    let (capture, _) = start(settings, &written);
    show(
        &capture,
        &subject,
        (
            &[words("Ada Byron"), words("123-45-6789"), x],
            std::slice::from_ref(&y),
        ),
    );

    capture.lock().finish();
    let bytes = written.files.lock()[0].1.clone();
    let has = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!has("123-45-6789") && !has("Ada") && !has("Byron"));
    let file = read(&written).remove(0);
    assert_eq!(file.table.column("name").map(|c| c.word(0).len()), Some(32));
    assert!(file.table.column("ssn").is_none() && file.table.column("x[1]").is_none());
    assert_eq!(file.table.column("x[0]"), Some(&Column::F32(vec![1.0])));
    let request = file.requests().expect("requests").remove(0);
    let refused = file.inputs(&request).expect_err("cannot be sent again");
    assert!(refused.message.contains("'name' was hashed"), "{refused}");
    assert_eq!(
        file.outputs(&request).expect("whole"),
        [("y".to_owned(), y)]
    );
}

#[test]
fn two_models_of_the_same_bytes_keep_to_their_own_rules() {
    let of = |model: &str| {
        let one = subject(
            vec![spec("ssn", DType::String, &[-1])],
            vec![spec("y", DType::F32, &[-1])],
        );
        Arc::new(Subject {
            model: ModelName::parse(model).expect("legal"),
            ..one.as_ref().clone()
        })
    };

    let word =
        Tensor::strings(vec![1], Strings::from_parts(["123-45"]).expect("text")).expect("fits");
    let y = Tensor::from_f32(vec![1], &[3.0]).expect("fits");
    let settings = CaptureSettings {
        drop: vec!["patients/ssn".to_owned()],
        ..settings()
    };
    let written = Written::default();
    let (capture, _) = start(settings, &written);
    for model in ["demo", "patients"] {
        show(
            &capture,
            &of(model),
            (std::slice::from_ref(&word), std::slice::from_ref(&y)),
        );
    }

    capture.lock().finish();
    for file in read(&written) {
        assert_eq!(
            file.table.column("ssn").is_some(),
            file.head.model == "demo",
            "{}",
            file.head.model
        );
    }

    assert_eq!(read(&written).len(), 2);
}

#[test]
fn a_column_of_a_tensor_that_is_kept_whole_leaves_out_all_of_it() {
    // Its first axis is fixed: there are no rows to tell apart.
    let one = subject(
        vec![spec("x", DType::F32, &[1, 2])],
        vec![spec("y", DType::F32, &[1])],
    );

    let one = Arc::new(Subject {
        features: vec!["age".to_owned(), "ssn".to_owned()],
        ..one.as_ref().clone()
    });
    let settings = CaptureSettings {
        drop: vec!["m/ssn".to_owned()],
        ..settings()
    };
    let sheet = Sheet::new(&one, &settings).expect("the model has it");
    let Form::Whole(kept) = &sheet.tensors[0].form else {
        panic!("whole")
    };
    assert_eq!(kept.keep, Keep::Nothing);
    let kept = Sheet::new(&one, &CaptureSettings::default()).expect("fits");
    assert!(matches!(&kept.tensors[0].form, Form::Whole(k) if k.keep == Keep::Value));
}

#[test]
fn a_request_whose_tensors_differ_in_rows_is_not_kept_and_spoils_no_file() {
    let subject = subject(
        vec![spec("a", DType::F32, &[-1]), spec("b", DType::F32, &[-1])],
        vec![spec("y", DType::F32, &[-1])],
    );
    let rows = |n: usize| Tensor::from_f32(vec![n], &vec![1.0; n]).expect("fits");
    let written = Written::default();
    let (capture, metrics) = start(settings(), &written);
    for (a, b, y) in [(2, 2, 2), (2, 3, 2), (2, 2, 1), (0, 0, 0), (1, 1, 1)] {
        show(&capture, &subject, (&[rows(a), rows(b)], &[rows(y)]));
    }
    capture.lock().finish();
    assert_eq!(read(&written).remove(0).table.rows, 3);
    assert!(text(&metrics).contains("ortus_capture_dropped_total{reason=\"refused\"} 3"));
}

#[test]
fn a_rule_that_names_nothing_keeps_nothing() {
    let subject = subject(
        vec![spec("x", DType::F32, &[-1])],
        vec![spec("y", DType::F32, &[-1])],
    );
    let x = Tensor::from_f32(vec![1], &[1.0]).expect("fits");
    let settings = CaptureSettings {
        drop: vec!["m/z".to_owned(), "other/x".to_owned()],
        ..settings()
    };
    let written = Written::default();
    let (capture, metrics) = start(settings, &written);
    show(
        &capture,
        &subject,
        (std::slice::from_ref(&x), std::slice::from_ref(&x)),
    );

    capture.lock().finish();
    assert!(written.files.lock().is_empty());
    assert!(text(&metrics).contains("ortus_capture_dropped_total{reason=\"refused\"} 1"));
}

#[test]
fn a_stalled_store_costs_samples_and_no_time() {
    let subject = subject(
        vec![spec("x", DType::F32, &[-1, 100])],
        vec![spec("y", DType::F32, &[-1])],
    );
    let x = Tensor::from_f32(vec![10, 100], &[1.0; 1_000]).expect("fits");
    let y = Tensor::from_f32(vec![10], &[1.0; 10]).expect("fits");
    let written = Written::default();
    written.stalls.store(true, Ordering::Relaxed);
    let (capture, metrics) = start(
        CaptureSettings {
            rows_max: 100,
            queue_bytes_max: 1 << 20,
            ..settings()
        },
        &written,
    );

    let begun = Instant::now();
    for _ in 0..2_000 {
        show(
            &capture,
            &subject,
            (std::slice::from_ref(&x), std::slice::from_ref(&y)),
        );
    }

    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );

    assert!(capture.lock().shared.bytes.load(Ordering::Relaxed) <= 1 << 20);
    assert!(text(&metrics).contains("ortus_capture_dropped_total{reason=\"full\"}"));
    written.stalls.store(false, Ordering::Relaxed);
    capture.lock().finish();
    let rows: usize = read(&written).iter().map(|f| f.table.rows).sum();
    assert!(
        (1_000..4_000).contains(&rows),
        "{rows} of 20,000 rows were kept"
    );
}

#[test]
fn files_are_closed_when_they_are_full_and_a_large_request_is_not_kept() {
    let subject = subject(
        vec![spec("x", DType::String, &[-1])],
        vec![spec("y", DType::F32, &[-1])],
    );
    let word = |n: usize| {
        Tensor::strings(vec![1], Strings::from_parts(["x".repeat(n)]).expect("text")).expect("fits")
    };
    let y = Tensor::from_f32(vec![1], &[1.0]).expect("fits");
    let written = Written::default();
    let (capture, metrics) = start(
        CaptureSettings {
            rows_max: 10,
            ..settings()
        },
        &written,
    );

    show(
        &capture,
        &subject,
        (&[word(100 << 20)], std::slice::from_ref(&y)),
    );

    for _ in 0..25 {
        show(&capture, &subject, (&[word(10)], std::slice::from_ref(&y)));
    }
    capture.lock().finish();
    let rows: Vec<usize> = read(&written).iter().map(|f| f.table.rows).collect();
    assert_eq!(rows, [10, 10, 5]);
    let text = text(&metrics);
    assert!(text.contains("ortus_capture_dropped_total{reason=\"too_large\"} 1"));
    assert!(
        text.contains("ortus_capture_rows_total{model=\"m\"} 25"),
        "{text}"
    );
}

#[test]
fn old_files_go_and_so_do_the_oldest_of_too_many() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let records =
            crate::storage::layout::Records::open(&folder.path().display().to_string(), "default")
                .expect("opens");
        let now = chrono::Utc::now();
        let hour = u64::try_from(now.timestamp() / 3600).expect("after 1970");
        for ago in [0, 1, 2, 50] {
            let key = format!("{}a.parquet", file::folder("m", Some((1, hour - ago))));
            records
                .create(&key, Bytes::from(vec![0; 100]))
                .await
                .expect("written");
        }
        records
            .create("capture/else", Bytes::new())
            .await
            .expect("written");
        let retention = |hours: u64, store_bytes_max| CaptureSettings {
            retention: Duration::from_secs(hours * 3600),
            store_bytes_max,
            ..settings()
        };
        let swept = sweep::sweep(&records, &retention(48, 1_000), now)
            .await
            .expect("swept");
        assert_eq!(
            swept,
            sweep::Swept {
                removed: 1,
                kept: 3,
                kept_bytes: 300
            }
        );
        let swept = sweep::sweep(&records, &retention(48, 250), now)
            .await
            .expect("swept");
        assert_eq!((swept.removed, swept.kept_bytes), (1, 200));
        assert!(
            records
                .get("capture/else", 10)
                .await
                .expect("reads")
                .is_some(),
            "what is no captured file stays"
        );
    });
}
