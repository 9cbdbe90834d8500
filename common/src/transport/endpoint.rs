//! Endpoint: one UDP socket that serves and dials, tuned as LIMITS.md measured.
//!
//! Large packets where the path has them (discovery begins at 1,200 bytes and falls back by itself), segmentation offload,
//! socket buffers of 4 MiB, and a congestion controller that keeps its rate under loss ([`congestion`](super::congestion); Cubic
//! does not, and quinn's BBR does by filling every queue). What a connection may hold is bounded: streams, windows, buffers of handshakes. No datagrams, no early data. `SHOAL_MTU` and `SHOAL_CONGESTION` are for networks that
//! need it otherwise ([`Tuning`]).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, Runtime,
    ServerConfig, TransportConfig, VarInt,
};
use ring::hmac;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use crate::transport::congestion::ByArrival;
use crate::transport::connection::Connection;
use crate::transport::error::{CallError, close};
use crate::transport::traffic::{Counted, Counters, Traffic};

/// How long a handshake may take, on either side.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Four of them fit in one batch of segmentation offload (`traffic`). What a packet costs, beside its bytes, is then a twentieth of all.
const LARGEST_PACKET_BYTES: u16 = 16_370;
/// What an Ethernet carries over IPv6. Finding out that a path carries more takes packets full of padding, which cost more than a
/// handshake; where messages are small that never pays.
const ETHERNET_PACKET_BYTES: u16 = 1_452;
/// What every path must carry, by QUIC's own rules.
const SMALLEST_PACKET_BYTES: u16 = 1_200;
/// Between servers and whoever idles at them: seldom, since there may be thousands.
const PATIENT: Silence = Silence { keep_alive: Duration::from_secs(5), lost: Duration::from_secs(20) };
/// A transfer waits for this long when a peer dies without a word, before it goes on with the next.
const EAGER: Silence = Silence { keep_alive: Duration::from_secs(2), lost: Duration::from_secs(7) };

/// How a dead other end is noticed. Of both ends' the shorter time counts.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// After so long without a packet one is sent.
    pub keep_alive: Duration,
    /// After so long without an answer the connection is lost.
    pub lost: Duration,
}

/// What a connection of this endpoint may hold, served or dialled.
#[derive(Debug, Clone)]
pub struct EndpointOptions {
    /// Requests that the other end may have under way at once; the memory of an idle connection grows with it.
    pub incoming_requests: u32,
    /// Bytes of one stream that may wait unread.
    pub stream_window_bytes: u32,
    /// Bytes of all streams of a connection that may wait unread.
    pub connection_window_bytes: u32,
    /// Bytes sent and not acknowledged.
    pub send_window_bytes: u64,
    /// The largest UDP payload that this end sends and takes; the other end is told.
    pub packet_bytes: u16,
    /// Handshakes under way at once; from half of them on, strangers must first prove their address, and beyond all are refused.
    pub handshakes: usize,
    pub silence: Silence,
    /// Lasting secret ([`PrivateKey::reset_key`](crate::identity::PrivateKey::reset_key)) by which a restarted process can tell the
    /// other ends of its lost connections that they are lost; without it they notice only by silence.
    pub reset_key: Option<[u8; 32]>,
}

impl EndpointOptions {
    /// Many connections, small messages.
    #[must_use]
    pub fn directory() -> Self {
        Self {
            incoming_requests: 16,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 4 << 20,
            send_window_bytes: 4 << 20,
            packet_bytes: ETHERNET_PACKET_BYTES,
            handshakes: 512,
            silence: PATIENT,
            reset_key: None,
        }
    }

    /// Bodies of shards, both ways.
    #[must_use]
    pub fn peer() -> Self {
        Self {
            incoming_requests: 64,
            stream_window_bytes: 8 << 20,
            connection_window_bytes: 32 << 20,
            send_window_bytes: 32 << 20,
            packet_bytes: LARGEST_PACKET_BYTES,
            handshakes: 256,
            silence: PATIENT,
            reset_key: None,
        }
    }

