//! One connection to one broker: version negotiation, pipelined requests, bounded in both directions.
//!
//! A task owns the socket; [`Connection`] is a handle to it and cheap to clone. Requests are written in the order in
//! which [`Connection::submit`] was called, several in one system call where they wait, and answers come back in the same
//! order. At most `in_flight_max` requests wait for answers; past that `submit` waits. An answer that takes longer than
//! its limit ends the connection: the answers behind it can not be told from late ones otherwise.

mod frame_buffer;
mod in_flight;
mod task;
mod versions;
mod write_queue;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use millstream_protocol::frame::{decode_response_header, encode_request};
use millstream_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_protocol::wire::{Decoder, Message};
use millstream_protocol::{ApiKey, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::error::ConnectionError;
use task::{Outgoing, Task};
pub use versions::BrokerVersions;

/// ApiVersions answers UNSUPPORTED_VERSION in the layout of version 0, whatever was asked.
const UNSUPPORTED_VERSION: i16 = 35;

/// Bounds and names of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// Name in the broker's logs and quotas.
    pub client_id: String,
    /// Longest time to wait for the connection.
    pub connect_timeout: Duration,
    /// Longest time to wait for an answer, beyond what the request itself asks the broker to wait.
    pub request_timeout: Duration,
    /// Requests without an answer; past that, `submit` waits.
    pub in_flight_max: usize,
    /// Longest answer taken, in bytes.
    pub answer_bytes_max: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            client_id: "millstream".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            in_flight_max: 64,
            answer_bytes_max: 100 * 1024 * 1024,
        }
    }
}

/// A handle to an open connection.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: String,
    config: ConnectionConfig,
    // Set before the handle is given away.
    versions: OnceLock<BrokerVersions>,
    correlation_id: AtomicI32,
    in_flight: Arc<Semaphore>,
    // Bounded by the permits of `in_flight`: whatever stands in it holds one.
    requests: mpsc::UnboundedSender<Outgoing>,
}

/// An answer as it came, to be decoded where it is used.
#[derive(Debug)]
pub struct Answer {
    frame: Bytes,
    api: ApiKey,
    version: i16,
    connection: Connection,
}

impl Answer {
    /// The version of the request, and so of the answer.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The length of the answer in bytes, without its length field.
    pub fn length(&self) -> usize {
        self.frame.len()
    }

    /// The body; strings and records are slices of the answer.
    pub fn decode<'a, M: Message<'a>>(&'a self) -> Result<M, ConnectionError> {
        self.decode_as(self.version)
    }

    fn decode_as<'a, M: Message<'a>>(&'a self, version: i16) -> Result<M, ConnectionError> {
        let mut decoder = Decoder::new(&self.frame);
        decode_response_header(&mut decoder, self.api, self.version)
            .and_then(|_| M::decode(&mut decoder, version))
            .map_err(|source| ConnectionError::Decode {
                address: self.connection.address().to_owned(),
                api: self.api.name(),
                version,
                source: Arc::new(source),
            })
    }
}

/// The wait for one answer. Dropping it does not take the request back.
#[derive(Debug)]
pub struct Pending {
    receiver: oneshot::Receiver<Result<Bytes, ConnectionError>>,
    api: ApiKey,
    version: i16,
    // Keeps the connection open for as long as somebody waits for an answer from it.
    connection: Connection,
}

impl Future for Pending {
    type Output = Result<Answer, ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|received| {
            let frame = received.unwrap_or_else(|_| {
                Err(ConnectionError::Closed {
                    address: self.connection.address().to_owned(),
                    api: self.api.name(),
                })
            })?;
            Ok(Answer {
                frame,
                api: self.api,
                version: self.version,
                connection: self.connection.clone(),
            })
        })
    }
}

impl Connection {
    /// Connects to `address` (`HOST:PORT`) and asks which versions the broker speaks.
    pub async fn open(address: &str, config: &ConnectionConfig) -> Result<Self, ConnectionError> {
        let connect = TcpStream::connect(address);
        let stream = match tokio::time::timeout(config.connect_timeout, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => {
                return Err(ConnectionError::Connect {
                    address: address.to_owned(),
                    source: Arc::new(source),
                });
            }
            Err(_) => {
                return Err(ConnectionError::ConnectTimeout {
                    address: address.to_owned(),
                    after: config.connect_timeout,
                });
            }
        };
        // Small requests must not wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        Self::negotiated(reader, writer, address, config).await
    }

