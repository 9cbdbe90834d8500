//! Ticket: the one line that lets a new peer or device join.
//!
//! ```text
//! "shoal1" base32( [format u8 = 1][cluster 16][role u8][fingerprint 32][secret 32][count u8]( [len u16 LE][address] )* [crc32c u32 LE] )
//! ```
//!
//! The text around the bytes is that of every [`line`]. It holds a secret: it is shown once, expires, and is wiped from
//! memory here; it never goes to a log.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::id::{ClusterId, TicketId};
use crate::identity::enrolment;
use crate::identity::role::{Role, directory_name};
use crate::limits::{ADDRESS_BYTES, ADDRESSES, TICKET_BYTES};
use crate::line::{self, FORMAT, LineError, Reader};

const PREFIX: &str = "shoal";

/// A line that is no ticket, or one that cannot be used by this program. The texts are for whoever pasted it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    #[error(
        "this is no ticket: a ticket begins with \"shoal1\"; copy the whole line that `shoal-directory ticket` printed"
    )]
    Foreign,
    #[error(
        "the ticket is damaged: a part of it is missing or changed; copy the whole line that `shoal-directory ticket` printed"
    )]
    Mangled,
    #[error("the ticket has format {found}, and this program knows {FORMAT}: use a program of the directory's version")]
    Newer { found: u32 },
    #[error("a ticket has 1 to {ADDRESSES} addresses of at most {ADDRESS_BYTES} bytes")]
    Addresses,
    #[error("a ticket enrols a peer or a client, and not a {role}")]
    Role { role: Role },
}

/// What a joiner needs: whom to reach, whom to believe, and what to show.
pub struct Ticket {
    cluster: ClusterId,
    role: Role,
    authority_fingerprint: [u8; 32],
    secret: Zeroizing<[u8; 32]>,
    addresses: Vec<String>,
}

impl Ticket {
    /// A ticket with a fresh secret.
    ///
    /// # Errors
    /// When the role cannot be enrolled, or addresses are none, too many or too long.
    pub fn new(
        cluster: ClusterId,
        role: Role,
        authority_fingerprint: [u8; 32],
        addresses: Vec<String>,
    ) -> Result<Self, TicketError> {
        let mut secret = Zeroizing::new([0; 32]);
        // Two ids' worth of the system's randomness, which an id knows how to get or to fail for.
        let halves = [TicketId::random(), TicketId::random()];
        secret.iter_mut().zip(halves.iter().flat_map(|half| half.0)).for_each(|(to, from)| *to = from);
        Self::checked(cluster, role, authority_fingerprint, secret, addresses)
    }

    fn checked(
        cluster: ClusterId,
        role: Role,
        authority_fingerprint: [u8; 32],
        secret: Zeroizing<[u8; 32]>,
        addresses: Vec<String>,
    ) -> Result<Self, TicketError> {
        if !matches!(role, Role::Peer | Role::Client) {
            return Err(TicketError::Role { role });
        }
        let fit = addresses.iter().all(|address| !address.is_empty() && address.len() <= ADDRESS_BYTES);
        if addresses.is_empty() || addresses.len() > ADDRESSES || !fit {
            return Err(TicketError::Addresses);
        }
        Ok(Self { cluster, role, authority_fingerprint, secret, addresses })
    }

    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// BLAKE3 of the authority's certificate.
    #[must_use]
    pub fn authority_fingerprint(&self) -> [u8; 32] {
        self.authority_fingerprint
    }

    /// Where the directory is reached.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The name that the directory must prove.
    #[must_use]
    pub fn server_name(&self) -> String {
        directory_name(self.cluster)
    }

    #[must_use]
    pub fn id(&self) -> TicketId {
        enrolment::ticket_id(&self.secret)
    }

    #[must_use]
    pub fn verifier(&self) -> enrolment::Verifier {
        enrolment::verifier(&self.secret)
    }

    /// The one line; wiped when dropped.
    #[must_use]
    pub fn to_line(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(TICKET_BYTES));
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.cluster.as_bytes());
        bytes.push(if self.role == Role::Peer { 1 } else { 2 });
        bytes.extend_from_slice(&self.authority_fingerprint);
        bytes.extend_from_slice(self.secret.as_slice());
        bytes.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX)); // at most ADDRESSES, checked when made
        for address in &self.addresses {
            line::put_counted(&mut bytes, address.as_bytes());
        }
        line::encode(PREFIX, &bytes)
    }
}

impl From<LineError> for TicketError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Foreign => Self::Foreign,
            LineError::Mangled => Self::Mangled,
            LineError::Newer { found } => Self::Newer { found },
        }
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        parse_content(&line::decode(PREFIX, text, TICKET_BYTES)?)
    }
}