    /// Bodies of shards, and nobody who asks anything.
    #[must_use]
    pub fn client() -> Self {
        Self { incoming_requests: 0, handshakes: 0, silence: EAGER, ..Self::peer() }
    }

    fn transport(&self, tuning: Tuning) -> TransportConfig {
        let mut mtu = MtuDiscoveryConfig::default();
        let largest = self.packet_bytes.min(tuning.packet_bytes);
        mtu.upper_bound(largest);
        if largest <= ETHERNET_PACKET_BYTES {
            // The search ends with the largest as soon as a step would be shorter than this: so that comes first, and nearly always fits.
            mtu.minimum_change((largest - SMALLEST_PACKET_BYTES) / 2 + 1);
        }
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(self.incoming_requests))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .stream_receive_window(VarInt::from_u32(self.stream_window_bytes))
            .receive_window(VarInt::from_u32(self.connection_window_bytes))
            .send_window(self.send_window_bytes)
            .datagram_receive_buffer_size(None)
            .keep_alive_interval(Some(self.silence.keep_alive))
            .max_idle_timeout(IdleTimeout::try_from(self.silence.lost).ok())
            .initial_mtu(SMALLEST_PACKET_BYTES)
            .mtu_discovery_config(Some(mtu))
            .enable_segmentation_offload(true)
            .congestion_controller_factory(tuning.congestion.factory());
        transport
    }
}

/// What the environment may ask of every endpoint of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tuning {
    /// The largest UDP payload that is sent and taken: `SHOAL_MTU`. The other end is told, so it is enough to set it at one.
    packet_bytes: u16,
    congestion: Congestion,
}

/// How fast to send: `SHOAL_CONGESTION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Congestion {
    /// By the rate at which packets arrive. Loss that is no congestion, as on radio links, hardly slows it.
    Arrival,
    /// quinn's take on the same idea, which keeps its rate by filling every queue.
    Bbr,
    /// By loss, like most TCP.
    Cubic,
}

impl Congestion {
    fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Arrival => Arc::new(ByArrival),
            Self::Bbr => Arc::new(BbrConfig::default()),
            Self::Cubic => Arc::new(CubicConfig::default()),
        }
    }
}

