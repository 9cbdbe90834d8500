//! A whole peer on loopback, asked by devices and governed by a directory.

mod chain;
mod cluster;
mod fetch;
mod join;
mod make;
mod orders;
mod refused;
mod scrub;
mod store_and_read;
