//! A connection that shows everything: requests out, answers in, in order.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use millstream_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millstream_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, InitProducerIdRequest, InitProducerIdResponse,
};
use millstream_protocol::wire::{Decoder, Message};
use millstream_protocol::{ApiKey, ErrorCode, Request, frame};

use super::{Failure, Options};

/// A broker that lives answers within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Bytes of an answer at most.
const ANSWER_MAX: usize = 128 << 20;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum WireError {
    /// The connection is gone: the broker was killed.
    Gone,
    /// The broker did what it must not.
    Wrong(Failure),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> WireError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                WireError::Wrong(format!("no answer within {ANSWER_WITHIN:?}"))
            }
            _ => WireError::Gone,
        }
    }
}

impl From<Failure> for WireError {
    fn from(failure: Failure) -> WireError {
        WireError::Wrong(failure)
    }
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl Connection {
    pub(crate) fn open(port: u16) -> Result<Connection, WireError> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|_| WireError::Gone)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        Ok(Connection {
            stream,
            next_correlation_id: 0,
        })
    }

    /// Sends a request and answers its correlation id.
    pub(crate) fn send<'m, R: Request + Message<'m>>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<i32, WireError> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let frame = frame::encode_request(correlation_id, "crash", version, request)
            .map_err(|error| format!("cannot encode a request: {error}"))?;
        for part in &frame.parts {
            self.stream.write_all(part)?;
        }
        Ok(correlation_id)
    }

    /// Receives the next answer's frame, without its length.
    pub(crate) fn receive(&mut self) -> Result<Bytes, WireError> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > ANSWER_MAX {
            return Err(format!("an answer of {length} bytes").into());
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(Bytes::from(answer))
    }

    /// Sends a request and receives its answer.
    pub(crate) fn call<'m, R: Request + Message<'m>>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<(i32, Bytes), WireError> {
        let correlation_id = self.send(version, request)?;
        Ok((correlation_id, self.receive()?))
    }
}

/// Reads an answer that must be the one to `correlation_id`.
pub(crate) fn read_answer<'f, M: Message<'f>>(
    frame: &'f Bytes,
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<M, Failure> {
    let mut decoder = Decoder::new(frame);
    let unreadable = |error| format!("unreadable answer to {}: {error}", api_key.name());
    let id = frame::decode_response_header(&mut decoder, api_key, version).map_err(unreadable)?;
    if id != correlation_id {
        return Err(format!("answer {id} where {correlation_id} is due"));
    }
    M::decode(&mut decoder, version).map_err(unreadable)
}

/// What an error code is called.
pub(crate) fn code_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |code| code.to_string())
}

/// Creates a topic where there is none of the name. The broker is not killed meanwhile.
pub(crate) fn create_topic(options: &Options, name: &str, partitions: i32) -> Result<(), Failure> {
    const VERSION: i16 = 7;
    let configs = options
        .durability
        .iter()
        .map(|durability| CreatableTopicConfig {
            name: "millstream.durability".into(),
            value: Some(durability.as_str().into()),
        });
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: configs.collect(),
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 30_000,
        validate_only: false,
    };
    let gone = |error| format!("cannot create the topic: {error:?}");
    let mut connection = Connection::open(options.port).map_err(gone)?;
    let (id, frame) = connection.call(VERSION, &request).map_err(gone)?;
    let answer: CreateTopicsResponse<'_> = read_answer(&frame, ApiKey::CreateTopics, VERSION, id)?;
    let code = answer.topics.first().map(|topic| topic.error_code);
    match code {
        Some(0) => Ok(()),
        Some(code) if code == ErrorCode::TopicAlreadyExists.code() => Ok(()),
        code => Err(format!(
            "cannot create the topic: {}",
            code_name(code.unwrap_or(-1))
        )),
    }
}

/// Takes a producer id. *Errors*: `Gone` also for answers that ask to try again.
pub(crate) fn init_producer_id(connection: &mut Connection) -> Result<(i64, i16), WireError> {
    const VERSION: i16 = 4;
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let (id, frame) = connection.call(VERSION, &request)?;
    let answer: InitProducerIdResponse = read_answer(&frame, ApiKey::InitProducerId, VERSION, id)?;
    match ErrorCode::from_code(answer.error_code) {
        Some(ErrorCode::None) => Ok((answer.producer_id, answer.producer_epoch)),
        Some(code) if code.is_retriable() => Err(WireError::Gone),
        _ => Err(format!("InitProducerId: {}", code_name(answer.error_code)).into()),
    }
}
