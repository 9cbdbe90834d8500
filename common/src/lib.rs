//! What directory, peer and client have in common: the words as types, the wire, and the identity under it.
//!
//! In reading order:
//!
//! - words: [`id`], [`address`], [`size`], [`time`], [`redundancy`], [`bounded`], [`limits`], [`codec`];

pub mod address;
pub mod bounded;
pub mod codec;
pub mod id;
pub mod limits;
pub mod redundancy;
pub mod size;
pub mod time;
