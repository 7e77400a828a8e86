//! Tensors with values at their edges, and how each form of an answer is read.

use ortus::proto::tensorflow as tf;
use ortus::testing::graphs;
use serde_json::Value;

/// A datatype with values at its edges, two in a row.
pub(super) struct Sample {
    pub datatype: &'static str,
    /// The datatype in ONNX.
    pub onnx: i32,
    pub tensorflow: tf::DataType,
    /// The elements in JSON.
    pub text: Vec<String>,
    /// The elements in the raw form, each of its own.
    pub raw: Vec<Vec<u8>>,
}

/// A sample of numbers whose JSON is what Rust prints.
macro_rules! numbers {
    ($datatype:literal, $onnx:literal, $tensorflow:ident, $type:ty, $values:expr) => {{
        let values: Vec<$type> = $values.to_vec();
        let text = |value: &$type| match value.to_string().as_str() {
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            text => text.to_owned(),
        };
        Sample {
            datatype: $datatype,
            onnx: $onnx,
            tensorflow: tf::DataType::$tensorflow,
            text: values.iter().map(text).collect(),
            raw: values.iter().map(|v| v.to_le_bytes().to_vec()).collect(),
        }
    }};
}

pub(super) fn samples() -> Vec<Sample> {
    let floats = [
        0.1,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE,
        1e-45,
    ];
    let doubles = [0.1, -0.0, f64::NAN, f64::INFINITY, f64::MIN, 5e-324];
    let words = ["", "a\"b\\", "ü😀", "line\nbreak", "\u{1}", " "];
    vec![
        numbers!("FP32", 1, DtFloat, f32, floats),
        numbers!("FP64", 11, DtDouble, f64, doubles),
        numbers!("INT64", 7, DtInt64, i64, [i64::MIN, i64::MAX, 0, -1]),
        numbers!("UINT64", 13, DtUint64, u64, [u64::MAX, 0, 1 << 53, 9]),
        numbers!("INT32", 6, DtInt32, i32, [i32::MIN, i32::MAX]),
        numbers!("UINT8", 2, DtUint8, u8, [0, 255, 7, 8]),
        Sample {
            datatype: "BOOL",
            onnx: 9,
            tensorflow: tf::DataType::DtBool,
            text: ["true", "false"].map(str::to_owned).to_vec(),
            raw: vec![vec![1], vec![0]],
        },
        Sample {
            datatype: "BYTES",
            onnx: graphs::STRING,
            tensorflow: tf::DataType::DtString,
            text: words.map(|word| Value::from(word).to_string()).to_vec(),
            raw: words.map(|word| word.as_bytes().to_vec()).to_vec(),
        },
    ]
}

impl Sample {
    pub(super) fn model(&self) -> String {
        format!("echo-{}", self.datatype)
    }

    pub(super) fn shape(&self) -> Vec<i64> {
        vec![self.raw.len() as i64 / 2, 2]
    }

    /// The elements as the binary forms have them.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.raw
            .iter()
            .flat_map(|element| match self.datatype {
                "BYTES" => [&(element.len() as u32).to_le_bytes(), &element[..]].concat(),
                _ => element.clone(),
            })
            .collect()
    }

    /// The elements in JSON, a list for each row.
    pub(super) fn rows(&self) -> String {
        let rows = self
            .text
            .chunks(2)
            .map(|row| format!("[{}]", row.join(",")));
        format!("[{}]", rows.collect::<Vec<_>>().join(","))
    }

    /// The elements of an answer in JSON, in their order.
    pub(super) fn of_json(&self, text: &str) -> Vec<Vec<u8>> {
        // What is no JSON, in words.
        let words = text
            .replace("-Infinity", "\"-inf\"")
            .replace("Infinity", "\"inf\"")
            .replace("NaN", "\"NaN\"");
        let value: Value = serde_json::from_str(&words).unwrap_or_else(|e| panic!("{e}: {text}"));
        let mut leaves = Vec::new();
        collect(&value, &mut leaves);
        leaves.into_iter().map(|leaf| self.element(leaf)).collect()
    }

    fn element(&self, leaf: &Value) -> Vec<u8> {
        let float = || match leaf {
            Value::String(word) => word.parse().expect("a number"),
            number => number.as_f64().expect("a number"),
        };
        match self.datatype {
            "FP32" => (float() as f32).to_le_bytes().to_vec(),
            "FP64" => float().to_le_bytes().to_vec(),
            "UINT64" => leaf.as_u64().expect("a number").to_le_bytes().to_vec(),
            "BOOL" => vec![u8::from(leaf.as_bool().expect("a truth value"))],
            "BYTES" => leaf.as_str().expect("a word").as_bytes().to_vec(),
            _ => {
                let width = self.raw[0].len();
                let whole = leaf.as_i64().expect("a number").to_le_bytes();
                whole[..width].to_vec()
            }
        }
    }

    /// The elements of a raw form, in which one NaN is as good as another.
    pub(super) fn of_raw(&self, mut raw: &[u8]) -> Vec<Vec<u8>> {
        if self.datatype != "BYTES" {
            return raw.chunks(self.raw[0].len()).map(<[u8]>::to_vec).collect();
        }
        let mut all = Vec::new();
        while let Some((length, rest)) = raw.split_first_chunk::<4>() {
            let (word, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
            all.push(word.to_vec());
            raw = rest;
        }
        all
    }

    #[track_caller]
    pub(super) fn check(&self, protocol: &str, elements: &[Vec<u8>]) {
        let plain = |element: &Vec<u8>| match (self.datatype, element.as_slice()) {
            ("FP32", bytes) if f32::from_le_bytes(bytes.try_into().expect("4")).is_nan() => vec![],
            ("FP64", bytes) if f64::from_le_bytes(bytes.try_into().expect("8")).is_nan() => vec![],
            (_, bytes) => bytes.to_vec(),
        };
        let plain = |all: &[Vec<u8>]| all.iter().map(plain).collect::<Vec<_>>();
        assert_eq!(
            plain(elements),
            plain(&self.raw),
            "{} over {protocol}",
            self.datatype
        );
    }
}

fn collect<'v>(value: &'v Value, into: &mut Vec<&'v Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|v| collect(v, into)),
        leaf => into.push(leaf),
    }
}

pub(super) use numbers;
