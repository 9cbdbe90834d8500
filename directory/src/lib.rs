//! The directory.

pub mod kv;
pub mod schema;