impl Tuning {
    fn from_environment() -> Result<Self, BindError> {
        Self::from(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Unset and empty mean the default.
    fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Self, BindError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let packet_bytes = match set("SHOAL_MTU") {
            None => LARGEST_PACKET_BYTES,
            Some(value) => match value.parse() {
                Ok(bytes) if (SMALLEST_PACKET_BYTES..=LARGEST_PACKET_BYTES).contains(&bytes) => bytes,
                Ok(_) | Err(_) => {
                    let wanted = "a UDP payload of 1200 to 16370 bytes";
                    return Err(BindError::Variable { name: "SHOAL_MTU", value, wanted });
                }
            },
        };
        let congestion = match set("SHOAL_CONGESTION") {
            None => Congestion::Arrival,
            Some(value) => match value.as_str() {
                "arrival" => Congestion::Arrival,
                "bbr" => Congestion::Bbr,
                "cubic" => Congestion::Cubic,
                _ => {
                    return Err(BindError::Variable {
                        name: "SHOAL_CONGESTION",
                        value,
                        wanted: "arrival, bbr or cubic",
                    });
                }
            },
        };
        Ok(Self { packet_bytes, congestion })
    }
}

/// The socket cannot be had, or TLS not be used on it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("not an address to listen on: {text:?}; write it like 127.0.0.1:7400, or with :0 for any free port")]
    Address {
        text: String,
        #[source]
        source: Option<std::io::Error>,
    },
    #[error("cannot listen on {address}; another program may be using the port")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the environment variable {name} is {value:?}, and takes {wanted}")]
    Variable { name: &'static str, value: String, wanted: &'static str },
    #[error("the UDP socket cannot be used")]
    Socket(#[source] std::io::Error),
    #[error("this TLS configuration is not one for QUIC")]
    Tls(#[source] NoInitialCipherSuite),
    #[error("the QUIC configuration is out of range")]
    Options(#[source] quinn::ConfigError),
}

/// Resolves `host:port` for listening.
///
/// # Errors
/// When the text is no such thing, or the name unknown.
pub async fn listen_address(text: &str) -> Result<SocketAddr, BindError> {
    let refuse = |source| BindError::Address { text: text.to_owned(), source };
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let mut found = tokio::net::lookup_host(text).await.map_err(|error| refuse(Some(error)))?;
    found.next().ok_or_else(|| refuse(None))
}

/// What to dial with: whom to trust and what to show.
#[derive(Debug, Clone)]
pub struct Dialler(ClientConfig);

/// The socket; a handle that is cheap to clone.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(super) inner: quinn::Endpoint,
    transport: Arc<TransportConfig>,
    tuning: Tuning,
    options: EndpointOptions,
    counters: Arc<Counters>,
}

impl Endpoint {
    /// Takes the address, and serves nobody yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub fn bind(address: SocketAddr, options: EndpointOptions) -> Result<Self, BindError> {
        let tuning = Tuning::from_environment()?;
        let socket = open_socket(address).map_err(|source| BindError::Bind { address, source })?;
        let mut config = endpoint_config(options.reset_key);
        let packet_bytes = options.packet_bytes.min(tuning.packet_bytes);
        config.max_udp_payload_size(packet_bytes).map_err(BindError::Options)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let (counted, counters) =
            Counted::new(runtime.wrap_udp_socket(socket).map_err(BindError::Socket)?, packet_bytes);
        let inner = quinn::Endpoint::new_with_abstract_socket(config, None, Arc::new(counted), runtime)
            .map_err(BindError::Socket)?;
        Ok(Self { inner, transport: Arc::new(options.transport(tuning)), tuning, options, counters })
    }

    /// For who only dials: any port, IPv6 and IPv4 where the machine has both.
    ///
    /// # Errors
    /// When there is no UDP socket to be had.
    pub fn bind_any(options: EndpointOptions) -> Result<Self, BindError> {
        Self::bind((Ipv6Addr::UNSPECIFIED, 0).into(), options.clone())
            .or_else(|_| Self::bind((Ipv4Addr::UNSPECIFIED, 0).into(), options))
    }

    #[must_use]
    pub fn options(&self) -> &EndpointOptions {
        &self.options
    }

    /// The actual address, with the actual port.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_address(&self) -> Result<SocketAddr, BindError> {
        self.inner.local_addr().map_err(BindError::Socket)
    }

    /// What went through the socket since it was opened.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    /// Takes handshakes from now on; [`Server::run`](super::Server::run) must be there to answer them.
    ///
    /// # Errors
    /// When the configuration is not one for QUIC.
    pub fn listen(&self, tls: rustls::ServerConfig) -> Result<(), BindError> {
        let tls = QuicServerConfig::try_from(tls).map_err(BindError::Tls)?;
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config
            .transport_config(self.transport.clone())
            .max_incoming(self.options.handshakes)
            .incoming_buffer_size(64 << 10)
            .incoming_buffer_size_total(4 << 20);
        self.inner.set_server_config(Some(config));
        Ok(())
    }

    /// # Errors
    /// When the configuration is not one for QUIC.
    pub fn dialler(&self, tls: rustls::ClientConfig) -> Result<Dialler, BindError> {
        Self::dialler_with(tls, self.transport.clone())
    }

    /// One for the directory, towards which packets stay at what an Ethernet carries.
    ///
    /// # Errors
    /// As [`dialler`](Self::dialler).
    pub fn dialler_to_directory(&self, tls: rustls::ClientConfig) -> Result<Dialler, BindError> {
        let packet_bytes = self.options.packet_bytes.min(ETHERNET_PACKET_BYTES);
        self.dialler_for(tls, &EndpointOptions { packet_bytes, ..self.options.clone() })
    }

