//! `shoal key split` and `shoal key combine`: the recovery phrase as shares for several people.

use std::io::IsTerminal;

use serde_json::json;

use super::read_stdin;
use crate::cli::Outcome;
use crate::cli::args::{KeyCombine, KeySplit};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::passphrase;
use crate::phrase;
use crate::phrase::shares::{self, Share};

pub(super) async fn split(context: &mut Context, args: KeySplit) -> Outcome {
    let home = passphrase::open_with_passphrase(&context.global, context.home()?).await?;
    let shares = shares::split(&home.master, args.needed, args.shares)?;
    let set = shares.first().map(Share::set).unwrap_or_default();
    if context.output.is_json() {
        let list: Vec<_> =
            shares.iter().map(|share| json!({ "label": share.label(), "words": share.words().as_str() })).collect();
        context.output.object(&json!({ "set": set, "needed": args.needed, "shares": list }))?;
        return Ok(Exit::Ok);
    }
    context.note(&format!(
        "set {set}: any {} of these {} shares give the recovery phrase back (shoal key combine); give each to somebody else",
        args.needed, args.shares
    ));
    let wide = !std::io::stdout().is_terminal();
    for share in &shares {
        let words = share.words();
        if wide {
            context.output.line(format_args!("{}: {}", share.label(), *words))?;
            continue;
        }
        // On a screen, or on paper, thirty words in a row are hard to follow.
        context.output.line(format_args!("{}:", share.label()))?;
        for line in words.split(' ').collect::<Vec<_>>().chunks(6) {
            context.output.line(format_args!("    {}", line.join(" ")))?;
        }
        context.output.line("")?;
    }
    Ok(Exit::Ok)
}

pub(super) async fn combine(context: &mut Context, KeyCombine {}: KeyCombine) -> Outcome {
    if std::io::stdin().is_terminal() {
        context.note("type the shares, each with its 30 words, an empty line between; then Enter and Ctrl-D");
    }
    let given = shares::read(&read_stdin(shares::TEXT_BYTES).await?)?;
    let words = phrase::of_key(&shares::combine(&given)?);
    if context.output.is_json() {
        context.output.object(&json!({ "recovery_phrase": words.as_str() }))?;
    } else {
        context.output.line(words.as_str())?;
    }
    Ok(Exit::Ok)
}
