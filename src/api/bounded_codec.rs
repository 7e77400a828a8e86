//! Encodes and decodes the messages of gRPC services. Refuses what is malformed as the caller's mistake, and what
//! would take too much memory before it is decoded.

use super::decoded_size;
use super::inbound::malformed;
use bytes::Buf;
use prost::{Message, Name};
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

/// The codec of a call that sends `T` and receives `U`.
#[derive(Debug)]
pub(crate) struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder {
            name: U::full_name(),
            message: PhantomData,
        }
    }
}

/// Decodes one kind of message.
#[derive(Debug)]
pub(crate) struct BoundedDecoder<U> {
    name: String,
    message: PhantomData<U>,
}

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = source.copy_to_bytes(source.remaining());
        decoded_size::check(&self.name, &bytes)?;
        let message = U::decode(bytes).map_err(|e| malformed(&e))?;
        Ok(Some(message))
    }
}
