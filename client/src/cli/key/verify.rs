//! `shoal key verify` and `shoal key phrase`: is what was written down right, and if not, what is?
//!
//! Verifying says whether all words are right and never which, and tells nobody anything who does not have this device's key.
//! Showing the phrase again gives nothing away, either: whoever can run it can read the key. It exists because paper is lost, and
//! because the alternative for somebody whose paper is wrong is to lose the files with the device.

use std::io::IsTerminal;

use serde_json::json;
use zeroize::Zeroizing;

use super::{KeyError, read_stdin};
use crate::cli::Outcome;
use crate::cli::args::{KeyPhrase, KeyVerify};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::passphrase;
use crate::cli::terminal::Terminal;
use crate::keys::{MasterKey, random};
use crate::phrase;

/// So many words are asked for: guessed by one in 2048^4.
const ASKED: usize = 4;
/// Longest input that is taken for a phrase.
const INPUT_BYTES: usize = 16 << 10;

pub(super) async fn verify(context: &mut Context, args: KeyVerify) -> Outcome {
    let home = passphrase::open_home(&context.global, context.home()?).await?;
    let right = match Terminal::open().filter(|_| std::io::stdin().is_terminal()) {
        Some(terminal) => ask_twice(&terminal, &home.master, args.phrase).await?,
        None => from_pipe(context, &home.master, args.phrase).await?,
    };
    if !right {
        return Err(KeyError::WrongPhrase.into());
    }
    if context.output.is_json() {
        context.output.object(&json!({ "event": "verified", "all": args.phrase }))?;
    } else {
        let what = if args.phrase { "all 24 words" } else { "the words" };
        context.output.line(format_args!("right: {what} are those of this account's recovery phrase"))?;
    }
    Ok(Exit::Ok)
}

/// On a terminal a typing error may be mended once, with other words.
async fn ask_twice(terminal: &Terminal, master: &MasterKey, all: bool) -> anyhow::Result<bool> {
    for again in [true, false] {
        let asked: Vec<usize> = if all { (1..=phrase::WORDS).collect() } else { positions().to_vec() };
        let mut given = Vec::with_capacity(asked.len());
        for position in &asked {
            given.push(terminal.ask(&format!("Word {position}: ")).await?);
            if all && given.iter().map(|text| text.split_whitespace().count()).sum::<usize>() >= phrase::WORDS {
                break; // typed on one line
            }
        }
        let given = Zeroizing::new(given.iter().map(|line| line.as_str()).collect::<Vec<_>>().join(" "));
        if is_right(master, &asked, &given) {
            return Ok(true);
        }
        if again {
            terminal.say("At least one of them is wrong. Once more, please.")?;
        }
    }
    Ok(false)
}

async fn from_pipe(context: &Context, master: &MasterKey, all: bool) -> anyhow::Result<bool> {
    if all {
        let given = read_stdin(INPUT_BYTES).await?;
        return Ok(is_right(master, &(1..=phrase::WORDS).collect::<Vec<_>>(), &given));
    }
    let asked = positions();
    let [a, b, c, d] = asked;
    context.note(&format!("give words {a}, {b}, {c} and {d} of the recovery phrase, or all of them"));
    let given = read_stdin(INPUT_BYTES).await?;
    let whole: Vec<usize> = (1..=phrase::WORDS).collect();
    let asked = if given.split_whitespace().count() == phrase::WORDS { whole.as_slice() } else { asked.as_slice() };
    Ok(is_right(master, asked, &given))
}

/// Whether the words are those at the positions, which count from one.
fn is_right(master: &MasterKey, asked: &[usize], given: &str) -> bool {
    let words = phrase::of_key(master);
    let words: Vec<&str> = words.split(' ').collect();
    let wanted: Vec<&str> = asked.iter().filter_map(|at| words.get(at - 1).copied()).collect();
    let given: Zeroizing<Vec<String>> = Zeroizing::new(given.split_whitespace().map(str::to_lowercase).collect());
    wanted.len() == asked.len() && wanted == given.iter().map(String::as_str).collect::<Vec<_>>()
}

/// Different ones, in the order of the phrase.
fn positions() -> [usize; ASKED] {
    let mut places: Vec<usize> = (1..=phrase::WORDS).collect();
    let mut chosen = [0; ASKED];
    for place in &mut chosen {
        // 2^32 is no multiple of 24, and nobody can tell.
        let drawn = u32::from_le_bytes(random()) as usize % places.len();
        *place = places.swap_remove(drawn);
    }
    chosen.sort_unstable();
    chosen
}

pub(super) async fn show(context: &mut Context, args: KeyPhrase) -> Outcome {
    let home = passphrase::open_with_passphrase(&context.global, context.home()?).await?;
    if !args.yes {
        let Some(terminal) = Terminal::open() else { return Err(KeyError::NotConfirmed.into()) };
        let answer = terminal.ask("The phrase will stand on this screen. Type yes if nobody else can see it: ").await?;
        if answer.trim() != "yes" {
            return Err(KeyError::NotConfirmed.into());
        }
    }
    let words = phrase::of_key(&home.master);
    let output = &mut context.output;
    if output.is_json() {
        output.object(&json!({ "recovery_phrase": words.as_str() }))?;
    } else if std::io::stdout().is_terminal() {
        let words: Vec<&str> = words.split(' ').collect();
        for line in words.chunks(6) {
            output.line(format_args!("    {}", line.join(" ")))?;
        }
    } else {
        output.line(words.as_str())?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_asked_for_by_different_places_in_order_and_all_places_occur() {
        let mut seen = [false; phrase::WORDS + 1];
        for _ in 0..2_000 {
            let asked = positions();
            assert!(asked.is_sorted_by(|a, b| a < b), "{asked:?}");
            asked.iter().for_each(|at| seen[*at] = true);
        }
        assert_eq!(seen.iter().filter(|seen| **seen).count(), phrase::WORDS);
    }

    #[test]
    fn all_words_must_be_right_and_in_their_order() {
        let master = MasterKey([7; 32]);
        let words = phrase::of_key(&master);
        let words: Vec<&str> = words.split(' ').collect();
        let (second, last) = (words[1], words[23]);
        assert!(is_right(&master, &[2, 24], &format!(" {}\n{last}", second.to_uppercase())));
        for wrong in [second.to_owned(), format!("{second} {second}"), format!("{second} {last} {last}"), String::new()]
        {
            assert!(!is_right(&master, &[2, 24], &wrong), "{wrong}");
        }
    }
}