fn parse_content(content: &[u8]) -> Result<Ticket, TicketError> {
    let mut reader = Reader::new(content);
    let [format] = reader.array()?;
    if format != FORMAT {
        return Err(TicketError::Newer { found: u32::from(format) });
    }
    let cluster = ClusterId(reader.array()?);
    let role = match reader.array()? {
        [1] => Role::Peer,
        [2] => Role::Client,
        [_] => return Err(TicketError::Mangled),
    };
    let authority_fingerprint = reader.array()?;
    let secret = Zeroizing::new(reader.array()?);
    let [count] = reader.array()?;
    if usize::from(count) > ADDRESSES {
        return Err(TicketError::Addresses);
    }
    let mut addresses = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let address = std::str::from_utf8(reader.counted()?).map_err(|_| TicketError::Mangled)?;
        addresses.push(address.to_owned());
    }
    reader.end()?;
    Ticket::checked(cluster, role, authority_fingerprint, secret, addresses)
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({} for a {} of {}, secret hidden)", self.id().short(), self.role, self.cluster.short())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        let addresses = vec!["127.0.0.1:7400".to_owned(), "dir.example:7400".to_owned()];
        Ticket::checked(ClusterId([7; 16]), Role::Peer, [8; 32], Zeroizing::new([9; 32]), addresses).unwrap()
    }

    const GOLDEN: &str = concat!(
        "shoal1aedqobyha4dqobyha4dqobyha4dqccaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibeeqscijbeeqscijbeeqscij",
        "beeqscijbeeqscijbeeqscijbeeqedqagezdolrqfyyc4mj2g42damaqabsgs4romv4gc3lqnrstunzugaycnoxnqy"
    );

    #[test]
    fn the_line_is_golden_and_round_trips() {
        let line = ticket().to_line();
        assert_eq!(line.as_str(), GOLDEN);
        let read: Ticket = line.parse().unwrap();
        assert_eq!(read.to_line(), line);
        assert_eq!((read.id(), read.addresses().len()), (ticket().id(), 2));
        assert!(line.len() < 300, "{} characters", line.len());
    }

    #[test]
    fn capitals_and_line_breaks_of_a_mail_are_forgiven() {
        let line = ticket().to_line().to_uppercase();
        let (a, b) = line.split_at(70);
        let read: Ticket = format!("  {a}\r\n {b}\n").parse().unwrap();
        assert_eq!(read.to_line(), ticket().to_line());
    }

    #[test]
    fn mangled_foreign_and_newer_tickets_are_told_apart() {
        let line = ticket().to_line();
        for end in 0..line.len() {
            let error = line[..end].parse::<Ticket>().unwrap_err();
            assert!(matches!(error, TicketError::Mangled | TicketError::Foreign), "{end}: {error}");
        }
        for at in 6..line.len() {
            let mut changed = line.to_string();
            changed.replace_range(at..=at, if &line[at..=at] == "a" { "b" } else { "a" });
            assert_eq!(changed.parse::<Ticket>().unwrap_err(), TicketError::Mangled, "{at}");
        }
        assert_eq!("hello".parse::<Ticket>().unwrap_err(), TicketError::Foreign);
        assert_eq!("x".repeat(1 << 20).parse::<Ticket>().unwrap_err(), TicketError::Foreign);
        assert_eq!(line.replacen('1', "2", 1).parse::<Ticket>().unwrap_err(), TicketError::Newer { found: 2 });
    }

    #[test]
    fn what_cannot_be_a_ticket_is_not_made() {
        let make = |role, addresses| Ticket::new(ClusterId([7; 16]), role, [8; 32], addresses).map(|_| ());
        let address = || "127.0.0.1:7400".to_owned();
        assert_eq!(make(Role::Admin, vec![address()]), Err(TicketError::Role { role: Role::Admin }));
        for addresses in
            [vec![], vec![address(); ADDRESSES + 1], vec!["x".repeat(ADDRESS_BYTES + 1)], vec![String::new()]]
        {
            assert_eq!(make(Role::Peer, addresses), Err(TicketError::Addresses));
        }
        let longest =
            Ticket::new(ClusterId([7; 16]), Role::Client, [8; 32], vec!["x".repeat(ADDRESS_BYTES); ADDRESSES]);
        let line = longest.unwrap().to_line();
        assert!(line.len() <= TICKET_BYTES);
        line.parse::<Ticket>().unwrap();
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", ticket());
        assert!(shown.contains("hidden") && !shown.contains("0909"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_line_panics(text in ".{0,400}", tail in "[a-z2-7]{0,400}") {
            text.parse::<Ticket>().ok();
            format!("shoal1{tail}").parse::<Ticket>().ok();
        }

        #[test]
        fn no_content_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            parse_content(&bytes).ok();
        }
    }
}
