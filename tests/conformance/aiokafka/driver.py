"""aiokafka as a conformance driver: carries records between the harness and a broker.

The commands and what they print are described in README.md of the parent folder.
"""

import asyncio
import logging
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, KafkaTimeoutError, for_code

from commands import main, obey_orders
from frame import Acks, encode, read

PATIENCE_S = 20


async def create(o):
    admin = AIOKafkaAdminClient(bootstrap_servers=o.bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(o.topic, o.partitions, 1)])
        for topic, error, *_ in answer.topic_errors:
            if error != 0:
                raise RuntimeError(f"create {topic}: error {error}")
    finally:
        await admin.close()


async def produce(o):
    producer = AIOKafkaProducer(
        bootstrap_servers=o.bootstrap,
        enable_idempotence=True,
        compression_type=None if o.compression == "none" else o.compression,
        linger_ms=5,
        max_batch_size=128 * 1024,
    )
    await producer.start()
    acks = Acks()
    waiting = []

    async def settle():
        for sent in waiting:
            where = await sent
            acks.add(where.partition, where.offset)
        waiting.clear()

    try:
        for partition, timestamp, key, value, headers in read(sys.stdin.buffer):
            waiting.append(
                await producer.send(
                    o.topic, value, key, partition=partition, timestamp_ms=timestamp, headers=headers
                )
            )
            if len(waiting) >= 20_000:
                await settle()
        await producer.flush()
        await settle()
    finally:
        await producer.stop()
    acks.print()


async def consume(o):
    consumer = AIOKafkaConsumer(bootstrap_servers=o.bootstrap, auto_offset_reset="none", max_partition_fetch_bytes=4 << 20)
    await consumer.start()
    try:
        # partitions_for_topic answers from what the client has fetched, so it is asked for this topic first.
        consumer.subscribe([o.topic])
        while not consumer.partitions_for_topic(o.topic):
            await consumer._client.force_metadata_update()
        consumer.unsubscribe()
        every = [TopicPartition(o.topic, p) for p in consumer.partitions_for_topic(o.topic)]
        left = {tp: end for tp, end in (await consumer.end_offsets(every)).items() if end > 0}
        if left:
            consumer.assign(list(left))
            for tp in left:
                consumer.seek(tp, 0)
        out = sys.stdout.buffer
        while left:
            for tp, messages in (await consumer.getmany(timeout_ms=500)).items():
                out.writelines(
                    encode(m.offset, m.partition, m.timestamp, m.key, m.value, m.headers) for m in messages
                )
                if messages[-1].offset + 1 >= left.get(tp, messages[-1].offset + 2):
                    del left[tp]
        out.flush()
    finally:
        await consumer.stop()


class Assignment(ConsumerRebalanceListener):
    """Says what the member holds, each time that changes."""

    async def on_partitions_revoked(self, revoked):
        print("assigned", flush=True)

    async def on_partitions_assigned(self, assigned):
        print("assigned", *sorted(tp.partition for tp in assigned), flush=True)


async def group(o):
    """One member: says what it is assigned, reads and commits, until standard input closes."""
    stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=o.bootstrap,
        group_id=o.group,
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        rebalance_timeout_ms=10_000,
        metadata_max_age_ms=5000,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    consumer.subscribe([o.topic], listener=Assignment())
    await consumer.start()
    while not stop.done():
        offsets = {}
        for tp, messages in (await consumer.getmany(timeout_ms=200)).items():
            print("records", tp.partition, messages[0].offset, messages[-1].offset, flush=True)
            offsets[tp] = messages[-1].offset + 1
        if offsets:
            try:
                await consumer.commit(offsets)
                for tp, offset in offsets.items():
                    print("committed", tp.partition, offset, flush=True)
            except KafkaError as error:
                print("error commit", error, flush=True)
    await consumer.stop()


def code(error):
    return getattr(error, "errno", None) or repr(error)


