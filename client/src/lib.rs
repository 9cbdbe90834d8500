//! The client: the keys, and everything that is done with plaintext. What leaves it is sealed.
//!
//! In reading order:
//!
//! - who can read: [`keys`], [`phrase`], [`keystore`];
//! - what things are called: [`names`];
//! - the way to the cluster, and the tree in it: [`session`], [`folder`]; as it was: [`past`];
//! - the data's way: [`cut`], [`seal`], [`pack`], [`content`], [`manifest`], [`meta`];
//! - what is handed on: [`share`];
//! - content on its way: [`transfer`] (jobs and their outcomes), `ahead` (how much at once), `pace` (which peers are slow), [`up`] (and [`conflict`]s), [`down`], [`local`] (this machine's files);
//! - [`sync`], which makes one folder like another;
//! - packs that are mostly dead, written anew: [`repack`]; another master key: [`rekey`];
//! - the command line on top: [`cli`], stopped by [`cancel`]; and [`bench`], which measures all of it.

mod ahead;
pub mod bench;
pub mod cancel;
pub mod cli;
pub mod conflict;
pub mod content;
pub mod cut;
pub mod down;
pub mod folder;
pub mod keys;
pub mod keystore;
pub mod local;
pub mod manifest;
pub mod meta;
pub mod names;
mod pace;
pub mod pack;
pub mod past;
pub mod phrase;
pub mod rekey;
pub mod repack;
pub mod seal;
pub mod session;
pub mod share;
pub mod sync;
pub mod transfer;
pub mod up;
