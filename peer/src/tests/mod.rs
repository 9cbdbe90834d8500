//! A whole peer on loopback, asked by devices and governed by a directory.

mod chain;
mod cluster;
mod fetch;
mod join;
mod make;
mod orders;
mod refused;
mod store_and_read;
mod upkeep;
