//! What people type or carry around: shares of the phrase, the phrase itself, exported keys. What is taken is printed as it was.

#![no_main]

use client::keystore::export::Closed;
use client::phrase::shares;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match shares::read(text) {
        Ok(found) => {
            let printed: String =
                found.iter().map(|share| format!("{}: {}\n", share.label(), share.words().as_str())).collect();
            assert!(shares::read(&printed).is_ok_and(|again| again == found));
            let _ = shares::combine(&found);
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
    if let Ok(key) = client::phrase::to_key(text) {
        assert!(client::phrase::to_key(&client::phrase::of_key(&key)).is_ok_and(|again| again == key));
    }
    let _ = Closed::parse(text);
});
