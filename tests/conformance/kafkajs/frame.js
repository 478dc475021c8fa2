'use strict'
// The frames that README.md of the parent folder describes: a record as the harness writes and reads it.

class Reader {
  constructor (body) { this.body = body; this.at = 0 }
  i32 () { const v = this.body.readInt32BE(this.at); this.at += 4; return v }
  i64 () { const v = this.body.readBigInt64BE(this.at); this.at += 8; return v }
  bytes () {
    const n = this.i32()
    if (n < 0) return null
    const v = this.body.subarray(this.at, this.at + n)
    this.at += n
    return v
  }
}

// kafkajs holds headers as an object: a name that comes several times has an array of values.
function decode (body) {
  const r = new Reader(body)
  r.i64() // The offset is the broker's to give.
  const message = { partition: r.i32(), timestamp: r.i64().toString(), key: r.bytes(), value: r.bytes(), headers: {} }
  for (let n = r.i32(); n > 0; n--) {
    const name = r.bytes().toString()
    const value = r.bytes()
    if (name in message.headers) message.headers[name] = [].concat(message.headers[name], [value])
    else message.headers[name] = value
  }
  return message
}

async function * records (input) {
  let rest = Buffer.alloc(0)
  for await (const chunk of input) {
    rest = rest.length ? Buffer.concat([rest, chunk]) : chunk
    let at = 0
    while (rest.length - at >= 4) {
      const end = at + 4 + rest.readUInt32BE(at)
      if (end > rest.length) break
      yield decode(rest.subarray(at + 4, end))
      at = end
    }
    rest = rest.subarray(at)
  }
}

function pieces (value) {
  const length = Buffer.alloc(4)
  length.writeInt32BE(value === null || value === undefined ? -1 : value.length)
  return value ? [length, value] : [length]
}

function encode (partition, message) {
  const head = Buffer.alloc(20)
  head.writeBigInt64BE(BigInt(message.offset), 0)
  head.writeInt32BE(partition, 8)
  head.writeBigInt64BE(BigInt(message.timestamp), 12)
  const headers = []
  for (const [name, values] of Object.entries(message.headers)) {
    for (const value of Array.isArray(values) ? values : [values]) {
      headers.push(...pieces(Buffer.from(name)), ...pieces(value))
    }
  }
  const count = Buffer.alloc(4)
  count.writeInt32BE(headers.length === 0 ? 0 : Object.values(message.headers).flat().length)
  const body = Buffer.concat([head, ...pieces(message.key), ...pieces(message.value), count, ...headers])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}

module.exports = { records, encode }