    /// One whose connections hold what these options say, in place of the endpoint's own.
    ///
    /// # Errors
    /// As [`dialler`](Self::dialler).
    pub fn dialler_for(&self, tls: rustls::ClientConfig, options: &EndpointOptions) -> Result<Dialler, BindError> {
        Self::dialler_with(tls, Arc::new(options.transport(self.tuning)))
    }

    fn dialler_with(tls: rustls::ClientConfig, transport: Arc<TransportConfig>) -> Result<Dialler, BindError> {
        let tls = QuicClientConfig::try_from(tls).map_err(BindError::Tls)?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(transport);
        Ok(Dialler(config))
    }

    /// Dials one address and proves that who answers has this name. The other side may still refuse us afterwards: it judges our
    /// certificate last.
    ///
    /// # Errors
    /// When nobody answers within [`HANDSHAKE`], or without trust.
    pub async fn dial(&self, dialler: &Dialler, address: SocketAddr, name: &str) -> Result<Connection, CallError> {
        let undiallable = |_| CallError::Undiallable { address: address.to_string() };
        let connecting = self.inner.connect_with(dialler.0.clone(), address, name).map_err(undiallable)?;
        let timed_out = |_| CallError::TimedOut { what: "the handshake", after: HANDSHAKE };
        Ok(Connection(timeout(HANDSHAKE, connecting).await.map_err(timed_out)??))
    }

    /// Takes no more handshakes.
    pub(super) fn deafen(&self) {
        self.inner.set_server_config(None);
    }

    /// Closes every connection and waits a moment until the other ends were told.
    ///
    /// quinn would keep closed connections for three timeouts, 80 ms on loopback and seconds on a long line, to say again that
    /// they are closed to whom the first word did not reach. Who only dials does not wait for that: a server that was not told
    /// finds out by silence.
    pub async fn close(&self) {
        const SERVER: Duration = Duration::from_secs(1);
        const DIALLER: Duration = Duration::from_millis(10);
        let moment = if self.options.incoming_requests == 0 { DIALLER } else { SERVER };
        self.inner.close(VarInt::from_u32(close::SHUTTING_DOWN), b"");
        timeout(moment, self.inner.wait_idle()).await.ok(); // best effort
    }
}

fn endpoint_config(reset_key: Option<[u8; 32]>) -> EndpointConfig {
    let Some(key) = reset_key else { return EndpointConfig::default() };
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key)));
    // quinn's own generator knows only ids of its own run, and drops what carries an earlier one's in silence.
    config.cid_generator(|| Box::new(RandomIds));
    config
}

/// Connection ids without structure: an unknown one may be of an earlier run, and is answered with a reset.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; 8];
        getrandom::fill(&mut id).ok(); // quinn tries again on a collision, and gives up on too many
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn open_socket(address: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // The kernel may grant less; then fewer packets wait there, and no more is lost than speed.
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_taken_at_its_word_or_refused() {
        let tuning = |mtu: &str, congestion: &str| {
            Tuning::from(|name| Some(if name == "SHOAL_MTU" { mtu } else { congestion }.to_owned()))
        };
        let plain = Tuning { packet_bytes: 16_370, congestion: Congestion::Arrival };
        assert_eq!(Tuning::from(|_| None).unwrap(), plain);
        assert_eq!(tuning("", "").unwrap(), plain);
        assert_eq!(tuning("1452", "cubic").unwrap(), Tuning { packet_bytes: 1_452, congestion: Congestion::Cubic });
        for (mtu, congestion, said) in [
            ("1199", "", r#"SHOAL_MTU is "1199", and takes a UDP payload of 1200 to 16370 bytes"#),
            ("16371", "", "SHOAL_MTU"),
            ("70000", "", "SHOAL_MTU"),
            ("1452 bytes", "", "SHOAL_MTU"),
            ("", "reno", r#"SHOAL_CONGESTION is "reno", and takes arrival, bbr or cubic"#),
        ] {
            let error = tuning(mtu, congestion).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
