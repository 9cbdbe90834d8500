//! The client: the keys, and everything that is done with plaintext. What leaves it is sealed.
//!
//! In reading order:
//!
//! - who can read: [`keys`], [`phrase`], [`keystore`];
//! - what things are called: [`names`];
//! - the data's way: [`cut`], [`seal`], [`pack`], [`manifest`], [`meta`].

pub mod cut;
pub mod keys;
pub mod keystore;
pub mod manifest;
pub mod meta;
pub mod names;
pub mod pack;
pub mod phrase;
pub mod seal;