    async fn negotiated<R, W>(
        reader: R,
        writer: W,
        address: &str,
        config: &ConnectionConfig,
    ) -> Result<Self, ConnectionError>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, incoming) = mpsc::unbounded_channel();
        let bytes_max = config.answer_bytes_max;
        let task = Task::new(reader, writer, address.to_owned(), bytes_max, incoming);
        tokio::spawn(task.run());
        let connection = Self {
            shared: Arc::new(Shared {
                address: address.to_owned(),
                config: config.clone(),
                versions: OnceLock::new(),
                correlation_id: AtomicI32::new(0),
                in_flight: Arc::new(Semaphore::new(config.in_flight_max.max(1))),
                requests,
            }),
        };
        let versions = connection.negotiate().await?;
        let _ = connection.shared.versions.set(versions);
        Ok(connection)
    }

    async fn negotiate(&self) -> Result<BrokerVersions, ConnectionError> {
        let request = ApiVersionsRequest {
            client_software_name: Cow::Borrowed(env!("CARGO_PKG_NAME")),
            client_software_version: Cow::Borrowed(env!("CARGO_PKG_VERSION")),
            ..Default::default()
        };
        let newest = *ApiKey::ApiVersions.versions().end();
        let answer = self.ask_versions(&request, newest).await?;
        if error_code_of(&answer) != Some(UNSUPPORTED_VERSION) {
            return self.read_versions(&answer, newest);
        }
        // The answer tells the broker's own newest version; version 0 is understood by everybody.
        let refusal: ApiVersionsResponse<'_> = answer.decode_as(0)?;
        let offered = BrokerVersions::from_response(&refusal);
        let version = offered
            .newest_common(ApiKey::ApiVersions, newest)
            .unwrap_or(0);
        let answer = self.ask_versions(&request, version).await?;
        self.read_versions(&answer, version)
    }

    async fn ask_versions(
        &self,
        request: &ApiVersionsRequest<'_>,
        version: i16,
    ) -> Result<Answer, ConnectionError> {
        self.submit(request, version, Duration::ZERO).await?.await
    }

    fn read_versions(
        &self,
        answer: &Answer,
        version: i16,
    ) -> Result<BrokerVersions, ConnectionError> {
        let response: ApiVersionsResponse<'_> = answer.decode_as(version)?;
        if response.error_code != 0 {
            return Err(ConnectionError::Malformed {
                address: self.shared.address.clone(),
                what: format!(
                    "ApiVersions was answered with {}",
                    crate::error::BrokerCode(response.error_code)
                ),
            });
        }
        Ok(BrokerVersions::from_response(&response))
    }

    /// The broker's host and port, as given to [`Connection::open`].
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// What the broker offers.
    pub fn versions(&self) -> &BrokerVersions {
        static NONE: BrokerVersions = BrokerVersions::none();
        self.shared.versions.get().unwrap_or(&NONE)
    }

    /// Whether requests can still be sent.
    pub fn is_open(&self) -> bool {
        !self.shared.requests.is_closed()
    }

    /// The newest version of `api` that both sides speak, not above `at_most`.
    pub fn version_of(&self, api: ApiKey, at_most: i16) -> Result<i16, ConnectionError> {
        self.versions()
            .newest_common(api, at_most)
            .ok_or_else(|| ConnectionError::Unsupported {
                address: self.shared.address.clone(),
                api: api.name(),
                wanted: format!(
                    "{}-{}",
                    api.versions().start(),
                    at_most.min(*api.versions().end())
                ),
                offered: match self.versions().offered(api) {
                    Some(range) => format!("{}-{}", range.start(), range.end()),
                    None => "none".to_owned(),
                },
            })
    }

    /// Sends a request in the newest common version and waits for its answer.
    pub async fn call<'a, R: Request + Message<'a>>(
        &self,
        request: &R,
    ) -> Result<Answer, ConnectionError> {
        let version = self.version_of(R::API_KEY, i16::MAX)?;
        self.submit(request, version, Duration::ZERO).await?.await
    }

    /// Sends a request in `version`. The first wait is for room among the requests in flight; the returned future waits
    /// for the answer, for `broker_wait` (what the request asks the broker to wait) plus the request timeout.
    pub async fn submit<'a, R: Request + Message<'a>>(
        &self,
        request: &R,
        version: i16,
        broker_wait: Duration,
    ) -> Result<Pending, ConnectionError> {
        let permit = self.permit().await;
        let (correlation_id, frame) = self.encode(request, version)?;
        let (sender, receiver) = oneshot::channel();
        let waits = task::Waits {
            correlation_id,
            api: R::API_KEY.name(),
            limit: self.shared.config.request_timeout + broker_wait,
            answer: sender,
        };
        let outgoing = Outgoing {
            frame,
            permit,
            waits: Some(waits),
        };
        self.hand_over(outgoing, R::API_KEY)?;
        Ok(Pending {
            receiver,
            api: R::API_KEY,
            version,
            connection: self.clone(),
        })
    }

    /// Sends a request to which the broker never answers (Produce with acks 0); it counts as in flight until it is
    /// written.
    pub async fn submit_unanswered<'a, R: Request + Message<'a>>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(), ConnectionError> {
        let permit = self.permit().await;
        let (_, frame) = self.encode(request, version)?;
        let outgoing = Outgoing {
            frame,
            permit,
            waits: None,
        };
        self.hand_over(outgoing, R::API_KEY)
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.shared.in_flight)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    fn encode<'a, R: Request + Message<'a>>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(i32, Vec<Bytes>), ConnectionError> {
        let correlation_id = self.shared.correlation_id.fetch_add(1, Ordering::Relaxed);
        let client_id = &self.shared.config.client_id;
        let frame =
            encode_request(correlation_id, client_id, version, request).map_err(|source| {
                ConnectionError::Encode {
                    api: R::API_KEY.name(),
                    version,
                    source: Arc::new(source),
                }
            })?;
        Ok((correlation_id, frame.parts))
    }

    fn hand_over(&self, outgoing: Outgoing, api: ApiKey) -> Result<(), ConnectionError> {
        self.shared
            .requests
            .send(outgoing)
            .map_err(|_| ConnectionError::Closed {
                address: self.shared.address.clone(),
                api: api.name(),
            })
    }
}

/// The error code of an ApiVersions answer stands right behind the correlation id in every version.
fn error_code_of(answer: &Answer) -> Option<i16> {
    let bytes = answer.frame.get(4..6)?;
    Some(i16::from_be_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests;
