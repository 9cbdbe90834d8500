//! Directory: the way to the directory, with patience; and what the session takes from the device's home.

use common::boxed::Boxed;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::id::ClusterId;
use common::identity::role::{directory_name, validity};
use common::identity::{Credentials, PrivateKey, Trust, certificate};
use common::limits::ADDRESSES;
use common::proto::directory::{Hello, Welcome};
use common::proto::parts::Label;
use common::proto::refusal::Retry;
use common::proto::{Refusal, Request};
use common::time::Clock;
use common::transport::pool::Backoff;
use common::transport::{CallError, Dialler, Endpoint, EndpointOptions, Incoming, Link, Outgoing};
use rustls_pki_types::CertificateDer;
use tokio::time::{Instant, sleep};

use super::{FIRST_CONTACT, SessionError, SessionOptions};
use crate::keystore::{Home, HomeError};

/// One try, once connected: above the longest that a directory may think about a page of anything.
const ANSWER: Duration = Duration::from_secs(30);
/// Silence that the user is told about.
const WAITING: Duration = Duration::from_secs(3);

pub(super) struct Directory {
    link: Link,
    /// Where it was when this device joined, or where the user says it is.
    base: Vec<String>,
    /// The user's word is final.
    fixed: bool,
    quiet: bool,
    waiting: AtomicBool,
}

impl Directory {
    pub(super) fn new(
        endpoint: Endpoint,
        dialler: Dialler,
        cluster: ClusterId,
        known: &[String],
        options: &SessionOptions,
    ) -> Self {
        let fixed = !options.directory.is_empty();
        let mut base = if fixed { options.directory.clone() } else { known.to_vec() };
        base.truncate(ADDRESSES);
        let link = Link::new(endpoint, dialler, directory_name(cluster), base.clone());
        Self { link, base, fixed, quiet: options.quiet, waiting: AtomicBool::new(false) }
    }

    /// Where it is dialled, for want of a newer word.
    pub(super) fn base(&self) -> &[String] {
        &self.base
    }

