//! The client: the keys, and everything that is done with plaintext. What leaves it is sealed.
//!
//! In reading order:
//!
//! - who can read: [`keys`], [`phrase`], [`keystore`];
//! - what things are called: [`names`];
//! - the data's way: [`cut`], [`seal`], [`pack`], [`manifest`], [`meta`].

pub mod cancel;
pub mod cli;
pub mod cut;
pub mod down;
pub mod folder;
pub mod keys;
pub mod keystore;
pub mod local;
pub mod manifest;
pub mod meta;
pub mod names;
pub mod pack;
pub mod phrase;
pub mod seal;
pub mod session;
pub mod transfer;
pub mod up;
