//! What is fuzzed: bytes of clients, fed to what reads them. Each function panics where a rule is broken. The
//! targets in `fuzz/` call them with random bytes, and a test calls them with those of `fuzz/corpus/`.

use super::data_path::{DataPath, EchoEngine};
use super::{graphs, table_schema, tensor_spec};
use crate::api::oip::options::OipOptions;
use crate::api::oip::shared_memory::Regions;
use crate::api::unary::answer::PREFIX_BYTES;
use crate::api::unary::message::PartialMessage;
use crate::api::{mlflow, oip, tfs};
use crate::core::error::Result;
use crate::core::model::columns::InputColumns;
use crate::core::model::{ModelName, Signature};
use crate::core::tensor::{DType, NamedTensors, Tensor};
use crate::proto::inference::ModelInferRequest;
use crate::proto::tensorflow::serving::{Input, PredictRequest};
use crate::registry::pbtxt::ModelConfig;
use crate::registry::pbtxt::model_list::ModelList;
use crate::registry::pbtxt::monitoring;
use bytes::Bytes;
use prost::Message;
use std::cell::Cell;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// A connection that has not ended by then hangs: nothing that it waits for takes so long.
const HANGS: Duration = Duration::from_secs(60);
/// The most bytes of a message. Small, so that the limit is met too.
const MESSAGE_BYTES_MAX: usize = 1 << 16;

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the panics of each thread, also those that are caught.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            PANICS.set(PANICS.get() + 1);
            before(panicked);
        }));
    });
}

/// The data path, whose connections get any bytes.
pub struct FuzzedConnections {
    path: DataPath,
    runtime: Runtime,
}

impl FuzzedConnections {
    /// Serves an echo of any number of rows of four FP32, as the model `m`.
    pub fn start() -> Self {
        count_panics();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        // A client that closes would end a process whose `main` is not Rust's.
        let pipe = runtime.block_on(async { signal(SignalKind::pipe()) });
        drop(pipe.expect("caught"));
        let model = graphs::identity(4);
        Self {
            path: DataPath::start(Arc::new(EchoEngine), &[("m", &model)]),
            runtime,
        }
    }

    /// Serves a connection whose client sends these bytes, reads what it is answered, and closes. Panics if
    /// the server panics, if the connection does not end, or if a call is left.
    pub fn receive(&self, bytes: &[u8]) {
        let panics = PANICS.get();
        self.runtime.block_on(async {
            let (client, served) = self.path.connect();
            let served = tokio::spawn(served);
            let answered = timeout(HANGS, exchange(client, bytes)).await;
            answered.expect("the connection is answered or closed");
            let ended = timeout(HANGS, served).await;
            ended.expect("the connection ends").expect("without panic");
            let left = timeout(HANGS, self.no_call_is_left()).await;
            left.expect("every call ends with its connection");
        });
        assert_eq!(PANICS.get(), panics, "a call or a task panicked");
        assert_eq!(
            self.path.bytes_in_flight(),
            0,
            "the charge of a call is left"
        );
    }

