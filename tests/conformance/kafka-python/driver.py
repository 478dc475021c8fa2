"""kafka-python as a conformance driver: carries records between the harness and a broker.

The commands and what they print are described in README.md of the parent folder.
"""

import logging
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from commands import end_of_input, main, obey_orders
from frame import Acks, encode, read

PATIENCE_S = 20


def create(o):
    admin = KafkaAdminClient(bootstrap_servers=o.bootstrap)
    admin.create_topics({o.topic: {"num_partitions": o.partitions, "replication_factor": 1}})
    admin.close()


def produce(o):
    producer = KafkaProducer(
        bootstrap_servers=o.bootstrap,
        compression_type=None if o.compression == "none" else o.compression,
        linger_ms=5,
        batch_size=128 * 1024,
    )
    acks = Acks()
    waiting = []

    def settle():
        producer.flush()
        for sent in waiting:
            where = sent.get(timeout=60)
            acks.add(where.partition, where.offset)
        waiting.clear()

    for partition, timestamp, key, value, headers in read(sys.stdin.buffer):
        waiting.append(
            producer.send(o.topic, value, key, headers, partition=partition, timestamp_ms=timestamp)
        )
        if len(waiting) >= 20_000:
            settle()
    settle()
    producer.close()
    acks.print()


def consume(o):
    consumer = KafkaConsumer(bootstrap_servers=o.bootstrap, auto_offset_reset="none", enable_auto_commit=False)
    every = [TopicPartition(o.topic, p) for p in consumer.partitions_for_topic(o.topic)]
    left = {tp: end for tp, end in consumer.end_offsets(every).items() if end > 0}
    consumer.assign(list(left))
    for tp in left:
        consumer.seek(tp, 0)
    out = sys.stdout.buffer
    while left:
        for tp, messages in consumer.poll(timeout_ms=500).items():
            out.writelines(
                encode(m.offset, m.partition, m.timestamp, m.key, m.value, m.headers) for m in messages
            )
            if messages[-1].offset + 1 >= left.get(tp, messages[-1].offset + 2):
                del left[tp]
    out.flush()
    consumer.close()


class Assignment(ConsumerRebalanceListener):
    """Says what the member holds, each time that changes."""

    def on_partitions_revoked(self, revoked):
        print("assigned", flush=True)

    def on_partitions_assigned(self, assigned):
        print("assigned", *sorted(tp.partition for tp in assigned), flush=True)


def group(o):
    """One member: says what it is assigned, reads and commits, until standard input closes."""
    stop = end_of_input()
    consumer = KafkaConsumer(
        bootstrap_servers=o.bootstrap,
        group_id=o.group,
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        max_poll_interval_ms=10_000,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    consumer.subscribe([o.topic], listener=Assignment())
    # kafka-python 3.0.12 never holds what it was assigned where it joins again because the topic only then
    # appeared to it, and the poll that began that ends before the coordinator answers. So it knows it before.
    consumer.partitions_for_topic(o.topic)
    while not stop.is_set():
        offsets = {}
        for tp, messages in consumer.poll(timeout_ms=200).items():
            print("records", tp.partition, messages[0].offset, messages[-1].offset, flush=True)
            offsets[tp] = OffsetAndMetadata(messages[-1].offset + 1, "", -1)
        if offsets:
            try:
                consumer.commit(offsets)
                for tp, offset in offsets.items():
                    print("committed", tp.partition, offset.offset, flush=True)
            except KafkaError as error:
                print("error commit", error, flush=True)
    consumer.close()


def code(error):
    return getattr(error, "errno", None) or repr(error)


def errors(o):
    unknown = o.topic + "-unknown"
    admin = KafkaAdminClient(bootstrap_servers=o.bootstrap)
    # After one error an idempotent producer of kafka-python's fails whatever it is given.
    producer = KafkaProducer(
        bootstrap_servers=o.bootstrap, enable_idempotence=False, max_request_size=8 << 20, max_block_ms=3000
    )

    def told(topic):
        """kafka-python waits for a topic to appear until its time is up: this is what it was told all the while."""
        try:
            (description,) = admin.describe_topics([topic])
            return description["error_code"]
        except KafkaError as error:
            return code(error)

    def attempt(topic, size):
        try:
            producer.send(topic, bytes(size), partition=0).get(timeout=30)
            return 0
        except KafkaTimeoutError:
            return told(topic)
        except KafkaError as error:
            return code(error)

    print("unknown-topic-produce", attempt(unknown, 10))
    print("too-large", attempt(o.topic, 2 << 20))
    print("after-too-large", attempt(o.topic, 10))
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=o.bootstrap)
    try:
        consumer.end_offsets([TopicPartition(unknown, 0)], timeout_ms=3000)
        print("unknown-topic-consume 0")
    except KafkaTimeoutError:
        print("unknown-topic-consume", told(unknown))
    except KafkaError as error:
        print("unknown-topic-consume", code(error))
    consumer.close()
    admin.close()


class Worker:
    """What stays alive over all orders of the everyday passage."""

    def __init__(self, o):
        self.topic = o.topic
        self.admin = KafkaAdminClient(bootstrap_servers=o.bootstrap)
        # After one error an idempotent producer of kafka-python's fails whatever it is given.
        self.producer = KafkaProducer(
            bootstrap_servers=o.bootstrap, enable_idempotence=False, max_request_size=8 << 20
        )
        self.consumer = KafkaConsumer(
            bootstrap_servers=o.bootstrap,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            allow_auto_create_topics=False,
        )

    def obey(self, order, *words):
        if order == "create":
            self.admin.create_topics({self.topic: {"num_partitions": int(words[0]), "replication_factor": 1}})
        elif order == "delete":
            self.admin.delete_topics([self.topic])
        elif order == "send":
            partition, timestamp, key, size = words
            sent = self.producer.send(
                self.topic,
                bytes(int(size)),
                key.encode(),
                partition=int(partition),
                timestamp_ms=int(timestamp),
            )
            print("offset", sent.get(timeout=PATIENCE_S).offset)
        elif order == "offset-for":
            tp = TopicPartition(self.topic, int(words[0]))
            found = self.consumer.offsets_for_times({tp: int(words[1])})[tp]
            print("offset", "none" if found is None else found.offset)
        elif order == "seek":
            tp = TopicPartition(self.topic, int(words[0]))
            self.consumer.assign([tp])
            if words[1] == "beginning":
                self.consumer.seek_to_beginning(tp)
            elif words[1] == "end":
                self.consumer.seek_to_end(tp)
            else:
                self.consumer.seek(tp, int(words[1]))
            print("offset", self.consumer.position(tp, timeout_ms=1000 * PATIENCE_S))
        elif order == "read":
            self.read(int(words[0]))

    def read(self, left):
        end = time.monotonic() + PATIENCE_S
        while left > 0:
            if time.monotonic() > end:
                raise KafkaTimeoutError("records did not come in time")
            for messages in self.consumer.poll(timeout_ms=200).values():
                for m in messages:
                    print("record", m.offset, m.timestamp, m.key.decode(), len(m.value))
                    left -= 1

    def close(self):
        self.consumer.close()
        self.producer.close()
        self.admin.close()


def everyday(o):
    worker = Worker(o)
    obey_orders(worker.obey, KafkaError, code)
    worker.close()


logging.disable(logging.CRITICAL)
main(create=create, produce=produce, consume=consume, group=group, errors=errors, everyday=everyday)
