//! The registry as its users meet it: on a real S3 server, through its
//! commands, and as what a server follows.

mod commands;
mod follow;
mod golden;
mod promotions;
mod signatures;
mod store;
mod traffic;
