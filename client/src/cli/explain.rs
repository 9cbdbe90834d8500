//! Explain: from a typed error to what the user reads: what, why, and the next command; and to the exit code.
//!
//! The chain of causes is searched from the outside in; the first error that is known here decides.

mod keys;
mod past;
mod share;
mod sync;

use std::error::Error;
use std::io;
use std::sync::Arc;

use common::proto::Refusal;
use common::ticket::TicketError;
use common::transport::{BindError, CallError};
use serde_json::Value;

use super::error::CommandError;
use super::exit::Exit;
use super::explain_past::judge_past;
use super::output::error_object;
use crate::bench::BenchError;
use crate::cancel::Interrupted;
use crate::down::DownError;
use crate::folder::FolderError;
use crate::folder::destination::Nowhere;
use crate::folder::snapshot::SnapshotError;
use crate::local::LocalError;
use crate::names::PathError;
use crate::past::PastError;
use crate::past::when::WhenError;
use crate::phrase::PhraseError;
use crate::rekey::RekeyError;
use crate::seal::IntegrityError;
use crate::session::SessionError;
use crate::session::enroll::EnrollError;
use crate::sync::SyncError;
use crate::up::UpError;

/// What an error means for whoever sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub exit: Exit,
    /// What to do next, where the error's own text does not say.
    pub hint: Option<String>,
    /// Nothing is said: the reader has gone.
    pub silent: bool,
}

impl Verdict {
    fn new(exit: Exit) -> Self {
        Self { exit, hint: None, silent: false }
    }

    pub(super) fn hint(exit: Exit, hint: impl Into<String>) -> Self {
        Self { exit, hint: Some(hint.into()), silent: false }
    }

    fn gone() -> Self {
        Self { exit: Exit::Ok, hint: None, silent: true }
    }
}

/// Judges an error by the first in its chain that is known.
#[must_use]
pub fn judge(error: &(dyn Error + 'static)) -> Verdict {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(verdict) = judge_one(error) {
            return verdict;
        }
        next = error.source();
    }
    Verdict::new(Exit::Failure)
}

