//! The command line of `shoal key`, `shoal unlock` and `shoal lock`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::keystore::unlocked::Keeper;
use crate::phrase::shares::{LEAST, MOST};

/// Look after the account's key: check and carry it, protect and split it
///
/// The master key opens everything of the account. The recovery phrase of 24 words is that key; so is an exported key with its
/// passphrase, and so are enough shares of a split phrase.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal key verify                          # is what you wrote down right?
  shoal key passphrase --set                # this device asks for one from now on
  shoal key split --shares 5 --needed 3     # for five people, any three of whom suffice
  shoal key rotate                          # a device or a phrase was lost: another key for everything")]
pub struct Key {
    #[command(subcommand)]
    pub command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    Verify(KeyVerify),
    Phrase(KeyPhrase),
    Export(KeyExport),
    Import(KeyImport),
    Passphrase(KeyPassphrase),
    Split(KeySplit),
    Combine(KeyCombine),
    Rotate(KeyRotate),
}

/// Check that the recovery phrase was written down right
///
/// Asks for four of its words, and says whether all of them are right, but not which. From a pipe it reads the four words, or
/// the whole phrase.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal key verify
  shoal key verify --phrase < phrase.txt    # all 24 words")]
pub struct KeyVerify {
    /// Take all 24 words
    #[arg(long)]
    pub phrase: bool,
}

/// Show the recovery phrase again
///
/// Asks for the passphrase of the key, if it has one, even when it is unlocked. On a terminal it asks once more before it shows
/// anything.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  shoal key phrase")]
pub struct KeyPhrase {
    /// Do not ask before it is shown
    #[arg(long)]
    pub yes: bool,
}

/// Write the key into a file to keep elsewhere, under a passphrase
///
/// The file is text. With the passphrase it brings a new device to the account's files (shoal join --recover-from FILE) or a lost key
/// back to this one (shoal key import FILE); without it, it is noise.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal key export --out anna.key
  shoal key export --export-passphrase-file pass.txt | lpr")]
pub struct KeyExport {
    /// Where to write it; it must not be there yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub passphrase: ExportPassphrase,
}

/// Bring a lost or damaged master key back to this device
///
/// From an exported key, or with --phrase from the recovery phrase on standard input. It is taken only when it is the key of this
/// device's account, which the directory can tell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal key import anna.key
  shoal key import --phrase < phrase.txt
  shoal key combine < shares.txt | shoal key import --phrase")]
pub struct KeyImport {
    /// A file that `shoal key export` wrote; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "phrase", conflicts_with = "phrase")]
    pub file: Option<PathBuf>,

    /// Read the recovery phrase from standard input
    #[arg(long)]
    pub phrase: bool,

    /// Also where there is a key: when its passphrase was forgotten
    #[arg(long)]
    pub replace: bool,

    #[command(flatten)]
    pub passphrase: ExportPassphrase,
}

/// The passphrase of an exported key: not that of this device's.
#[derive(Debug, Args)]
pub struct ExportPassphrase {
    /// File whose first line is the exported key's passphrase, for scripts
    #[arg(long, env = "SHOAL_EXPORT_PASSPHRASE_FILE", hide_env_values = true, value_name = "FILE")]
    pub export_passphrase_file: Option<PathBuf>,
}

/// Say whether this device's key has a passphrase; give it one, change it, or take it away
///
/// With one, the key lies encrypted in this device's home: whoever copies the disk has nothing, and commands ask for the
/// passphrase, or run while the key is unlocked (shoal unlock). A forgotten passphrase costs nothing but a look at the recovery phrase:
/// shoal key import --phrase --replace.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal key passphrase
  shoal key passphrase --set
  shoal key passphrase --change --passphrase-file old.txt --new-passphrase-file new.txt")]
pub struct KeyPassphrase {
    /// Give a key in the open a passphrase
    #[arg(long, group = "what")]
    pub set: bool,

    /// Replace the passphrase
    #[arg(long, group = "what")]
    pub change: bool,

    /// Store the key in the open again
    #[arg(long, group = "what")]
    pub remove: bool,

    /// File whose first line is the new passphrase, for scripts
    #[arg(long, value_name = "FILE", requires = "what")]
    pub new_passphrase_file: Option<PathBuf>,
}

/// Split the recovery phrase into shares, some of which give it back
///
/// Prints one share a line: its label, then 30 words. Give each to somebody else. Fewer than needed say nothing about the phrase,
/// however clever their keepers are.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  shoal key split --shares 5 --needed 3")]
pub struct KeySplit {
    /// How many shares to make
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u8).range(i64::from(LEAST)..=i64::from(MOST)))]
    pub shares: u8,

    /// How many of them are needed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(i64::from(LEAST)..=i64::from(MOST)))]
    pub needed: u8,
}

/// Make the recovery phrase out of its shares
///
/// Reads shares from standard input and prints the phrase. Needs neither a device that has joined nor a network.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal key combine < shares.txt
  shoal key combine < shares.txt | shoal join --recover TICKET")]
pub struct KeyCombine {}

/// Give the account another master key: when the old one, or its phrase, may be in other hands
///
/// Makes a new key, shows its recovery phrase, and has everything that is sealed for this account sealed anew; the files on the peers stay as
/// they are. From the first moment on the directory takes nothing under the old key, so other devices of this account need the new one:
/// shoal key import --phrase --replace. Links to folders and links that follow a file end; links to one version stay.
///
/// May be broken off at any time: repeated, on this device or on another one that has the new key, it goes on. What somebody has read or copied
/// before stays known to him.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal key rotate
  shoal key rotate --yes > new-phrase.txt   # for scripts: the phrase alone is on standard output")]
pub struct KeyRotate {
    /// Do not ask whether the new phrase was written down
    #[arg(long)]
    pub yes: bool,
}

/// Open this device's key for a time, so that commands do not ask for its passphrase
///
/// Until the time is over, the machine restarts or `shoal lock`, every command of this user works without the passphrase. What opens
/// the key is kept by the kernel and is nowhere on a disk.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal unlock
  shoal unlock --for 30m")]
pub struct Unlock {
    /// How long
    #[arg(long = "for", value_name = "TIME", default_value = "8h", value_parser = span)]
    pub span: Duration,

    /// Who keeps it: kernel, its keyring; file, one in memory below XDG_RUNTIME_DIR [default: the kernel if it can]
    #[arg(long, value_name = "WHO")]
    pub keeper: Option<KeeperArg>,
}

/// `kernel` or `file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeeperArg {
    Kernel,
    File,
}

impl From<KeeperArg> for Keeper {
    fn from(keeper: KeeperArg) -> Self {
        match keeper {
            KeeperArg::Kernel => Self::Kernel,
            KeeperArg::File => Self::File,
        }
    }
}

/// Forget what `shoal unlock` opened: the next command asks for the passphrase
#[derive(Debug, Args)]
#[command(after_help = "Example:
  shoal lock")]
pub struct Lock {}

/// Up to a month: who wants it longer wants no passphrase.
fn span(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);
    let span = humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 30m, 8h or 2days"))?;
    if span < Duration::from_secs(1) || span > LONGEST {
        return Err("it must be from 1s to 31days".to_owned());
    }
    Ok(span)
}
