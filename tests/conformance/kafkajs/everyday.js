'use strict'
// Carries out the orders on standard input with one admin, one producer and one consumer, until it closes.
const readline = require('node:readline')

const PATIENCE_MS = 20000
const say = line => process.stdout.write(line + '\n')
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

class Worker {
  constructor (kafka, topic) {
    this.kafka = kafka
    this.topic = topic
    this.admin = kafka.admin()
    this.producer = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: () => ({ message }) => message.partition
    })
    this.consumer = null
    this.partition = -1
    this.arrived = []
  }

  // kafkajs reads only as a member of a group, so this is a group of one that commits nothing. It reads all
  // partitions all the time; what is not of the partition that was sought last is left out.
  async startConsumer () {
    this.consumer = this.kafka.consumer({ groupId: `${this.topic}-${process.pid}-${Date.now()}`, allowAutoTopicCreation: false, maxWaitTimeInMs: 100 })
    const joined = new Promise(resolve => this.consumer.on('consumer.group_join', resolve))
    await this.consumer.connect()
    await this.consumer.subscribe({ topic: this.topic, fromBeginning: true })
    await this.consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: true,
      eachBatch: async ({ batch, isStale }) => {
        if (batch.partition === this.partition && !isStale()) this.arrived.push(...batch.messages)
      }
    })
    await joined
  }

  async ends (partition) {
    const all = await this.admin.fetchTopicOffsets(this.topic)
    return all.find(p => p.partition === partition)
  }

  async seek (partition, place) {
    if (!this.consumer) await this.startConsumer()
    let offset = place
    if (place === 'beginning') offset = (await this.ends(partition)).low
    if (place === 'end') offset = (await this.ends(partition)).high
    this.partition = partition
    this.arrived = []
    this.consumer.seek({ topic: this.topic, partition, offset })
    say(`offset ${offset}`)
  }

  async read (left) {
    const end = Date.now() + PATIENCE_MS
    while (left > 0) {
      if (Date.now() > end) throw new Error('records did not come in time')
      const messages = this.arrived.splice(0)
      for (const m of messages) say(`record ${m.offset} ${m.timestamp} ${m.key} ${m.value.length}`)
      left -= messages.length
      if (messages.length === 0) await pause(20)
    }
  }

  async obey ([order, ...words]) {
    switch (order) {
      case 'create':
        await this.admin.createTopics({ topics: [{ topic: this.topic, numPartitions: Number(words[0]), replicationFactor: 1 }] })
        break
      case 'delete':
        await this.admin.deleteTopics({ topics: [this.topic] })
        break
      case 'send': {
        const [partition, timestamp, key, size] = words
        const message = { partition: Number(partition), timestamp, key, value: Buffer.alloc(Number(size)) }
        const [answer] = await this.producer.send({ topic: this.topic, messages: [message], acks: -1 })
        say(`offset ${answer.baseOffset}`)
        break
      }
      case 'offset-for': {
        const all = await this.admin.fetchTopicOffsetsByTimestamp(this.topic, Number(words[1]))
        say(`offset ${all.find(p => p.partition === Number(words[0])).offset}`)
        break
      }
      case 'seek':
        await this.seek(Number(words[0]), words[1])
        break
      case 'read':
        await this.read(Number(words[0]))
        break
      default:
        throw new Error(`no order ${order}`)
    }
  }
}

async function everyday (kafka, topic, code) {
  const worker = new Worker(kafka, topic)
  await worker.admin.connect()
  await worker.producer.connect()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      await worker.obey(line.split(' '))
      say('ok')
    } catch (error) {
      say(`error ${code(error)}`)
    }
  }
  if (worker.consumer) await worker.consumer.disconnect()
  await worker.producer.disconnect()
  await worker.admin.disconnect()
}

module.exports = { everyday }
