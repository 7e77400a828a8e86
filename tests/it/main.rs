//! Integration tests: the table of contents.

#![allow(clippy::print_stdout)]

mod support;

/// The rules of the source tree.
mod tidy;

/// The models that come with Ortus give their golden answers over every protocol.
mod golden;

/// Metadata, status, statistics and health of models.
mod metadata;

/// Requests and answers in gzip.
mod compression;

/// A hundred swaps under load lose nothing.
mod swap;

/// Bad requests get typed answers and harm nobody.
mod bad_input;

/// Answers that a protocol cannot write.
mod encoding;

/// Models and clients that take more than their share.
mod faults;

/// HTTP/2 misused.
mod http2;

/// What the scores alone say of how good a model is.
mod estimate;

/// The page about a model.
mod report;

/// What others see: metrics, rules, spans, the log.
mod observability;

/// Predictions that are kept, and sent again.
mod capture;

/// Labels that come back, and what they measure.
mod labels;

/// What the model directory does to what serves.
mod directory;

/// Python clients, curl, and a client that knows only reflection.
mod clients;

/// The registry: on S3, by its commands, and served from.
mod registry;

/// The operator API over gRPC.
mod operator;

/// Baselines and drift, against NumPy and SciPy.
mod drift;

/// Commands killed at any point.
mod crash;

/// The command line's contract.
mod command;

/// README and the book: examples, links, pages.
mod documentation;
