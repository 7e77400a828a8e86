//! Integration tests: the table of contents.

#![allow(clippy::print_stdout)]

mod support;

/// The rules of the source tree.
mod tidy;

/// The models that come with Ortus give their golden answers over every protocol.
mod golden;

/// Metadata, status, statistics and health of models.
mod matrix;
mod metadata;

/// Requests and answers in gzip.
mod compression;

/// Models as converters write them by default.
mod converters;

/// Triton's load generator against a server.
mod perf_analyzer;

/// Cases of single operators.
mod nodes;

/// Configurations and files that load calls bring.
mod supplied;

/// Lists of models in TensorFlow Serving's format.
mod listed;

/// Classify and Regress of TensorFlow Serving.
mod examples;

/// A hundred swaps under load lose nothing.
mod swap;

/// Bad requests get typed answers and do not affect others.
mod admission;
mod bad_input;

/// Refusals before the body was read, and the connection after them.
mod unread;

/// What a model's files declare, against its graph.
mod declared;

/// Inputs with a default.
mod defaults;

/// Answers that a protocol cannot write.
mod encoding;

/// Faulty models and clients.
mod faults;

/// Requests of different lengths in one batch.
mod padding;

/// Requests of batches that run again alone.
mod rechecks;

/// Ports, and signals in every phase of the start.
mod starting;

/// Signals, the drain, and the exit code.
mod stopping;

/// Readiness on every surface.
mod readiness;

/// Misuse of HTTP/2.
mod http2;

/// What the fuzz targets found, and what they begin with.
mod fuzz;

/// Performance that is estimated without labels.
mod estimate;

/// The HTML report of a model, and JSON Schemas.
mod report;

/// New bytes under the number of a loaded version.
mod in_place;
mod invariant;

/// First runs, tests in the background, and kept verdicts.
mod first_run;

/// Memory of versions with several lanes.
mod lanes;
mod large_requests;

/// Metrics, alerting rules, spans and the log.
mod observability;

/// Captured predictions, and their replay.
mod capture;

/// Ground-truth labels, and measured performance.
mod compared;
mod labels;
mod late_labels;

/// Which rows are counted for drift.
mod sampling;

/// Batching, and the rows of different callers.
mod rows;

/// Serving from a model directory.
mod differential;
mod directory;

/// A random walk of changes to a model directory under load.
mod walk;

/// A model directory that a server may not search.
mod permissions;

/// Versions whose successors take long to load.
mod replaced;

/// External data is served from a private copy.
mod external_data;

/// Python clients, curl, and a client that knows only reflection.
mod clients;

/// The registry: its commands, its stores, and servers that follow it.
mod registry;

/// The operator API over gRPC.
mod openapi;
mod operator;

/// Baselines and drift, against NumPy and SciPy.
mod drift;

/// Real tables whose known story the monitor must tell.
mod real_tables;

/// What the monitor keeps over a restart.
mod monitor_state;

/// The monitor with odd baselines, columns and stores.
mod monitor_faults;

/// Commands killed at any point.
mod crash;

/// The command line: output and exit codes.
mod command;

/// README and the book: examples, links, pages.
mod documentation;