    async fn no_call_is_left(&self) {
        while self.path.requests_in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn exchange(client: StdUnixStream, bytes: &[u8]) {
    client.set_nonblocking(true).expect("set");
    let client = UnixStream::from_std(client).expect("registered");
    let (mut from, mut to) = client.into_split();
    // The server may close at any time.
    let send = async {
        let _ = to.write_all(bytes).await;
        let _ = to.shutdown().await;
    };
    let mut answer = Vec::new();
    let (_, ()) = tokio::join!(from.read_to_end(&mut answer), send);
}

/// Reads the body of a call: its prefix, its message, its tensors. The first byte chooses the call and the
/// size of the pieces in which the rest arrives.
pub fn message(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else {
        return;
    };
    let piece = match usize::from(choice >> 1) {
        0 => body.len().max(1),
        size => size,
    };
    let Ok(message) = joined(body.chunks(piece)) else {
        return;
    };
    // A message is what its prefix announces, whatever the pieces were.
    assert_eq!(message, body[PREFIX_BYTES..]);
    // Refusing is as good as decoding.
    let _ = match choice & 1 {
        0 => decode_infer(message),
        _ => decode_predict(message),
    };
}

fn joined<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> Result<Bytes> {
    let mut partial = PartialMessage::new(MESSAGE_BYTES_MAX);
    for piece in pieces {
        partial.add(Bytes::copy_from_slice(piece))?;
    }
    partial.finish()
}

fn decode_infer(message: Bytes) -> Result<()> {
    let outline = oip::read::outline(&message).filter(|outline| outline.is_plain);
    let plain = outline.map(|outline| oip::read::read(&message, &outline));
    let Ok(message) = ModelInferRequest::decode(message.clone()) else {
        assert!(plain.is_none(), "a malformed message was read");
        return Ok(());
    };
    let decoded = oip::codec::decode(message, &OipOptions::plain());
    if let Some(plain) = plain {
        assert_eq!(format!("{plain:?}"), format!("{decoded:?}"));
    }
    let decoded = decoded?;
    for (name, tensor) in decoded.inputs {
        let shape = tensor.shape().to_vec();
        let read = Tensor::from_raw(tensor.dtype(), shape, tensor.to_raw())?;
        assert_eq!(read.bytes(), tensor.bytes(), "of '{name}'");
    }
    Ok(())
}

fn decode_predict(message: Bytes) -> Result<()> {
    let Ok(message) = PredictRequest::decode(message) else {
        return Ok(());
    };
    let _ = tfs::codec::target(message.model_spec.as_ref());
    let decoded = tfs::codec::decode(message)?;
    for (name, tensor) in decoded.inputs {
        let written = tfs::codec::tensor_to_proto(&tensor);
        let read = tfs::codec::tensor_from_proto(&name, written)?;
        assert_eq!(read.shape(), tensor.shape(), "of '{name}'");
        assert_eq!(read.bytes(), tensor.bytes(), "of '{name}'");
    }
    Ok(())
}

/// Reads a JSON body. The first byte chooses the protocol; for the Open Inference Protocol with binary parts
/// the next two are the length of the JSON.
pub fn json_body(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else {
        return;
    };
    let decode = |inputs| {
        let signature = signature(inputs);
        let columns = InputColumns::of(&signature, &[]).unwrap_or_default();
        tfs::json::decode(body, table_schema(&signature, &columns)).is_ok()
    };
    let (is_read, json) = match (choice % 4, body) {
        (0, _) => (decode(1), body),
        (1, _) => (decode(3), body),
        (2, [low, high, body @ ..]) => {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let read =
                oip::json::decode(&Bytes::copy_from_slice(body), Some(length), &Regions::off());
            (read.is_ok(), body.get(..length).unwrap_or(body))
        }
        _ => {
            let read = oip::json::decode(&Bytes::copy_from_slice(body), None, &Regions::off());
            (read.is_ok(), body)
        }
    };
    // Long arrays are checked while they are read, by code of this project.
    let is_valid = serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok();
    let has_words = [&b"NaN"[..], b"Infinity"]
        .iter()
        .any(|word| json.windows(word.len()).any(|part| part == *word));
    assert!(is_valid || has_words || !is_read, "malformed JSON was read");
}

/// Reads a table or examples. The first byte chooses the form: MLflow's in JSON or CSV, examples in JSON or in a
/// message; and how many inputs the model has.
pub fn table(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else {
        return;
    };
    let signature = signature(1 + usize::from(choice >> 2) % 3);
    let columns = InputColumns::of(&signature, &[]).unwrap_or_default();
    let schema = table_schema(&signature, &columns);
    let read = match choice % 4 {
        0 => mlflow::table::decode(body, schema),
        1 => mlflow::table::decode_csv(body, schema),
        2 => tfs::examples::decode_json(body, schema).map(|(_, inputs)| inputs),
        _ => match Input::decode(body) {
            Ok(input) => tfs::examples::decode(Some(input), schema),
            Err(_) => return,
        },
    };
    // Whole tensors may have unequal rows, which are refused later.
    let is_table = choice % 4 != 0;
    let rows = |inputs: &NamedTensors| inputs.iter().map(|(_, t)| t.rows()).collect::<Vec<_>>();
    if let Some(rows) = read.ok().filter(|_| is_table).map(|inputs| rows(&inputs)) {
        assert!(rows.windows(2).all(|pair| pair[0] == pair[1]), "{rows:?}");
    }
}

/// Reads the text of an operator or of a load call. The first byte chooses: a configuration as text or as JSON, a list
/// of models, or where metrics are.
pub fn config_text(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else {
        return;
    };
    let (Ok(text), Ok(name)) = (std::str::from_utf8(text), ModelName::parse("m")) else {
        return;
    };
    // Refusing is as good as reading, with a reason that fits a line.
    let refused = match choice % 4 {
        0 => ModelConfig::read(&name, text).err(),
        1 => ModelConfig::read_json(&name, text).err(),
        2 => ModelList::read(text).err(),
        _ => monitoring::read(text).err(),
    };
    if let Some(error) = refused {
        assert!(error.message.len() <= 1024 && !error.message.contains('\n'));
    }
}

/// The first inputs of one of numbers, one of whole numbers and one of strings.
fn signature(inputs: usize) -> Signature {
    let all = [
        tensor_spec("x", DType::F32, &[-1, 4]),
        tensor_spec("n", DType::I64, &[-1]),
        tensor_spec("s", DType::String, &[-1, -1]),
    ];
    Signature {
        inputs: all.into_iter().take(inputs).collect(),
        ..Signature::default()
    }
}
