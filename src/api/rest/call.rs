//! A REST request whose body is still arriving.

use crate::api::body::{self, Metered};
use crate::api::headers::RequestHeaders;
use crate::api::inbound::Inbound;
use crate::api::inflate::{self, InflateLimits};
use crate::api::{Charge, Front};
use crate::core::error::Result;
use crate::core::request::Protocol;
use bytes::Bytes;
use http::HeaderMap;
use std::time::Instant;

/// What a handler needs of a request.
pub(crate) struct Call<'c> {
    pub front: &'c Front,
    pub headers: &'c HeaderMap,
    pub arrived: Instant,
    pub charge: &'c Charge,
}

impl<'c> Call<'c> {
    /// The start of a prediction's path.
    pub(crate) fn inbound(&self, protocol: Protocol) -> Inbound<'c, 'c> {
        Inbound {
            predictor: &self.front.predictor,
            protocol,
            headers: RequestHeaders::read(self.headers),
            arrived: self.arrived,
        }
    }

    /// Collects and decompresses the body.
    pub(crate) async fn body(&self, body: Metered) -> Result<Bytes> {
        // Refused before the body is read, which no reading would make readable.
        inflate::encoding(self.headers)?;
        let until = body.deadline();
        let bytes = body::collect(body, self.front.limits.message_bytes_max).await?;
        let limits = InflateLimits {
            max: self.front.limits.decompressed_bytes_max,
            until,
            charge: &|count| self.charge.add(count),
        };
        inflate::decoded(self.headers, bytes, limits).await
    }
}
