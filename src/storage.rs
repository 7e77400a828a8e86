//! Storage: objects in a folder or a bucket, their layout, and tables of typed
//! columns.
//!
//! Entry points: [`store`] (the only room that names `object_store`), [`layout`]
//! (which key holds what), [`table`] (CSV and Parquet).
//!
//! May import `core`.

pub mod layout;
pub mod store;
pub mod table;
