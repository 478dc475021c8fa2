//! What a decision gives back: records to append and answers, each with its durability condition.

use millstream_model::{Offset, RequestToken};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::delete_groups_response::DeletableGroupResult;
use millstream_protocol::messages::describe_groups_response::DescribedGroup;
use millstream_protocol::messages::list_groups_response::ListedGroup;
use millstream_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use millstream_protocol::messages::{
    HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, OffsetCommitResponse,
    OffsetDeleteResponse, SyncGroupResponse,
};

use crate::CoordinatorRecord;

/// The result of one step of a shard.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To be appended in order, as one batch where they fit, and replayed at once.
    pub records: Vec<CoordinatorRecord>,
    /// To be sent, each after its condition holds.
    pub answers: Vec<ParkedAnswer>,
}

/// An answer to one request, held until a condition is met.
#[derive(Debug)]
pub struct ParkedAnswer {
    /// The request.
    pub token: RequestToken,
    /// When it may be sent.
    pub after: After,
    /// The answer.
    pub body: GroupAnswer,
}

/// When an answer may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum After {
    /// Now: it tells nothing that a failure could take back.
    Immediate,
    /// Once all records of the same [`Outcome`] are committed. Occurs only when there are some.
    Records,
    /// Once the high watermark is at least this *exclusive* end of the records it tells of.
    Committed(Offset),
}

/// The typed answers; who sends one encodes it for the request's version.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupAnswer {
    /// To JoinGroup.
    Join(JoinGroupResponse<'static>),
    /// To SyncGroup.
    Sync(SyncGroupResponse<'static>),
    /// To Heartbeat.
    Heartbeat(HeartbeatResponse),
    /// To LeaveGroup.
    Leave(LeaveGroupResponse<'static>),
    /// To OffsetCommit.
    Commit(OffsetCommitResponse<'static>),
    /// To one group of OffsetFetch; [`crate::join_offset_fetch`] makes the response.
    OffsetFetch(OffsetFetchResponseGroup<'static>),
    /// To OffsetDelete.
    OffsetDelete(OffsetDeleteResponse<'static>),
    /// To one group of DeleteGroups.
    Delete(DeletableGroupResult<'static>),
    /// To one group of DescribeGroups.
    Describe(DescribedGroup<'static>),
    /// This shard's part of ListGroups, or the error that the whole request is answered with.
    List(Result<Vec<ListedGroup<'static>>, ErrorCode>),
}

impl GroupAnswer {
    /// The same answer turned into a refusal, for when its records could not be appended or their
    /// commit will not be seen here. `api_version` is the request's.
    #[must_use]
    pub fn into_refusal(self, api_version: i16, code: ErrorCode) -> GroupAnswer {
        crate::refusal::refuse_answer(self, api_version, code)
    }
}

impl Outcome {
    /// Adds an answer.
    pub(crate) fn answer(&mut self, token: RequestToken, after: After, body: GroupAnswer) {
        self.answers.push(ParkedAnswer { token, after, body });
    }

    /// An outcome of one answer.
    pub(crate) fn of(token: RequestToken, after: After, body: GroupAnswer) -> Outcome {
        Outcome {
            records: Vec::new(),
            answers: vec![ParkedAnswer { token, after, body }],
        }
    }

    /// Cuts the records into runs of at most `bytes_max` each (a larger single record stands
    /// alone), to be appended as one batch each. Needed for deletions only, which may be cut
    /// anywhere; every other decision keeps to `records_max_bytes`.
    pub fn batches(&self, bytes_max: usize) -> impl Iterator<Item = &[CoordinatorRecord]> {
        let mut rest = self.records.as_slice();
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fit = rest.iter().take_while(|record| {
                bytes += record.size_in_bytes();
                bytes <= bytes_max
            });
            let count = fit.count().max(1).min(rest.len());
            let (batch, left) = rest.split_at(count);
            rest = left;
            (!batch.is_empty()).then_some(batch)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_into_batches_that_fit() {
        let record = |bytes: usize| CoordinatorRecord {
            key: vec![0; bytes].into(),
            value: None,
        };
        let records = [10, 10, 200, 10, 10, 10].map(record).to_vec();
        let size = records[0].size_in_bytes();
        let outcome = Outcome {
            records,
            answers: Vec::new(),
        };
        let cut = |max| outcome.batches(max).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(cut(2 * size), [2, 1, 2, 1]);
        assert_eq!(cut(2 * size - 1), [1, 1, 1, 1, 1, 1]);
        assert_eq!(cut(10_000), [6]);
        assert_eq!(Outcome::default().batches(1).count(), 0);
    }
}
