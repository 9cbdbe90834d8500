//! A storage node: holds shards, serves them to their account's devices, and obeys the directory alone.
//!
//! In reading order:
//!
//! - what lies in the data folder: [`folder`], [`known`], [`headed`], and the shards in [`store`];
//! - how it comes to be: [`join`], [`draft`]; how it is run: [`config`], [`serve`]; how it is asked from outside: [`status`];
//! - who may ask what: [`authorize`], [`checked`], [`spent`];
//! - what is asked: by devices [`put`], [`chain`], [`get`], by peers [`fetch`], by the directory [`orders`], [`make`] (from [`sources`]), [`inventory`];
//!   dispatched in [`service`]; the way to other peers: [`neighbours`];
//! - what it does by itself: [`scrub`], [`purge`];
//! - what it tells the directory: [`heartbeat`], [`renew`].
//!
//! Start it within another program with [`run`].

pub mod authorize;
mod chain;
mod checked;
pub mod config;
pub mod draft;
mod fetch;
pub mod folder;
mod get;
mod headed;
mod heartbeat;
mod inventory;
pub mod join;
pub mod known;
mod make;
mod neighbours;
mod orders;
mod purge;
mod put;
mod recent;
mod renew;
pub mod scrub;
pub mod serve;
mod service;
mod sources;
mod spent;
pub mod status;
pub mod store;
#[cfg(test)]
mod tests;

pub use config::ServeConfig;
pub use serve::{ServeError, run};
