"""confluent-kafka (librdkafka) as a conformance driver: carries records between the harness and a broker.

The commands and what they print are described in README.md of the parent folder.
"""

import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from commands import end_of_input, main, obey_orders
from frame import Acks, encode, read

PATIENCE_S = 20


def create(o):
    admin = AdminClient({"bootstrap.servers": o.bootstrap})
    topic = NewTopic(o.topic, num_partitions=o.partitions, replication_factor=1)
    for future in admin.create_topics([topic]).values():
        future.result(timeout=30)


def produce(o):
    producer = Producer(
        {
            "bootstrap.servers": o.bootstrap,
            "enable.idempotence": True,
            "compression.type": o.compression,
            "linger.ms": 5,
            "queue.buffering.max.messages": 200_000,
        }
    )
    acks = Acks()
    failed = []

    def delivered(error, message):
        if error is not None:
            failed.append(error)
        else:
            acks.add(message.partition(), message.offset())

    for partition, timestamp, key, value, headers in read(sys.stdin.buffer):
        while True:
            try:
                producer.produce(
                    o.topic,
                    value,
                    key,
                    partition,
                    on_delivery=delivered,
                    timestamp=timestamp,
                    headers=headers,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()
    if failed:
        raise KafkaException(failed[0])
    acks.print()


def consume(o):
    consumer = Consumer(
        {
            "bootstrap.servers": o.bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
    left = {}
    for partition in consumer.list_topics(o.topic, timeout=30).topics[o.topic].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(o.topic, partition), timeout=30)
        if high > low:
            left[partition] = high
    consumer.assign([TopicPartition(o.topic, p, 0) for p in left])
    out = sys.stdout.buffer
    while left:
        for message in consumer.consume(1000, timeout=1.0):
            if message.error() is not None:
                raise KafkaException(message.error())
            partition, offset = message.partition(), message.offset()
            out.write(
                encode(
                    offset,
                    partition,
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    message.headers() or [],
                )
            )
            if offset + 1 >= left.get(partition, offset + 2):
                del left[partition]
    out.flush()
    consumer.close()


def group(o):
    """One member: says what it is assigned, reads and commits, until standard input closes."""
    stop = end_of_input()
    consumer = Consumer(
        {
            "bootstrap.servers": o.bootstrap,
            "group.id": o.group,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )

    def assigned(_consumer, partitions):
        print("assigned", *sorted(p.partition for p in partitions), flush=True)

    def revoked(_consumer, _partitions):
        print("assigned", flush=True)

    consumer.subscribe([o.topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    while not stop.is_set():
        ranges = {}
        for message in consumer.consume(500, timeout=0.2):
            if message.error() is not None:
                print("error", message.error(), flush=True)
                continue
            first, _ = ranges.get(message.partition(), (message.offset(), None))
            ranges[message.partition()] = (first, message.offset())
        for partition, (first, last) in ranges.items():
            print("records", partition, first, last, flush=True)
        if ranges:
            offsets = [TopicPartition(o.topic, p, last + 1) for p, (_, last) in ranges.items()]
            try:
                for done in consumer.commit(offsets=offsets, asynchronous=False):
                    if done.error is not None:
                        print("error commit", done.error, flush=True)
                    else:
                        print("committed", done.partition, done.offset, flush=True)
            except KafkaException as error:
                print("error commit", error, flush=True)
    consumer.close()


# librdkafka has numbers of its own (below zero) for what it finds out itself.
OF_KAFKA = {
    KafkaError._UNKNOWN_TOPIC: KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION: KafkaError.UNKNOWN_TOPIC_OR_PART,
}


def code(error):
    return OF_KAFKA.get(error.code(), error.code())


def errors(o):
    producer = Producer(
        {
            "bootstrap.servers": o.bootstrap,
            "message.max.bytes": 8 << 20,
            "message.timeout.ms": 30_000,
            "topic.metadata.propagation.max.ms": 1000,
        }
    )

    def attempt(topic, size):
        seen = []
        producer.produce(topic, bytes(size), partition=0, on_delivery=lambda e, _: seen.append(0 if e is None else code(e)))
        producer.flush()
        return seen[0]

    print("unknown-topic-produce", attempt(o.topic + "-unknown", 10))
    print("too-large", attempt(o.topic, 2 << 20))
    print("after-too-large", attempt(o.topic, 10))
    consumer = Consumer(
        {
            "bootstrap.servers": o.bootstrap,
            "group.id": o.topic + "-unknown",
            "allow.auto.create.topics": False,
            "topic.metadata.propagation.max.ms": 1000,
        }
    )
    consumer.subscribe([o.topic + "-unknown"])
    message = consumer.poll(30)
    print("unknown-topic-consume", 0 if message is None or message.error() is None else code(message.error()))
    consumer.close()


class Worker:
    """What stays alive over all orders of the everyday passage."""

    def __init__(self, o):
        self.topic = o.topic
        self.admin = AdminClient({"bootstrap.servers": o.bootstrap})
        self.producer = Producer(
            {
                "bootstrap.servers": o.bootstrap,
                "enable.idempotence": True,
                "message.max.bytes": 8 << 20,
                "message.timeout.ms": 1000 * PATIENCE_S,
            }
        )
        self.consumer = Consumer(
            {
                "bootstrap.servers": o.bootstrap,
                "group.id": "unused",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )

    def obey(self, order, *words):
        if order == "create":
            topic = NewTopic(self.topic, num_partitions=int(words[0]), replication_factor=1)
            self.admin.create_topics([topic])[self.topic].result(timeout=PATIENCE_S)
        elif order == "delete":
            self.admin.delete_topics([self.topic])[self.topic].result(timeout=PATIENCE_S)
        elif order == "send":
            self.send(*words)
        elif order == "offset-for":
            asked = TopicPartition(self.topic, int(words[0]), int(words[1]))
            (found,) = self.consumer.offsets_for_times([asked], timeout=PATIENCE_S)
            if found.error is not None:
                raise KafkaException(found.error)
            print("offset", found.offset)
        elif order == "seek":
            partition = TopicPartition(self.topic, int(words[0]))
            # librdkafka remembers for a while that a topic was not there; this has it look again.
            self.consumer.list_topics(self.topic, timeout=PATIENCE_S)
            low, high = self.consumer.get_watermark_offsets(partition, timeout=PATIENCE_S)
            ends = {"beginning": low, "end": high}
            partition.offset = ends[words[1]] if words[1] in ends else int(words[1])
            self.consumer.assign([partition])
            print("offset", partition.offset)
        elif order == "read":
            self.read(int(words[0]))

    def send(self, partition, timestamp, key, size):
        seen = []
        self.producer.produce(
            self.topic,
            bytes(int(size)),
            key,
            int(partition),
            on_delivery=lambda error, message: seen.append((error, message)),
            timestamp=int(timestamp),
        )
        self.producer.flush()
        ((error, message),) = seen
        if error is not None:
            raise KafkaException(error)
        print("offset", message.offset())

    def read(self, left):
        end = time.monotonic() + PATIENCE_S
        error = None
        while left > 0:
            if time.monotonic() > end:
                raise KafkaException(error or KafkaError(KafkaError._TIMED_OUT))
            for m in self.consumer.consume(500, timeout=0.2):
                if m.error() is not None:
                    error = m.error()
                    continue
                print("record", m.offset(), m.timestamp()[1], m.key().decode(), len(m.value()))
                left -= 1


def everyday(o):
    worker = Worker(o)
    obey_orders(worker.obey, KafkaException, lambda error: code(error.args[0]))
    worker.consumer.close()


main(create=create, produce=produce, consume=consume, group=group, errors=errors, everyday=everyday)
