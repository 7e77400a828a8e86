//! A connection over which one request follows the other.

use super::Server;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A connection that stays open.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.http).expect("connects");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// Predicts a row of the model `m`; returns the prediction id.
    pub(crate) fn predict(&mut self) -> String {
        const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[1]}]}"#;
        let head = format!(
            "POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            BODY.len()
        );
        let stream = self.0.get_mut();
        let sent = stream.write_all(head.as_bytes());
        sent.and_then(|()| stream.write_all(BODY.as_bytes()))
            .expect("sent");

        let (mut id, mut length, mut line) = (String::new(), 0, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("a line");
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line == "\r\n" {
                    break;
                }
                assert!(line.starts_with("HTTP/1.1 200"), "{line}");
                continue;
            };
            match name {
                "ortus-prediction-id" => value.clone_into(&mut id),
                "content-length" => length = value.parse().expect("a number"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        id
    }
}