    /// How far away it is, as far as is known.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.link.current().map(|connection| connection.round_trip())
    }

    /// Where the map says that it is now comes first, where it was second.
    pub(super) fn follow(&self, now: &[String]) {
        if self.fixed || now.is_empty() {
            return;
        }
        let mut addresses = now.to_vec();
        addresses.extend(self.base.iter().filter(|address| !now.contains(address)).cloned());
        addresses.truncate(ADDRESSES);
        self.link.set_addresses(addresses);
    }

    pub(super) async fn greet(&self, generation: u64, conflicts: u64) -> Result<Welcome, SessionError> {
        let program = concat!("shoal ", env!("CARGO_PKG_VERSION"));
        let program = Label::try_from(program).unwrap_or_default();
        let welcomed = self.call(&Hello { program, generation, conflicts }, FIRST_CONTACT).await;
        welcomed.map_err(|error| match error.refusal() {
            Some(Refusal::OldGeneration { given, known }) => {
                // Whichever of the two numbers it calls its own, the directory's is the lower one.
                SessionError::OldGeneration { given: *given.min(known), known: *given.max(known) }
            }
            _ => error,
        })
    }

    /// Asks until there is an answer, a refusal that time does not mend, or `limit` is over.
    pub(super) async fn call<R: Request>(&self, request: &R, limit: Duration) -> Result<R::Response, SessionError> {
        let answer = match Outgoing::new(request) {
            Ok(outgoing) => self.persist(R::NAME, &outgoing, limit).await?,
            Err(source) => return Err(self.failed(R::NAME, limit, source)),
        };
        answer.decode::<R>().map(|(answer, _)| answer).map_err(|source| self.failed(R::NAME, limit, source))
    }

    fn persist<'a>(
        &'a self,
        name: &'static str,
        request: &'a Outgoing,
        limit: Duration,
    ) -> Boxed<'a, Result<Incoming, SessionError>> {
        Box::pin(async move {
            let begun = Instant::now();
            let deadline = begun + limit;
            let mut backoff = Backoff::default();
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let error = match self.link.send_once(request, Vec::new(), left.min(ANSWER)).await {
                    Ok(answer) => {
                        self.answered();
                        return Ok(answer);
                    }
                    Err(error) => error,
                };
                if !may_be_mended(&error) {
                    return Err(self.failed(name, limit, error));
                }
                let pause = backoff.pause().max(Backoff::FIRST);
                if Instant::now() + pause >= deadline {
                    return Err(self.failed(name, limit, error));
                }
                if begun.elapsed() >= WAITING && limit > FIRST_CONTACT {
                    self.say_waiting();
                }
                sleep(pause).await;
            }
        })
    }

    /// Asks once.
    pub(super) async fn try_once<R: Request>(&self, request: &R) -> Result<R::Response, SessionError> {
        match self.link.call_once(request, Vec::new(), ANSWER).await {
            Ok((answer, _)) => Ok(answer),
            Err(source) => Err(self.failed(R::NAME, ANSWER, source)),
        }
    }

    fn failed(&self, request: &'static str, after: Duration, source: CallError) -> SessionError {
        match source {
            CallError::Unreachable { addresses, source: Some(source) } => {
                let source = CallError::Unreachable { addresses: addresses.clone(), source: Some(source) };
                SessionError::Unreachable { addresses, after, source }
            }
            CallError::Unreachable { addresses, source: None } => {
                let source = CallError::TimedOut { what: "the handshake", after };
                SessionError::Unreachable { addresses, after, source }
            }
            source @ (CallError::Disconnected(_) | CallError::TimedOut { .. } | CallError::Unresolved { .. }) => {
                SessionError::Unreachable { addresses: self.base.join(", "), after, source }
            }
            source => SessionError::Directory { request, source },
        }
    }

    #[expect(clippy::print_stderr, reason = "whoever waits should know for what")]
    fn say_waiting(&self) {
        if !self.waiting.swap(true, Ordering::Relaxed) && !self.quiet {
            eprintln!("shoal: waiting for the directory");
        }
    }

    #[expect(clippy::print_stderr, reason = "whoever waited should know that it goes on")]
    fn answered(&self) {
        if self.waiting.swap(false, Ordering::Relaxed) && !self.quiet {
            eprintln!("shoal: the directory is back");
        }
    }
}

/// A conflict is for whoever asked: the same request would meet it again.
fn may_be_mended(error: &CallError) -> bool {
    !matches!(error, CallError::Refused(Refusal::Conflict)) && error.retry() == Retry::Later
}

pub(super) async fn open_home(path: PathBuf) -> Result<Home, SessionError> {
    let shown = path.clone();
    let opened = tokio::task::spawn_blocking(move || Home::open(&path)).await;
    Ok(opened.unwrap_or(Err(HomeError::Damaged { path: shown }))?)
}

pub(super) fn key_of(home: &Home) -> Result<PrivateKey, SessionError> {
    let damaged = |source| SessionError::Key { path: home.path.join(crate::keystore::PRIVATE_KEY), source };
    PrivateKey::from_pkcs8(&home.credentials.private_key).map_err(damaged)
}

pub(super) fn endpoint() -> Result<Endpoint, SessionError> {
    Ok(Endpoint::bind_any(EndpointOptions::client())?)
}

/// What to dial the directory with, and what the peers.
pub(super) fn diallers(
    endpoint: &Endpoint,
    authority: CertificateDer<'static>,
    own: &Credentials,
) -> Result<(Dialler, Dialler), SessionError> {
    let tls = Trust::new(authority, Clock::System)?.client(own)?;
    Ok((endpoint.dialler_to_directory(tls.clone())?, endpoint.dialler(tls)?))
}

/// Whether less than two thirds of the certificate's time are left.
pub(super) fn should_renew(home: &Home) -> bool {
    let shown = CertificateDer::from(home.credentials.certificate.clone());
    let Ok((from, until)) = validity(&shown) else { return false };
    let left = until.since(Clock::System.now());
    left < until.since(from).mul_f64(2.0 / 3.0) || left < certificate::RENEW_BEFORE
}
