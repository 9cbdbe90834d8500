//! Tests of shares: every subset, and everything that can be wrong with what people type.

use proptest::prelude::*;

use super::*;

const KEY: MasterKey = MasterKey([7; 32]);

fn subset(shares: &[Share], mask: u32) -> Vec<Share> {
    shares.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, share)| share.clone()).collect()
}

#[test]
fn any_subset_that_is_large_enough_gives_the_key_and_no_smaller_one() {
    for (needed, all) in [(2, 2), (2, 3), (3, 5), (5, 5), (4, 7)] {
        let shares = split(&KEY, needed, all).unwrap();
        for mask in 0..1_u32 << all {
            let chosen = subset(&shares, mask);
            let combined = combine(&chosen);
            match chosen.len() {
                0 => assert_eq!(combined, Err(ShareError::None)),
                found if found < usize::from(needed) => {
                    let set = shares[0].set();
                    assert_eq!(combined, Err(ShareError::TooFew { set, needed, found }));
                }
                _ => assert_eq!(combined, Ok(KEY), "{needed} of {all}, {mask:b}"),
            }
        }
    }
}

#[test]
fn fewer_shares_than_needed_fit_every_key() {
    // With one share of two there is, for each first byte, a second share that makes it the key's: it says nothing.
    let share = &split(&KEY, 2, 2).unwrap()[0];
    let mut bytes: Vec<u8> = (0..=255)
        .map(|byte| {
            let mut other = Share { index: 3 - share.index, ..share.clone() };
            other.value[0] = byte;
            interpolate(&[share, &other]).unwrap().0[0]
        })
        .collect();
    bytes.sort_unstable();
    assert_eq!(bytes, (0..=255).collect::<Vec<_>>());
}

#[test]
fn the_same_share_twice_counts_once_and_one_too_many_that_lies_is_noticed() {
    let shares = split(&KEY, 3, 4).unwrap();
    let twice = [shares[0].clone(), shares[1].clone(), shares[0].clone()];
    assert!(matches!(combine(&twice), Err(ShareError::TooFew { found: 2, .. })));
    let mut forged = shares.clone();
    forged[3].value[9] ^= 1;
    assert!(matches!(combine(&forged), Err(ShareError::Contradiction { .. })));
    forged[3] = Share { index: shares[0].index, ..forged[3].clone() };
    assert!(matches!(combine(&forged), Err(ShareError::Contradiction { .. })));
    forged[3] = Share { needed: 2, ..shares[3].clone() };
    assert!(matches!(combine(&forged), Err(ShareError::Contradiction { .. })));
}

#[test]
fn shares_of_two_sets_of_one_key_do_not_mix() {
    let (a, b) = (split(&KEY, 2, 3).unwrap(), split(&KEY, 2, 3).unwrap());
    let error = combine(&[a[0].clone(), b[1].clone()]).unwrap_err();
    assert_eq!(error, ShareError::Mixed { sets: vec![a[0].set(), b[0].set()] });
}

#[test]
fn they_are_read_as_they_are_printed_and_as_people_type_them() {
    let shares = split(&KEY, 2, 3).unwrap();
    let lines: Vec<String> = shares.iter().map(|share| format!("{}: {}", share.label(), *share.words())).collect();
    assert_eq!(read(&lines.join("\n")).unwrap(), shares);
    assert_eq!(read(&lines.join("\n").to_uppercase().replace(' ', "\n")).unwrap(), shares);
    let bare: Vec<String> = shares.iter().map(|share| share.words().to_string()).collect();
    for between in ["\n", "\n\n\n", " "] {
        assert_eq!(read(&bare.join(between)).unwrap(), shares, "{between:?}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_share() {
    let shares = split(&KEY, 2, 3).unwrap();
    let words = |at: usize| shares[at].words().to_string();
    let (label, other) = (shares[1].label(), shares[2].label());
    let which = format!("share {label}");
    assert_eq!(read(" \n\n"), Err(ShareError::None));
    let without_last = words(1).rsplit_once(' ').unwrap().0.to_owned();
    let short = format!("{}\n{label}: {without_last}\n{other}: {}", words(0), words(2));
    assert_eq!(read(&short), Err(ShareError::Count { which: which.clone(), found: 29 }));
    let short = format!("{}\n\n{without_last}\n\n{}", words(0), words(2));
    assert_eq!(read(&short), Err(ShareError::Count { which: "share 2".to_owned(), found: 29 }));
    let mistyped = format!("{label} {}", words(1).replacen(' ', "x ", 1));
    assert!(matches!(read(&mistyped), Err(ShareError::Word { position: 1, .. })));
    let all = words(1);
    let mut swapped: Vec<&str> = all.split(' ').collect();
    swapped.rotate_left(1);
    assert_eq!(read(&swapped.join(" ")), Err(ShareError::Checksum { which: "share 1".to_owned() }));
    let numbered = read(&format!("1. {all}"));
    assert!(matches!(numbered, Err(ShareError::Count { .. } | ShareError::Word { .. })), "{numbered:?}");
    let relabelled = format!("{other}: {}", words(1));
    assert_eq!(read(&relabelled), Err(ShareError::Label { which: format!("share {other}"), found: label }));
    assert!(matches!(read(crate::phrase::of_key(&KEY).as_str()), Err(ShareError::Count { found: 24, .. })));
}

#[test]
fn golden_words_of_a_share() {
    let share = Share { set: [0xa1, 0xb2, 0xc3], needed: 3, index: 4, value: Zeroizing::new([7; 32]) };
    assert_eq!((share.label().as_str(), format!("{share:?}").as_str()), ("a1b2c3-4", "Share(a1b2c3-4, needs 3)"));
    let words = "accuse assault radio alcohol document logic bright thought alpha deal scrub asthma idea logic bright thought \
                 alpha deal scrub asthma idea logic bright thought alpha deal scrub asthma resource define";
    assert_eq!(*share.words(), words);
    assert_eq!(read(&share.words()), Ok(vec![share]));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    for (needed, shares) in [(0, 3), (1, 3), (4, 3), (2, 33), (2, 1), (2, 0)] {
        assert_eq!(split(&KEY, needed, shares), Err(ShareError::Numbers { needed, shares }));
    }
    assert_eq!(split(&KEY, 32, 32).map(|shares| combine(&shares)), Ok(Ok(KEY)));
}

proptest! {
    #[test]
    fn every_changed_word_is_noticed_and_no_text_panics(
        key in any::<[u8; 32]>(), at in 0..WORDS, by in 1..2048_usize, text in "[a-z0-9 \n:-]*|.*",
    ) {
        let list = Language::English.word_list();
        let share = split(&MasterKey(key), 2, 2).unwrap().remove(0);
        let words = share.words();
        let mut words: Vec<&str> = words.split(' ').collect();
        let old = usize::from(Language::English.find_word(words[at]).unwrap());
        words[at] = list[(old + by) % 2048];
        let read_back = read(&words.join(" "));
        prop_assert!(matches!(read_back, Err(ShareError::Checksum { .. })), "{:?}", read_back);
        let _ = read(&text);
    }
}
