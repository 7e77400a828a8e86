//! The registry as its users meet it: its commands, stores in a folder and on a real S3
//! server, and servers that follow it.

mod commands;
mod follow;
mod golden;
mod over_http;
mod promotions;
mod signatures;
mod store;
mod traffic;