async def errors(o):
    producer = AIOKafkaProducer(bootstrap_servers=o.bootstrap, max_request_size=8 << 20, request_timeout_ms=5000)
    await producer.start()

    admin = AIOKafkaAdminClient(bootstrap_servers=o.bootstrap)
    await admin.start()

    async def told(topic):
        """aiokafka waits for a topic to appear until its time is up: this is what it was told all the while."""
        (description,) = await admin.describe_topics([topic])
        return description["error_code"]

    async def attempt(topic, size):
        try:
            await producer.send_and_wait(topic, bytes(size), partition=0)
            return 0
        except KafkaTimeoutError:
            return await told(topic)
        except KafkaError as error:
            return code(error)

    print("unknown-topic-produce", await attempt(o.topic + "-unknown", 10))
    print("too-large", await attempt(o.topic, 2 << 20))
    print("after-too-large", await attempt(o.topic, 10))
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=o.bootstrap, request_timeout_ms=5000)
    await consumer.start()
    try:
        await consumer.end_offsets([TopicPartition(o.topic + "-unknown", 0)])
        print("unknown-topic-consume 0")
    except KafkaTimeoutError:
        print("unknown-topic-consume", await told(o.topic + "-unknown"))
    except KafkaError as error:
        print("unknown-topic-consume", code(error))
    await consumer.stop()
    await admin.close()


class Worker:
    """What stays alive over all orders of the everyday passage."""

    def __init__(self, o):
        self.topic = o.topic
        self.admin = AIOKafkaAdminClient(bootstrap_servers=o.bootstrap)
        # An idempotent producer of aiokafka's counts a refused batch as sent, and is out of order ever after.
        self.producer = AIOKafkaProducer(
            bootstrap_servers=o.bootstrap,
            max_request_size=8 << 20,
            max_batch_size=8 << 20,
            request_timeout_ms=1000 * PATIENCE_S,
        )
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=o.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )

    async def start(self):
        for client in (self.admin, self.producer, self.consumer):
            await client.start()

    async def stop(self):
        await self.consumer.stop()
        await self.producer.stop()
        await self.admin.close()

    async def obey(self, order, *words):
        if order == "create":
            answer = await self.admin.create_topics([NewTopic(self.topic, int(words[0]), 1)])
            check(answer.topic_errors)
        elif order == "delete":
            answer = await self.admin.delete_topics([self.topic])
            check(answer.topic_error_codes)
        elif order == "send":
            partition, timestamp, key, size = words
            where = await self.producer.send_and_wait(
                self.topic,
                bytes(int(size)),
                key.encode(),
                partition=int(partition),
                timestamp_ms=int(timestamp),
            )
            print("offset", where.offset)
        elif order == "offset-for":
            tp = TopicPartition(self.topic, int(words[0]))
            found = (await self.consumer.offsets_for_times({tp: int(words[1])}))[tp]
            print("offset", "none" if found is None else found.offset)
        elif order == "seek":
            tp = TopicPartition(self.topic, int(words[0]))
            self.consumer.assign([tp])
            if words[1] == "beginning":
                await self.consumer.seek_to_beginning(tp)
            elif words[1] == "end":
                await self.consumer.seek_to_end(tp)
            else:
                self.consumer.seek(tp, int(words[1]))
            print("offset", await self.consumer.position(tp))
        elif order == "read":
            await self.read(int(words[0]))

    async def read(self, left):
        end = time.monotonic() + PATIENCE_S
        while left > 0:
            if time.monotonic() > end:
                raise KafkaTimeoutError("records did not come in time")
            for messages in (await self.consumer.getmany(timeout_ms=200)).values():
                for m in messages:
                    print("record", m.offset, m.timestamp, m.key.decode(), len(m.value))
                    left -= 1


def check(topic_errors):
    for _topic, error, *_ in topic_errors:
        if error != 0:
            raise for_code(error)()


async def everyday(o):
    worker = Worker(o)
    await worker.start()
    loop = asyncio.get_running_loop()

    def obey(*words):
        work = asyncio.wait_for(worker.obey(*words), 2 * PATIENCE_S)
        asyncio.run_coroutine_threadsafe(work, loop).result()

    # What waits for the next order is a thread of its own.
    await loop.run_in_executor(None, obey_orders, obey, (KafkaError, asyncio.TimeoutError), code)
    await worker.stop()


logging.disable(logging.CRITICAL)
main(create=create, produce=produce, consume=consume, group=group, errors=errors, everyday=everyday)
