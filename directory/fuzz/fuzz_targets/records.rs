//! Every record and key of the store: `[what u8][bytes]`. A record that is taken is written again and must be read as the same.

#![no_main]

use directory::schema::record::{decode, encode};
use directory::schema::*;
use libfuzzer_sys::fuzz_target;

fn stable<R: Record>(bytes: &[u8]) {
    match decode::<R>(bytes) {
        Ok(record) => {
            let written = encode(&record).expect("what was read can be written");
            let again = decode::<R>(&written).expect("what was written can be read");
            assert_eq!(encode(&again).unwrap(), written);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((what, bytes)) = bytes.split_first() else { return };
    match what {
        0 => stable::<Account>(bytes),
        1 => stable::<account::Named>(bytes),
        2 => stable::<Chunk>(bytes),
        3 => stable::<Device>(bytes),
        4 => stable::<Done>(bytes),
        5 => stable::<Entry>(bytes),
        6 => stable::<Cluster>(bytes),
        7 => stable::<Generation>(bytes),
        8 => stable::<Node>(bytes),
        9 => stable::<Page>(bytes),
        10 => stable::<Peer>(bytes),
        11 => stable::<Pending>(bytes),
        12 => stable::<Held>(bytes),
        13 => stable::<Hold>(bytes),
        14 => stable::<Mark>(bytes),
        15 => stable::<Ticket>(bytes),
        16 => stable::<Version>(bytes),
        17 => stable::<Start>(bytes),
        18 => stable::<Fence>(bytes),
        19 => stable::<Recode>(bytes),
        65 => stable::<Snapshot>(bytes),
        66 => stable::<Going>(bytes),
        67 => stable::<Usage>(bytes),
        68 => stable::<Quota>(bytes),
        56 => stable::<Share>(bytes),
        57 => stable::<Guests>(bytes),
        93 => stable::<Content>(bytes),
        94 => stable::<Packed>(bytes),
        _ => {
            let _ = key::id_of_device(bytes);
            let _ = key::ids_of_pending(bytes);
            let _ = key::id_of_ticket(bytes);
            let _ = key::time_of_moment(bytes);
            let _ = key::chunk_of_hold(bytes);
            let _ = key::ids_of_chunk(bytes);
            let _ = key::ids_of_done_at(bytes);
            let _ = key::ids_of_held(bytes);
            let _ = key::ids_of_reference(bytes);
            let _ = key::ids_of_page(bytes);
            let _ = key::ids_of_hold(bytes);
            let _ = key::since_of_past(bytes);
            let _ = key::token_of_past(bytes);
            let _ = key::time_of_change(bytes);
            let _ = key::ids_of_entry_history(bytes);
            let _ = key::ids_of_node_history(bytes);
            let _ = key::place_of_entry(bytes);
            let _ = key::ids_of_content(bytes);
            let _ = key::ids_of_packed(bytes);
        }
    }
});