fn judge_one(error: &(dyn Error + 'static)) -> Option<Verdict> {
    if let Some(error) = error.downcast_ref::<FolderError>() {
        return judge_folder(error);
    }
    if let Some(error) = error.downcast_ref::<PastError>() {
        return judge_past(error);
    }
    if let Some(error) = error.downcast_ref::<SnapshotError>() {
        return past::judge_snapshot(error);
    }
    if let Some(error) = error.downcast_ref::<UpError>() {
        return judge_up(error);
    }
    if let Some(error) = error.downcast_ref::<DownError>() {
        return judge_down(error);
    }
    if let Some(error) = error.downcast_ref::<SessionError>() {
        return judge_session(error);
    }
    if let Some(error) = error.downcast_ref::<EnrollError>() {
        return Some(judge_enroll(error));
    }
    if let Some(error) = error.downcast_ref::<CommandError>() {
        return Some(judge_command(error));
    }
    if let Some(verdict) = keys::judge(error) {
        return Some(verdict);
    }
    if let Some(error) = error.downcast_ref::<LocalError>() {
        return judge_local(error);
    }
    if let Some(error) = error.downcast_ref::<RekeyError>() {
        return judge_rekey(error);
    }
    if let Some(error) = error.downcast_ref::<CallError>() {
        return Some(judge_call(error));
    }
    if let Some(error) = error.downcast_ref::<BenchError>() {
        return judge_bench(error);
    }
    if let Some(error) = error.downcast_ref::<SyncError>() {
        return sync::judge(error);
    }
    if let Some(error) = error.downcast_ref::<Arc<io::Error>>() {
        return judge_io(error);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return judge_io(error);
    }
    if let Some(verdict) = share::judge(error) {
        return Some(verdict);
    }
    if error.is::<Interrupted>() {
        return Some(Verdict::new(Exit::Interrupted));
    }
    if error.is::<IntegrityError>() {
        return Some(Verdict::new(Exit::Integrity));
    }
    if error.is::<PathError>() || error.is::<WhenError>() {
        return Some(Verdict::new(Exit::Usage));
    }
    if error.is::<PhraseError>() || error.is::<TicketError>() {
        return Some(Verdict::new(Exit::Authentication));
    }
    None
}

fn judge_folder(error: &FolderError) -> Option<Verdict> {
    let failure = Verdict::hint;
    Some(match error {
        FolderError::Session(error) => return judge_session(error),
        FolderError::Interrupted(_) => Verdict::new(Exit::Interrupted),
        FolderError::Path(_) => Verdict::new(Exit::Usage),
        FolderError::Integrity { .. } | FolderError::Misbehaved { .. } | FolderError::ContentGone { .. } => {
            Verdict::new(Exit::Integrity)
        }
        FolderError::Exists { .. } => Verdict::new(Exit::Conflict),
        FolderError::Changed { .. } => failure(Exit::Conflict, "look again with shoal ls, and repeat the command"),
        FolderError::Refused { source, .. } => judge_refusal(source),
        FolderError::IsAFolder { .. } => failure(Exit::Failure, "add -r for a folder with all that is in it"),
        FolderError::Destination { path, why } => judge_destination(path, *why),
        FolderError::NotFound { .. } => failure(Exit::Failure, "see what is there with shoal ls"),
        FolderError::NotAFile { .. } => failure(Exit::Failure, "see what is in it with shoal ls"),
        FolderError::NotAFolder { .. }
        | FolderError::IsALink { .. }
        | FolderError::Root { .. }
        | FolderError::Same { .. }
        | FolderError::IntoItself { .. }
        | FolderError::Seal(_)
        | FolderError::Manifest(_) => Verdict::new(Exit::Failure),
    })
}

fn judge_destination(path: &str, why: Nowhere) -> Verdict {
    match why {
        Nowhere::NoFolder | Nowhere::NoFolderForFile => {
            Verdict::hint(Exit::Failure, format!("make it first: shoal mkdir -p {path}"))
        }
        Nowhere::NoParent => {
            let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
            Verdict::hint(Exit::Failure, format!("make it first: shoal mkdir -p {parent}"))
        }
        Nowhere::NeedsName => Verdict::hint(Exit::Failure, format!("write {}/NAME", path.trim_end_matches('/'))),
        Nowhere::NotAFolder | Nowhere::FileInTheWay | Nowhere::FolderOntoFile => Verdict::new(Exit::Failure),
    }
}

fn judge_up(error: &UpError) -> Option<Verdict> {
    Some(match error {
        UpError::Interrupted => Verdict::new(Exit::Interrupted),
        UpError::Local(error) => return judge_local(error),
        UpError::Read(error) => return judge_io(error),
        UpError::Session(error) => return judge_session(error),
        UpError::TooFewPeers { redundancy, .. } if redundancy.n() == 1 => {
            Verdict::hint(Exit::Unreachable, "see shoal status; start a peer, make room on one, or let another join")
        }
        UpError::TooFewPeers { .. } => {
            Verdict::hint(Exit::Unreachable, "see shoal status; fewer peers take a lower --redundancy, like 1/1")
        }
        UpError::Contended => Verdict::new(Exit::Conflict),
        UpError::Refused(refusal) => judge_refusal(refusal),
        UpError::Integrity(_) => Verdict::new(Exit::Integrity),
        _ => return None,
    })
}

fn judge_down(error: &DownError) -> Option<Verdict> {
    Some(match error {
        DownError::Interrupted => Verdict::new(Exit::Interrupted),
        DownError::Local(error) => return judge_local(error),
        DownError::Write(error) => return judge_io(error),
        DownError::Session(error) => return judge_session(error),
        DownError::TooFewShards { .. } => {
            Verdict::hint(Exit::Unreachable, "see shoal status; the file can be read when enough peers are back")
        }
        DownError::Integrity(_) | DownError::Unplaced { .. } | DownError::Gone { .. } => Verdict::new(Exit::Integrity),
        DownError::Bug(_) => Verdict::new(Exit::Failure),
    })
}

fn judge_session(error: &SessionError) -> Option<Verdict> {
    Some(match error {
        SessionError::Home(error) => keys::judge_home(error),
        SessionError::Unreachable { .. } => Verdict::hint(
            Exit::Unreachable,
            "see that shoal-directory serve runs there; if it has another address now, name it with --directory HOST:PORT",
        ),
        SessionError::Directory { source, .. } => judge_call(source),
        SessionError::OtherKey => Verdict::hint(Exit::Authentication, keys::OTHER_KEY),
        SessionError::Integrity(_) => Verdict::new(Exit::Integrity),
        SessionError::OtherCluster { .. } | SessionError::OtherAccount => Verdict::hint(
            Exit::Authentication,
            "use the home that belongs to this cluster and account, with --home DIR",
        ),
        SessionError::OldGeneration { .. } => {
            Verdict::hint(Exit::Integrity, "the operator must reconcile the directory with its peers first")
        }
        SessionError::Map(_) => Verdict::new(Exit::Integrity),
        SessionError::UnknownPeer { .. } => Verdict::new(Exit::Unreachable),
        SessionError::NoKey { .. } => Verdict::new(Exit::Integrity),
        SessionError::Misused { .. } => Verdict::new(Exit::Failure),
        SessionError::Bind(BindError::Variable { .. }) => Verdict::new(Exit::Usage),
        SessionError::Key { .. } | SessionError::Trust(_) | SessionError::Bind(_) => Verdict::new(Exit::Failure),
    })
}

fn judge_rekey(error: &RekeyError) -> Option<Verdict> {
    Some(match error {
        RekeyError::Session(error) => match error.refusal() {
            Some(Refusal::Conflict) => {
                Verdict::hint(Exit::Conflict, "another rotation is under way; repeat the command")
            }
            _ => return judge_session(error),
        },
        RekeyError::Unreadable { .. } => {
            Verdict::hint(Exit::Integrity, "all else is under the new key; shoal verify says what cannot be read")
        }
        RekeyError::Seal(_) | RekeyError::NoEnd | RekeyError::TooOften => Verdict::new(Exit::Failure),
    })
}

fn judge_call(error: &CallError) -> Verdict {
    if error.handshake().is_some() {
        return Verdict::new(Exit::Authentication);
    }
    match error {
        CallError::Refused(refusal) => judge_refusal(refusal),
        CallError::Unreachable { .. }
        | CallError::Unresolved { .. }
        | CallError::Undiallable { .. }
        | CallError::Disconnected(_)
        | CallError::TimedOut { .. } => Verdict::new(Exit::Unreachable),
        CallError::Handshake(_) => Verdict::new(Exit::Authentication),
        CallError::Misbehaved(_) | CallError::BodyTooLong { .. } | CallError::Unsendable { .. } => {
            Verdict::new(Exit::Failure)
        }
    }
}

fn judge_refusal(refusal: &Refusal) -> Verdict {
    match refusal {
        Refusal::OtherKey => Verdict::hint(Exit::Authentication, keys::OTHER_KEY),
        Refusal::WrongRole | Refusal::Forbidden | Refusal::OtherCluster => Verdict::new(Exit::Authentication),
        Refusal::Revoked => Verdict::hint(Exit::Authentication, "ask the operator for a new ticket"),
        Refusal::Ticket(_) => {
            Verdict::hint(Exit::Authentication, "ask for a new one: shoal-directory ticket --role client --data DIR")
        }
        Refusal::Share(fault) => share::judge_fault(*fault),
        Refusal::Exists(_) | Refusal::Conflict => Verdict::new(Exit::Conflict),
        Refusal::OldGeneration { .. } => Verdict::new(Exit::Integrity),
        Refusal::Busy => Verdict::new(Exit::Unreachable),
        Refusal::NotEmpty => Verdict::hint(Exit::Failure, "add -r for a folder with all that is in it"),
        Refusal::UploadGone => {
            Verdict::hint(Exit::Failure, "repeat the command; what is stored already is not sent again")
        }
        Refusal::OverQuota { .. } | Refusal::NoPolicy | Refusal::Fenced => past::judge_refusal(refusal),
        _ => Verdict::new(Exit::Failure),
    }
}

fn judge_enroll(error: &EnrollError) -> Verdict {
    match error {
        EnrollError::Unreachable { source: Some(source), .. } if source.handshake().is_some() => judge_call(source),
        EnrollError::Unreachable { .. } => Verdict::hint(
            Exit::Unreachable,
            "see that shoal-directory serve runs there; if it has another address now, name it with --directory HOST:PORT",
        ),
        EnrollError::Refused(source) | EnrollError::NoGuest(source) => judge_call(source),
        EnrollError::Misbehaved { .. } => Verdict::new(Exit::Authentication),
        EnrollError::Bind(BindError::Variable { .. }) => Verdict::new(Exit::Usage),
        EnrollError::Key(_) | EnrollError::Trust(_) | EnrollError::Bind(_) => Verdict::new(Exit::Failure),
    }
}

fn judge_command(error: &CommandError) -> Verdict {
    match error {
        CommandError::NeedsRecursive { .. } => {
            Verdict::hint(Exit::Failure, "add -r for a folder with all that is in it")
        }
        CommandError::LocalDestination { path, why } => match why {
            Nowhere::NoFolder | Nowhere::NoFolderForFile => {
                Verdict::hint(Exit::Failure, format!("make it first: mkdir -p {}", path.display()))
            }
            Nowhere::NoParent => Verdict::hint(Exit::Failure, "make the folder above it first"),
            _ => Verdict::new(Exit::Failure),
        },
        CommandError::Terminal => Verdict::hint(Exit::Failure, "redirect it to a file, or add --force"),
        CommandError::NeedsPhrase => Verdict::hint(
            Exit::Authentication,
            "join with the recovery phrase: shoal join --recover TICKET; or with an exported key: --recover-from FILE",
        ),
        CommandError::OtherRole { .. } => {
            Verdict::hint(Exit::Authentication, "ask for one with: shoal-directory ticket --role client --data DIR")
        }
        CommandError::SameName { .. }
        | CommandError::StdinTwice
        | CommandError::LinkAmongOthers
        | CommandError::LinkAt
        | CommandError::FolderToStdout
        | CommandError::SnapshotName { .. }
        | CommandError::NoTime { .. } => Verdict::new(Exit::Usage),
        CommandError::FolderTwice => {
            Verdict::hint(Exit::Usage, "leave the third argument away, or name two times and a folder")
        }
        CommandError::NoName { .. } => Verdict::hint(Exit::Usage, "write the destination with its new name"),
    }
}

fn judge_local(error: &LocalError) -> Option<Verdict> {
    Some(match error {
        LocalError::Io { source, .. } => return judge_io(source).or(Some(Verdict::new(Exit::Failure))),
        LocalError::DiskFull { .. } => Verdict::hint(Exit::Failure, "free some space, and repeat the command"),
        LocalError::Changed { .. } => Verdict::hint(Exit::Failure, "repeat the command when nobody writes to it"),
        LocalError::NoFolder { path } => {
            Verdict::hint(Exit::Failure, format!("make it first: mkdir -p {}", path.display()))
        }
        LocalError::IsAFolder { .. } | LocalError::NotAFolder { .. } | LocalError::Special { .. } => {
            Verdict::new(Exit::Failure)
        }
    })
}

/// `None` where the cause decides.
fn judge_bench(error: &BenchError) -> Option<Verdict> {
    Some(match error {
        BenchError::Nonsense { .. } => Verdict::new(Exit::Usage),
        BenchError::NoProgram { name, .. } => {
            Verdict::hint(Exit::Failure, format!("put {name} beside shoal; or join a cluster, and leave --start away"))
        }
        BenchError::NoRoom { .. } => {
            Verdict::hint(Exit::Failure, "name another folder with --below, or take a smaller --size or fewer --times")
        }
        BenchError::Differs { .. } => Verdict::new(Exit::Integrity),
        BenchError::Failed { code, .. } => {
            let same = Exit::ALL
                .into_iter()
                .find(|exit| *exit != Exit::Ok && code.is_some_and(|code| code == i32::from(exit.code())));
            Verdict::new(same.unwrap_or(Exit::Failure))
        }
        BenchError::NotReady { .. } => Verdict::new(Exit::Unreachable),
        BenchError::Disk { .. } | BenchError::Run { .. } | BenchError::Request { .. } | BenchError::Bug { .. } => {
            Verdict::new(Exit::Failure)
        }
        BenchError::Interrupted(_) => Verdict::new(Exit::Interrupted),
        BenchError::Session(error) => return judge_session(error),
        BenchError::Folder(error) => return judge_folder(error),
        BenchError::Path(_) => Verdict::new(Exit::Usage),
        BenchError::Down(error) => return judge_down(error),
        BenchError::Raw(_) | BenchError::Enroll(_) => return None,
    })
}

fn judge_io(error: &io::Error) -> Option<Verdict> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Some(Verdict::gone());
    }
    let inner = error.get_ref()?;
    inner.downcast_ref::<CommandError>().map(judge_command)
}

