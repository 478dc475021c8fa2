//! What the broker answers: one file per request, each authorising, validating, splitting by
//! partition and joining the answers.
//!
//! A connection hands in frames and gets [`Handled`]; everything that must happen elsewhere (flush,
//! propose to the metadata log, answer another connection) comes out as [`Effect`]s. Nothing here
//! waits, reads a clock or knows sockets, threads or files.

#![forbid(unsafe_code)]

mod answer_budget;
mod answers;
mod append;
mod broker;
mod client_rates;
mod connections;
mod context;
mod counters;
mod directory_gate;
mod dispatch;
mod durations;
mod fetching;
mod frame_budget;
mod group_shard;
mod handlers;
mod host_port;
mod loggers;
mod moves;
mod proposal;
mod queued;
mod rate;
mod reply;
mod supported;
mod view;
mod visit;

pub use answer_budget::AnswerBudget;
pub use answers::{AnswerLimits, AnswerQueue, Begun, Completion, CompletionEvent};
pub use append::AppendRefusal;
pub use broker::{Broker, BrokerConfig};
pub use client_rates::QuotaWindow;
pub use connections::{ConnectionLimits, ConnectionRefused, Connections};
pub use context::{Client, CloseReason, Context, Effect, Handled};
pub use counters::{Asked, Counters};
pub use directory_gate::{DirectoryGates, Entered, GateLimits, NextStep, QueueFull};
pub use dispatch::{handle_frame, kind_of};
pub use durations::Histogram;
pub use fetching::FetchSessions;
pub use frame_budget::{FrameBudget, FrameTicket};
pub use group_shard::GroupShard;
pub use host_port::{HostPort, InvalidHostPort};
pub use loggers::{LogLevels, Loggers};
pub use moves::{Move, Moves};
pub use proposal::{
    ArrivingPartition, DeletedRecords, LogDirectoryDescription, LogDirectoryState, Proposal,
    ProposalAnswer, RecordsToDelete,
};
pub use queued::{QueuedAppend, QueuedRequest, QueuedStep, ShardStep, StoredAppend};
pub use supported::{SupportedApi, supported_apis};
pub use view::{HostedTopic, MetadataLog, View};
