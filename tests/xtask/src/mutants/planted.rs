//! The defects: what each breaks, and where.

use super::{Mutant, Promise};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "no fsync",
        promise: Promise::Records,
        file: "broker/env/src/sync_work.rs",
        text: "self.files.iter().try_for_each(|file| file.sync_data())",
        planted: "Ok(())",
    },
    Mutant {
        name: "names are not synced",
        promise: Promise::Records,
        file: "broker/env/src/sync_work.rs",
        text: "for directory in &self.directories {",
        planted: "for directory in self.directories.iter().take(0) {",
    },
    Mutant {
        name: "no CRC check",
        promise: Promise::Records,
        file: "broker/log/src/scan.rs",
        text: "checks_crc: true,",
        planted: "checks_crc: false,",
    },
    Mutant {
        name: "acknowledge early",
        promise: Promise::Records,
        file: "broker/replica/src/partition.rs",
        text: "Durability::Fsync => self.log.flushed_offset(),",
        planted: "Durability::Fsync => self.log.log_end_offset(),",
    },
    Mutant {
        name: "drop producer state",
        promise: Promise::Duplicates,
        file: "broker/log/src/open.rs",
        text: "producers: producers.0,",
        planted: "producers: crate::producer_state::ProducerState::default(),",
    },
    Mutant {
        name: "publish a newer end",
        promise: Promise::Records,
        file: "broker/node/src/flush.rs",
        text: "Ok(mut locked) => locked.handle_flushed(end),",
        planted: "Ok(mut locked) => {
                let mut newer = end;
                newer.offset = locked.log().log_end_offset();
                locked.handle_flushed(newer)
            }",
    },
    Mutant {
        name: "believe the page cache",
        promise: Promise::Records,
        file: "broker/log/src/recovery.rs",
        text: "            file.forget_cached(segment.last_batch)
                .map_err(|error| self.io(error))?;
",
        planted: "",
    },
    Mutant {
        name: "offset commit answered before it is durable",
        promise: Promise::Commits,
        file: "broker/coordinator/src/commit.rs",
        text: "outcome.answer(context.token, after, GroupAnswer::Commit(body));",
        planted: "let _ = after;
        outcome.answer(context.token, After::Immediate, GroupAnswer::Commit(body));",
    },
    Mutant {
        name: "commit of a fenced generation accepted",
        promise: Promise::Owners,
        file: "broker/coordinator/src/commit.rs",
        text: "self.check_generation(&request.member_id, instance_id, generation_id)?;",
        planted: "self.check_member(&request.member_id, instance_id)?;",
    },
    Mutant {
        name: "loaded group forgets offsets",
        promise: Promise::Commits,
        file: "broker/coordinator/src/shard.rs",
        text: "self.is_loading = false;",
        planted: "self.is_loading = false;
        for group in self.groups.values_mut() {
            group.offsets = crate::offsets::Offsets::default();
        }",
    },
    Mutant {
        name: "offsets shown while they load",
        promise: Promise::Commits,
        file: "broker/coordinator/src/fetch.rs",
        text: "if let Err(code) = self.check_loaded() {",
        planted: "if let Err(code) = Ok::<(), ErrorCode>(()) {",
    },
    Mutant {
        name: "offsets shown before they are durable",
        promise: Promise::Commits,
        file: "broker/coordinator/src/fetch.rs",
        text: "let after = self.after_reading(group);",
        planted: "let after = After::Immediate;",
    },
    Mutant {
        name: "partitions given before it is durable",
        promise: Promise::Owners,
        file: "broker/coordinator/src/sync.rs",
        text: ".answer(call.token, after, GroupAnswer::Sync(response));",
        planted: ".answer(call.token, After::Immediate, GroupAnswer::Sync(response));
        let _ = after;",
    },
    Mutant {
        name: "dead member keeps its partitions",
        promise: Promise::Owners,
        file: "broker/coordinator/src/shard.rs",
        text: "if member.handle_session_timer(&self.id, step.timers, step.now) {",
        planted: "if member.handle_session_timer(&self.id, step.timers, step.now) && step.now.0 == 0 {",
    },
    Mutant {
        name: "new topic has its namesake's offsets",
        promise: Promise::Lives,
        file: "broker/coordinator/src/offsets.rs",
        text: "known && present.is_some_and(",
        planted: "known && false && present.is_some_and(",
    },
    Mutant {
        name: "a failed sync is tried again",
        promise: Promise::Records,
        file: "broker/node/src/flush.rs",
        text: "directory.sync(&round.work)",
        planted: "directory
            .sync(&round.work)
            .or_else(|_| directory.sync(&round.work))",
    },
    Mutant {
        name: "a deleted topic fails the round that syncs it",
        promise: Promise::Directories,
        file: "broker/env/src/sync_work.rs",
        text: "match disk.sync_directory(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),",
        planted: "match disk.sync_directory(directory) {
                Err(error) => return Err(error),",
    },
    Mutant {
        name: "a long name has no room aside",
        promise: Promise::Lives,
        file: "broker/node/src/aside.rs",
        text: "let room = NAME_MAX.saturating_sub(rest.len()).min(self.topic.len());",
        planted: "let room = self.topic.len();",
    },
    Mutant {
        name: "a moved partition forgets where its log begins",
        promise: Promise::DeletedRecords,
        file: "broker/node/src/moves.rs",
        text: "        target.set_arriving(Some(CheckpointEntry {
            topic_id,
            partition: index,
            noted: locked.log().noted_of_copy(),
        }));