/// What and why, in one line; then the next step.
#[must_use]
pub fn text(error: &(dyn Error + 'static), about: Option<&str>) -> String {
    let mut text = String::from("shoal: ");
    let said = chain(error).join(": ");
    if let Some(about) = about.filter(|about| !said.contains(*about)) {
        text.push_str(about);
        text.push_str(": ");
    }
    text.push_str(&said);
    if let Some(hint) = judge(error).hint {
        text.push_str("\n  ");
        text.push_str(&hint);
    }
    text
}

/// The same for programs.
#[must_use]
pub fn object(error: &(dyn Error + 'static), about: Option<&str>) -> Value {
    let verdict = judge(error);
    let mut causes = chain(error);
    let first = if causes.is_empty() { String::new() } else { causes.remove(0) };
    let mut object = error_object(verdict.exit.code(), &first, &causes, verdict.hint.as_deref());
    if let (Some(about), Some(inner)) = (about, object.get_mut("error").and_then(Value::as_object_mut)) {
        inner.insert("path".to_owned(), about.into());
    }
    object
}

/// Every cause once: one that only repeats the end of what is said already adds nothing.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.last().is_some_and(|last| last.ends_with(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts
}

/// Tells of one error among others, on stderr.
#[expect(clippy::print_stderr, reason = "errors belong on stderr")]
pub fn tell(error: &(dyn Error + 'static), json: bool) {
    if json {
        eprintln!("{}", object(error, None));
    } else {
        eprintln!("{}", text(error, None));
    }
}

/// Tells why a command failed, and gives its exit code.
pub fn report(error: &anyhow::Error, json: bool) -> Exit {
    let error: &(dyn Error + 'static) = error.as_ref();
    let verdict = judge(error);
    if !verdict.silent {
        tell(error, json);
    }
    verdict.exit
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use common::id::ChunkId;
    use common::proto::refusal::{Measure, TicketFault, What};
    use common::redundancy::Redundancy;
    use common::transport::HandshakeError;

    use super::*;
    use crate::keystore::HomeError;

    fn check(error: impl Error + Send + Sync + 'static, exit: Exit, says: &str) {
        let error = anyhow::Error::from(error);
        let error: &(dyn Error + 'static) = error.as_ref();
        let text = text(error, None);
        assert_eq!(judge(error).exit, exit, "{text}");
        assert!(text.contains(says), "{says:?} is not in {text:?}");
    }

    fn directory(source: CallError) -> SessionError {
        SessionError::Directory { request: "List", source }
    }

    #[test]
    fn every_kind_of_error_has_its_code_and_its_next_step() {
        let missing = || PathBuf::from("/home/x");
        let unreachable = || CallError::Unreachable { addresses: "a:1, b:2".to_owned(), source: None };
        let session = || SessionError::Unreachable {
            addresses: "a:1, b:2".to_owned(),
            after: Duration::from_secs(10),
            source: unreachable(),
        };
        let refused = |refusal| directory(CallError::Refused(refusal));
        check(HomeError::NotJoined { path: missing() }, Exit::NotInitialised, "run: shoal join TICKET");
        check(HomeError::AlreadyJoined { path: missing() }, Exit::Conflict, "not overwritten");
        check(session(), Exit::Unreachable, "a:1, b:2; tried for 10s");
        check(FolderError::Session(session()), Exit::Unreachable, "--directory HOST:PORT");
        check(UpError::from(session()), Exit::Unreachable, "--directory HOST:PORT");
        check(DownError::from(session()), Exit::Unreachable, "--directory HOST:PORT");
        check(directory(CallError::Handshake(HandshakeError::OurAuthorityUnknown)), Exit::Authentication, "join again");
        check(refused(Refusal::Revoked), Exit::Authentication, "new ticket");
        check(refused(Refusal::Ticket(TicketFault::Used)), Exit::Authentication, "shoal-directory ticket");
        check(refused(Refusal::Conflict), Exit::Conflict, "somebody else");
        let over = Refusal::OverQuota { what: Measure::Bytes, used: 5, allowed: 7 };
        check(refused(over), Exit::Quota, "5 of 7 are used");
        check(refused(Refusal::NoPolicy), Exit::Usage, "--keep-within");
        check(refused(Refusal::TooLarge(What::Body)), Exit::Failure, "over its limit");
        let missing = FolderError::NotFound { path: "/a/b".to_owned(), nearest: "the folder /a".to_owned() };
        check(missing, Exit::Failure, "shoal ls");
        check(FolderError::Exists { path: "/x".to_owned() }, Exit::Conflict, "/x exists already");
        check(DownError::from(IntegrityError::Digest), Exit::Integrity, "digest");
        check(Interrupted, Exit::Interrupted, "interrupted");
        check(UpError::Interrupted, Exit::Interrupted, "interrupted");
        check(CommandError::NeedsRecursive { path: "/x".to_owned() }, Exit::Failure, "add -r");
        let few =
            UpError::TooFewPeers { chunk: ChunkId([1; 20]), durable: 1, redundancy: Redundancy::DEFAULT, why: vec![] };
        check(few, Exit::Unreachable, "a lower --redundancy");
        let redundancy = "1/1".parse().unwrap();
        let none = UpError::TooFewPeers { chunk: ChunkId([1; 20]), durable: 0, redundancy, why: vec![] };
        check(none, Exit::Unreachable, "make room on one");
        let nowhere = |why| FolderError::Destination { path: "/a/b".to_owned(), why };
        check(nowhere(Nowhere::NoParent), Exit::Failure, "shoal mkdir -p /a");
        check(nowhere(Nowhere::NoFolder), Exit::Failure, "shoal mkdir -p /a/b");
        check(crate::names::RemotePath::parse(b"a/../b").unwrap_err(), Exit::Usage, "begins with a slash");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        for error in [anyhow::Error::from(gone()), DownError::Write(Arc::new(gone())).into()] {
            let verdict = judge(error.as_ref());
            assert!(verdict.silent && verdict.exit == Exit::Ok);
        }
        let refused = DownError::Write(Arc::new(io::Error::other(CommandError::Terminal)));
        assert_eq!(judge(&refused).hint.as_deref(), Some("redirect it to a file, or add --force"));
    }

    #[test]
    fn what_it_is_about_is_said_once() {
        let error = CommandError::NeedsRecursive { path: "/etc".to_owned() };
        assert!(text(&error, Some("/etc")).starts_with("shoal: /etc is a folder\n"));
        assert!(text(&Interrupted, Some("/etc")).starts_with("shoal: /etc: interrupted"));
    }
}
