//! Paths and names: what is taken shows itself without control characters, and is read back as it was.

#![no_main]

use client::names::{Name, RemotePath, Shown};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let shown = Shown(bytes).to_string();
    assert!(!shown.chars().any(char::is_control));
    match RemotePath::parse(bytes) {
        Ok(path) => {
            let mut again: Vec<u8> = path.names().iter().flat_map(|name| [b"/", name.as_bytes()].concat()).collect();
            if path.must_be_folder() {
                again.push(b'/');
            }
            assert_eq!(again, bytes);
            assert!(path.names().iter().all(|name| Name::new(name.as_bytes()).is_ok()));
            assert!(!path.to_string().chars().any(char::is_control));
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
    if let Err(error) = Name::new(bytes) {
        assert!(!error.to_string().chars().any(char::is_control));
    }
});