",
        planted: "",
    },
    Mutant {
        name: "a move is decided before its copy is synced",
        promise: Promise::Directories,
        file: "broker/log/src/relocation.rs",
        text: "sync(&**file, path)?;",
        planted: "let _ = (file, path);",
    },
    Mutant {
        name: "what a move left behind counts as the partition",
        promise: Promise::Directories,
        file: "broker/node/src/placement.rs",
        text: "!self.was_left_behind(image, name, index, **other)",
        planted: "image.topic(&name.topic).is_some()",
    },
    Mutant {
        name: "a round of the old directory syncs a moved partition",
        promise: Promise::Records,
        file: "broker/node/src/flush.rs",
        text: "Ok(_) if !is_here() => {",
        planted: "Ok(_) if false && !is_here() => {",
    },
    Mutant {
        name: "one failed directory fails all",
        promise: Promise::Directories,
        file: "broker/node/src/flush.rs",
        text: "if failed.get(partition.directory()) == Some(&true) {",
        planted: "if failed.contains(&true) {",
    },
    Mutant {
        name: "recovery does not sync the names of what it publishes",
        promise: Promise::Records,
        file: "broker/log/src/open.rs",
        text: "place.disk.sync_directory(&place.directory)?;
        if is_new && let Some(parent) = place.directory.parent() {",
        planted: "if is_new && let Some(parent) = place.directory.parent() {",
    },
    Mutant {
        name: "damage below the recovery point is cut",
        promise: Promise::Damage,
        file: "broker/log/src/open.rs",
        text: "let point = noted.recovery_point.max(self.gaps_end);",
        planted: "let point = Offset::ZERO;",
    },
    Mutant {
        name: "serve without checking CRC",
        promise: Promise::Damage,
        file: "broker/log/src/read.rs",
        text: "check_crc(batch).map_err(|error| error.to_string())?;",
        planted: "",
    },
    Mutant {
        name: "the epoch does not rise",
        promise: Promise::Records,
        file: "broker/metadata/src/controller.rs",
        text: "let broker_epoch = last + 1;",
        planted: "let broker_epoch = last.max(1);",
    },
    Mutant {
        name: "forget one batch of each producer",
        promise: Promise::Duplicates,
        file: "broker/log/src/producer_state.rs",
        text: "pub(crate) const BATCHES_MAX: usize = 5;",
        planted: "pub(crate) const BATCHES_MAX: usize = 4;",
    },
    Mutant {
        name: "metadata is not synced",
        promise: Promise::Lives,
        file: "broker/quorum/src/quorum.rs",
        text: "        if let Err(source) = log.file.sync_data() {
            return Err(self.fail(&log.path, source));
        }
        log.end += frame.len() as u64;",
        planted: "        log.end += frame.len() as u64;",
    },
    Mutant {
        name: "the checkpoint is not synced",
        promise: Promise::DeletedRecords,
        file: "broker/log/src/checkpoint.rs",
        text: "        file.sync_data()?;
        disk.rename(&temporary, &path)?;",
        planted: "        disk.rename(&temporary, &path)?;",
    },
    Mutant {
        name: "segments go before the new start is durable",
        promise: Promise::DeletedRecords,
        file: "broker/node/src/retention.rs",
        text: "let noted = self.write_checkpoints(&[], effects);",
        planted: "let noted: Vec<std::io::Result<bool>> =
            self.directories.iter().map(|_| Ok(true)).collect();",
    },
    Mutant {
        name: "DeleteRecords answered before it is durable",
        promise: Promise::DeletedRecords,
        file: "broker/node/src/retention.rs",
        text: "noted = self.write_checkpoints(&[], &mut effects);",
        planted: "noted = self.directories.iter().map(|_| Ok::<_, std::io::Error>(true)).collect();",
    },
    Mutant {
        name: "compaction drops a key",
        promise: Promise::Compaction,
        file: "broker/log/src/compaction/cleaned_batch.rs",
        text: "is_none_or(|last| last.0 <= record.offset)",
        planted: "is_none_or(|last| last.0 < record.offset)",
    },
    Mutant {
        name: "tombstones go at once",
        promise: Promise::Compaction,
        file: "broker/log/src/compaction/cleaned_batch.rs",
        text: "header.has_delete_horizon() && self.now.0 >= header.base_timestamp;",
        planted: "header.base_timestamp > 0;",
    },
    Mutant {
        name: "a replacement is not synced",
        promise: Promise::Compaction,
        file: "broker/log/src/compaction/cleaned_segment.rs",
        text: "self.file.sync_data()?;",
        planted: "",
    },
    Mutant {
        name: "retention keeps a segment too few",
        promise: Promise::Retention,
        file: "broker/log/src/retention.rs",
        text: ".is_some_and(|max| size - segment.size >= max);",
        planted: ".is_some_and(|max| size >= max);",
    },
    Mutant {
        name: "a gap in a producer's sequences is taken",
        promise: Promise::Order,
        file: "broker/log/src/producer_state.rs",
        text: "if header.base_sequence != next_sequence(last) {",
        planted: "if header.base_sequence < next_sequence(last) {",
    },
    Mutant {
        name: "a member that is fenced is let in",
        promise: Promise::StaticMembers,
        file: "broker/coordinator/src/group.rs",
        text: "Some(owner) if **owner != *member_id => return Err(ErrorCode::FencedInstanceId),",
        planted: "Some(owner) if **owner != *member_id => return Ok(()),",
    },
    Mutant {
        name: "a static member comes back by a rebalance",
        promise: Promise::StaticMembers,
        file: "broker/coordinator/src/join.rs",
        text: "if matches!(self.state, State::Stable) && self.next_protocol() == self.protocol {",
        planted: "if matches!(self.state, State::Empty) && self.next_protocol() == self.protocol {",
    },
    Mutant {
        name: "a static member comes back without its partitions",
        promise: Promise::StaticMembers,
        file: "broker/coordinator/src/join.rs",
        text: "let keep = |member: &crate::member::Member| member.assignment.clone();",
        planted: "let keep = |_: &crate::member::Member| bytes::Bytes::new();",
    },
    Mutant {
        name: "a config that failed with the disk is acknowledged",
        promise: Promise::Configs,
        file: "broker/node/src/metadata.rs",
        text: "failed: done.err(),",
        planted: "failed: done.err().and(None),",
    },
    Mutant {
        name: "a config of all brokers does not reach the topics",
        promise: Promise::Configs,
        file: "broker/node/src/metadata.rs",
        text: "true => image.topics().collect(),",
        planted: "true => Vec::new(),",
    },
    Mutant {
        name: "a deleted config stays",
        promise: Promise::Configs,
        file: "broker/metadata/src/image.rs",
        text: "None => configs.remove(&record.key),",
        planted: "None => configs.get(&record.key).cloned(),",
    },
    Mutant {
        name: "partitions that failed with the disk are acknowledged",
        promise: Promise::Partitions,
        file: "broker/node/src/metadata.rs",
        text:
            "                let done = self.carry_out(&mut owner, &image, decision, &mut effects);
                effects.push(answered(token, ProposalAnswer::PartitionsCreated(done)));",
        planted: "                let told = decision.answer.clone();
                let done = self.carry_out(&mut owner, &image, decision, &mut effects);
                let done = done.or(Ok(told));
                effects.push(answered(token, ProposalAnswer::PartitionsCreated(done)));",
    },
    Mutant {
        name: "new partitions are not opened",
        promise: Promise::Partitions,
        file: "broker/node/src/metadata.rs",
        text: "                .chain(delta.changed.values())
",
        planted: "",
    },
    Mutant {
        name: "nobody waits for a quota",
        promise: Promise::Quotas,
        file: "broker/api/src/client_rates.rs",
        text: "self.rates.record(of, quota.limit, bytes, now, window)",
        planted: "self.rates
            .record(of, quota.limit, bytes, now, window)
            .min(Duration::ZERO)",
    },
    Mutant {
        name: "who is to wait is read all the same",
        promise: Promise::Quotas,
        file: "broker/api/src/answers.rs",
        text: "*muted_until = (*muted_until).max(Some(until));",
        planted: "let _ = until.max((*muted_until).unwrap_or(until));",
    },
    Mutant {
        name: "what is fetched is not counted",
        promise: Promise::Quotas,
        file: "broker/api/src/handlers/fetch.rs",
        text: "let throttle = broker.count_bytes(Direction::Fetched, client_id, bytes, now);",
        planted: "let throttle = broker.count_bytes(Direction::Fetched, client_id, bytes.min(1), now);",
    },
    Mutant {
        name: "a quota that failed with the disk is acknowledged",
        promise: Promise::Quotas,
        file: "broker/node/src/metadata.rs",
        text: "ProposalAnswer::ClientQuotasAltered(decision.answer, done.err());",
        planted: "ProposalAnswer::ClientQuotasAltered(decision.answer, done.err().and(None));",
    },
    Mutant {
        name: "a removed quota stays",
        promise: Promise::Quotas,
        file: "broker/metadata/src/client_quotas.rs",
        text: "            quotas.remove(&record.key);
",
        planted: "",
    },
    Mutant {
        name: "a credential that failed with the disk is acknowledged",
        promise: Promise::Credentials,
        file: "broker/node/src/metadata.rs",
        text: "ProposalAnswer::ScramAltered(decision.answer, done.err());",
        planted: "ProposalAnswer::ScramAltered(decision.answer, done.err().and(None));",
    },
    Mutant {
        name: "a user has one credential",
        promise: Promise::Credentials,
        file: "broker/metadata/src/scram.rs",
        text: "            credentials.insert(mechanism, credential);",
        planted: "            credentials.clear();
            credentials.insert(mechanism, credential);",
    },
    Mutant {
        name: "a level that failed with the disk is acknowledged",
        promise: Promise::Features,
        file: "broker/node/src/metadata.rs",
        text:
            "                let done = self.carry_out(&mut owner, &image, decision, &mut effects);
                effects.push(answered(token, ProposalAnswer::FeaturesUpdated(done)));",
        planted: "                let told = decision.answer.clone();
                let done = self.carry_out(&mut owner, &image, decision, &mut effects);
                let done = done.or(Ok(told));
                effects.push(answered(token, ProposalAnswer::FeaturesUpdated(done)));",
    },
    Mutant {
        name: "the version of the metadata begins anew",
        promise: Promise::Versions,
        file: "broker/node/src/metadata.rs",
        text: "log_end_offset: Offset(self.quorum.last_index().0 as i64),",
        planted: "log_end_offset: Offset(self.quorum.log_bytes() as i64 % 1000),",
    },
    Mutant {
        name: "a change is as many proposals as it has records",
        promise: Promise::Whole,
        file: "broker/node/src/metadata.rs",
        text: "        owner
            .quorum
            .propose(&encoded)
            .map_err(|error| storage(&error))?;",
        planted: "        for one in encoded.chunks(1) {
            let proposed = owner.quorum.propose(one);
            proposed.map_err(|error| storage(&error))?;
        }",
    },
    Mutant {
        name: "DeleteGroups answered before it is durable",
        promise: Promise::GroupDeletion,
        file: "broker/coordinator/src/delete.rs",
        text: "(After::Records, ErrorCode::None)",
        planted: "(After::Immediate, ErrorCode::None)",
    },
    Mutant {
        name: "offsets outlive their group",
        promise: Promise::GroupDeletion,
        file: "broker/coordinator/src/delete.rs",
        text: ".extend(offsets.map(|(topic, index, _)| group.offset_tombstone(topic, index)));",
        planted: ".extend(offsets.take(0).map(|(topic, index, _)| group.offset_tombstone(topic, index)));",
    },
    Mutant {
        name: "OffsetDelete answered before it is durable",
        promise: Promise::GroupDeletion,
        file: "broker/coordinator/src/delete.rs",
        text: "            self.after_reading(group)
        } else {
            After::Records
        };",
        planted: "            self.after_reading(group)
        } else {
            After::Immediate
        };",
    },
];
