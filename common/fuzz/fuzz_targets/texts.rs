//! Every text that people type or paste: a ticket, a redundancy, a size, an id, an address. What is taken shows itself as a text
//! that is taken again, and means the same. Bytes that are no text are taken as the inside of a ticket, with a right checksum.

#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use common::address::ShardAddress;
use common::id::{ChunkId, NodeId};
use common::redundancy::Redundancy;
use common::size::ByteSize;
use common::ticket::Ticket;
use data_encoding::BASE32_NOPAD;
use libfuzzer_sys::fuzz_target;

fn again<T: FromStr + Display + PartialEq>(text: &str)
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => assert!(value.to_string().parse::<T>().is_ok_and(|again| again == value)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn ticket(text: &str) {
    if let Ok(ticket) = text.parse::<Ticket>() {
        let line = ticket.to_line();
        let same: Ticket = line.parse().expect("its own line");
        assert_eq!(*same.to_line(), *line);
        assert_eq!(same.id(), ticket.id());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let sum = crc32c::crc32c(bytes).to_le_bytes();
        let inside = BASE32_NOPAD.encode(&[bytes, &sum].concat());
        return ticket(&format!("shoal1{}", inside.to_lowercase()));
    };
    again::<Redundancy>(text);
    again::<NodeId>(text);
    again::<ChunkId>(text);
    again::<ShardAddress>(text);
    // A size is shown rounded, so only that it shows itself is checked.
    if let Ok(size) = text.parse::<ByteSize>() {
        assert!(!size.to_string().is_empty());
    }
    ticket(text);
});
