//! The directory: what exists, whose it is, and where its shards are.
//!
//! In reading order:
//!
//! - [`kv`]: the ordered transactional store under everything;
//! - [`schema`]: every key and value in it;
//! - [`transact`]: the one loop that reads, decides, commits and tries again; [`op`]: what each request decides;
//! - [`members`]: who is there, and the cluster map; [`authorize`]: who may ask what; [`authority`]: the cluster's keys;
//! - [`service`]: a request from connection to answer; [`status`]: counting; [`janitor`]: what happens without being asked;
//! - [`init`], [`serve`] ([`run`] for tests), [`admin`]: what the commands do; [`config`]: every default.

pub mod admin;
pub mod authority;
pub mod authorize;
pub mod config;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod init;
pub mod janitor;
pub mod kv;
pub mod members;
pub mod op;
pub mod schema;
pub mod serve;
pub mod service;
pub mod status;
pub mod transact;
pub mod work;

pub use config::Config;
pub use init::{InitOptions, init};
pub use serve::run;
