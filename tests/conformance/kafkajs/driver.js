'use strict'
// kafkajs as a conformance driver: carries records between the harness and a broker.
// The commands and what they print are described in README.md of the parent folder.
const { parseArgs } = require('node:util')
const { once } = require('node:events')
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')
const { records, encode } = require('./frame')
const { everyday } = require('./everyday')

const { positionals: [command], values: o } = parseArgs({
  allowPositionals: true,
  options: {
    bootstrap: { type: 'string' },
    topic: { type: 'string' },
    group: { type: 'string' },
    compression: { type: 'string', default: 'none' },
    partitions: { type: 'string', default: '1' }
  }
})

const kafka = new Kafka({ clientId: 'conformance-kafkajs', brokers: [o.bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 8 } })
const say = line => process.stdout.write(line + '\n')

async function create () {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: o.topic, numPartitions: Number(o.partitions), replicationFactor: 1 }] })
  await admin.disconnect()
}

async function produce () {
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
    createPartitioner: () => ({ message }) => message.partition
  })
  await producer.connect()
  const acked = new Map()
  const send = async messages => {
    const counts = new Map()
    for (const m of messages) counts.set(m.partition, (counts.get(m.partition) || 0) + 1)
    const answers = await producer.send({
      topic: o.topic,
      messages,
      acks: -1,
      compression: o.compression === 'gzip' ? CompressionTypes.GZIP : CompressionTypes.None
    })
    for (const { partition, baseOffset } of answers) {
      const first = Number(baseOffset)
      const count = counts.get(partition)
      const range = acked.get(partition) || { count: 0, first, last: 0 }
      range.count += count
      range.last = first + count - 1
      acked.set(partition, range)
    }
  }
  let batch = []
  let bytes = 0
  for await (const message of records(process.stdin)) {
    batch.push(message)
    bytes += message.value ? message.value.length : 0
    if (batch.length >= 2000 || bytes > 500_000) {
      await send(batch)
      batch = []
      bytes = 0
    }
  }
  if (batch.length) await send(batch)
  await producer.disconnect()
  for (const [partition, r] of acked) say(`acked ${partition} ${r.count} ${r.first} ${r.last}`)
}

// kafkajs reads only as a member of a group, so this is a group of one that commits nothing.
async function consume () {
  const admin = kafka.admin()
  await admin.connect()
  const left = new Map()
  for (const { partition, high } of await admin.fetchTopicOffsets(o.topic)) {
    if (Number(high) > 0) left.set(partition, Number(high))
  }
  await admin.disconnect()
  const consumer = kafka.consumer({ groupId: `${o.topic}-read-${process.pid}-${Date.now()}`, allowAutoTopicCreation: false, maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topic: o.topic, fromBeginning: true })
  await new Promise((resolve, reject) => {
    consumer.on('consumer.crash', e => reject(e.payload.error))
    if (left.size === 0) resolve()
    consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        const frames = Buffer.concat(batch.messages.map(m => encode(batch.partition, m)))
        if (!process.stdout.write(frames)) await once(process.stdout, 'drain')
        if (Number(batch.lastOffset()) + 1 >= (left.get(batch.partition) ?? Infinity)) left.delete(batch.partition)
        if (left.size === 0) resolve()
      }
    })
  })
  await consumer.disconnect()
}

// One member: says what it is assigned, reads and commits, until standard input closes.
async function group () {
  const consumer = kafka.consumer({
    groupId: o.group,
    sessionTimeout: 6000,
    rebalanceTimeout: 10000,
    heartbeatInterval: 500,
    maxWaitTimeInMs: 200,
    allowAutoTopicCreation: false
  })
  consumer.on('consumer.group_join', e => say(`assigned ${(e.payload.memberAssignment[o.topic] || []).join(' ')}`))
  consumer.on('consumer.rebalancing', () => say('assigned'))
  consumer.on('consumer.crash', e => say(`error ${e.payload.error.message}`))
  await consumer.connect()
  await consumer.subscribe({ topic: o.topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, heartbeat }) => {
      if (batch.isEmpty()) return
      const next = (BigInt(batch.lastOffset()) + 1n).toString()
      say(`records ${batch.partition} ${batch.firstOffset()} ${batch.lastOffset()}`)
      await consumer.commitOffsets([{ topic: batch.topic, partition: batch.partition, offset: next }])
      say(`committed ${batch.partition} ${next}`)
      await heartbeat()
    }
  })
  process.stdin.resume()
  await once(process.stdin, 'end')
  await consumer.disconnect()
}

// kafkajs wraps an error in the error that gave up retrying; the innermost one with a number is Kafka's.
function code (error) {
  for (let e = error; e; e = e.cause || e.originalError) if (e.code > 0) return e.code
  return error.message.replace(/\s+/g, ' ')
}

async function errors () {
  const attempt = async task => { try { await task(); return 0 } catch (e) { return code(e) } }
  const producer = kafka.producer({ allowAutoTopicCreation: false, retry: { retries: 1 } })
  await producer.connect()
  const send = (topic, size) => attempt(() => producer.send({ topic, messages: [{ value: Buffer.alloc(size), partition: 0 }] }))
  say(`unknown-topic-produce ${await send(o.topic + '-unknown', 10)}`)
  say(`too-large ${await send(o.topic, 2 << 20)}`)
  say(`after-too-large ${await send(o.topic, 10)}`)
  await producer.disconnect()
  const consumer = kafka.consumer({ groupId: `${o.topic}-unknown-${process.pid}`, allowAutoTopicCreation: false, retry: { retries: 1 } })
  await consumer.connect()
  say(`unknown-topic-consume ${await attempt(() => consumer.subscribe({ topic: o.topic + '-unknown' }))}`)
  await consumer.disconnect()
}

const run = { create, produce, consume, group, errors, everyday: () => everyday(kafka, o.topic, code) }[command]
if (!run) throw new Error(`no command ${command}`)
run().then(() => process.exit(0), e => {
  process.stderr.write(`kafkajs: ${e.stack}\n`)
  process.exit(1)
})
