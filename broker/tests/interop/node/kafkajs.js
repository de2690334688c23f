// kafkajs, which speaks only the inflexible versions.   node kafkajs.js HOST:PORT     (NODE_PATH names its modules)
//
// Its consumer joins a group; without groups records are read through the client's own cluster and broker objects, decoders included.
'use strict'
const assert = require('node:assert')
const crypto = require('node:crypto')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4.compressFrame(encoder.buffer),
  decompress: async buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

const kafka = new Kafka({ brokers: [process.argv[2]], clientId: 'kafkajs', logLevel: logLevel.NOTHING })
const admin = kafka.admin()
const prefix = `kafkajs-${process.pid}-${Date.now() % 100000}-`
const start = Date.now() - 3600000
let failed = 0
let cluster

async function check(what, run) {
  const began = Date.now()
  try {
    await run()
    console.log(`ok   kafkajs: ${what} (${((Date.now() - began) / 1000).toFixed(1)} s)`)
  } catch (error) {
    failed += 1
    console.log(`FAIL kafkajs: ${what}: ${String(error.message).slice(0, 500).replace(/\n/g, ' ')}`)
  }
}

async function until(condition) {
  for (let at = 0; at < 400; at++) {
    if (await condition()) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error('waited 20 s in vain')
}

const partitionsOf = async topic =>
  (await admin.listTopics()).includes(topic) ? (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length : 0

async function topic(name, numPartitions = 1, configEntries = []) {
  await admin.createTopics({ topics: [{ topic: prefix + name, numPartitions, replicationFactor: 1, configEntries }] })
  await until(async () => (await partitionsOf(prefix + name)) === numPartitions)
  return prefix + name
}

// Records of every awkward shape, as kafkajs gives them back.
function samples(count, partitions) {
  const shapes = [
    [Buffer.from('key'), Buffer.from('value'), {}],
    [null, Buffer.from('no key'), {}],
    [Buffer.from('tombstone'), null, {}],
    [Buffer.from('empty'), Buffer.alloc(0), {}],
    [Buffer.alloc(0), Buffer.from('empty key'), {}],
    [null, null, {}],
    [Buffer.from('h'), Buffer.from('headers'), { a: [Buffer.from('1'), Buffer.from('2')], b: Buffer.alloc(0) }],
    [Buffer.from([0, 255]), Buffer.from(Array.from({ length: 256 }, (_, at) => at)), { bin: Buffer.from([0, 255]) }],
    [Buffer.from('schlüssel'), Buffer.from('wert 😀'), { köpf: Buffer.from('€') }],
    [Buffer.from('long'), Buffer.alloc(5000, 'x'), {}],
  ]
  return Array.from({ length: count }, (_, at) => {
    const [key, value, headers] = shapes[at % shapes.length]
    return { partition: at % partitions, key, value, headers, timestamp: String(start + at) }
  })
}

async function produce(name, messages, { compression = CompressionTypes.None, acks = -1 } = {}) {
  const producer = kafka.producer({ idempotent: acks === -1, maxInFlightRequests: 1 })
  await producer.connect()
  const answer = await producer.send({ topic: name, messages, acks, compression })
  await producer.disconnect()
  return answer
}

async function connect() {
  const create = Object.getOwnPropertySymbols(kafka).find(symbol => String(symbol).includes('createCluster'))
  cluster = kafka[create]({ allowAutoTopicCreation: false, isolationLevel: 0 })
  await cluster.connect()
}

async function consume(name, offsets, count) {
  await cluster.addTargetTopic(name)
  await cluster.refreshMetadata()
  const found = []
  const next = { ...offsets }
  for (let round = 0; found.length < count && round < 200; round++) {
    const leader = Object.keys(cluster.findLeaderForPartitions(name, Object.keys(next).map(Number)))[0]
    const broker = await cluster.findBroker({ nodeId: leader })
    const partitions = Object.entries(next).map(([partition, offset]) => ({ partition: Number(partition), fetchOffset: String(offset), maxBytes: 4 << 20 }))
    const answer = await broker.fetch({ replicaId: -1, isolationLevel: 0, maxWaitTime: 200, topics: [{ topic: name, partitions }] })
    for (const { partition, messages } of answer.responses.flatMap(response => response.partitions)) {
      for (const { offset, key, value, headers, timestamp } of messages) {
        // A fetch in the middle of a batch returns all of it.
        if (Number(offset) < next[partition]) continue
        assert.strictEqual(Number(offset), next[partition], 'offsets follow each other')
        next[partition] = Number(offset) + 1
        found.push({ partition, key, value, headers, timestamp })
      }
    }
  }
  return found
}

const of = (records, partition) => records.filter(record => record.partition === partition)

function same(found, wanted, partitions) {
  assert.strictEqual(found.length, wanted.length, 'number of records')
  for (let partition = 0; partition < partitions; partition++) {
    assert.deepStrictEqual(of(found, partition), of(wanted, partition))
  }
}

const from = (partitions, offset = 0) => Object.fromEntries(Array.from({ length: partitions }, (_, at) => [at, offset]))

async function main() {
  await zstd.init()
  await admin.connect()
  await connect()
  for (const codec of ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
    await check(`records of every shape, ${codec.toLowerCase()}`, async () => {
      const name = await topic(codec, 3)
      const sent = samples(300, 3)
      const answer = await produce(name, sent, { compression: CompressionTypes[codec] })
      assert.deepStrictEqual(answer.map(place => [place.partition, place.errorCode, place.baseOffset]).sort(), [[0, 0, '0'], [1, 0, '0'], [2, 0, '0']])
      same(await consume(name, from(3), sent.length), sent, 3)
    })
  }
  for (const acks of [1, 0]) {
    await check(`acks=${acks}`, async () => {
      const name = await topic(`acks-${acks}`)
      const sent = samples(50, 1)
      await produce(name, sent, { acks })
      same(await consume(name, from(1), sent.length), sent, 1)
    })
  }
  await check('records of 1 MiB', async () => {
    const name = await topic('large')
    const sent = Array.from({ length: 4 }, (_, at) => ({ ...samples(1, 1)[0], value: crypto.randomBytes(1000000 + at) }))
    for (const record of sent) await produce(name, [record])
    same(await consume(name, from(1), sent.length), sent, 1)
  })
  await check('100 partitions', async () => {
    const name = await topic('hundred', 100)
    const sent = samples(1000, 100)
    await produce(name, sent)
    same(await consume(name, from(100), sent.length), sent, 100)
    const offsets = await admin.fetchTopicOffsets(name)
    assert.ok(offsets.length === 100 && offsets.every(({ low, high }) => low === '0' && high === '10'), 'watermarks')
  })
  await check('read from an offset', async () => {
    const name = await topic('offset')
    const sent = samples(50, 1)
    await produce(name, sent)
    for (const at of [0, 1, 17, 49]) same(await consume(name, from(1, at), sent.length - at), sent.slice(at), 1)
  })
  await check('offsets by timestamp', async () => {
    const name = await topic('time')
    const sent = samples(50, 1)
    for (let at = 0; at < 50; at += 10) await produce(name, sent.slice(at, at + 10))
    for (const at of [0, 9, 10, 33, 49]) {
      assert.deepStrictEqual(await admin.fetchTopicOffsetsByTimestamp(name, start + at), [{ partition: 0, offset: String(at) }])
    }
  })
  await check('a topic deleted and made again', async () => {
    const name = await topic('gone', 2)
    await produce(name, samples(20, 2))
    await admin.deleteTopics({ topics: [name] })
    await until(async () => (await partitionsOf(name)) === 0)
    await topic('gone')
    assert.strictEqual((await admin.fetchTopicOffsets(name))[0].high, '0')
    const sent = samples(20, 1)
    await produce(name, sent)
    same(await consume(name, from(1), sent.length), sent, 1)
  })
  await check('records deleted', async () => {
    const name = await topic('trimmed')
    const sent = samples(30, 1)
    await produce(name, sent)
    await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '12' }] })
    assert.deepStrictEqual((await admin.fetchTopicOffsets(name)).map(({ low, high }) => [low, high]), [['12', '30']])
    same(await consume(name, from(1, 12), 18), sent.slice(12), 1)
  })
  await check('partitions added', async () => {
    const name = await topic('grown', 2)
    await admin.createPartitions({ topicPartitions: [{ topic: name, count: 5 }] })
    await until(async () => (await partitionsOf(name)) === 5)
    const sent = samples(50, 5)
    await produce(name, sent)
    same(await consume(name, from(5), sent.length), sent, 5)
  })
  await check('configs', async () => {
    const name = await topic('configured', 1, [{ name: 'cleanup.policy', value: 'compact' }])
    const answer = await admin.describeConfigs({ resources: [{ type: 2, name }], includeSynonyms: false })
    const entries = Object.fromEntries(answer.resources[0].configEntries.map(entry => [entry.configName, entry.configValue]))
    assert.strictEqual(entries['cleanup.policy'], 'compact')
    assert.ok('retention.ms' in entries)
  })
  await check('a record too large', async () => {
    const name = await topic('small', 1, [{ name: 'max.message.bytes', value: '1000' }])
    await assert.rejects(produce(name, [{ value: Buffer.alloc(3000) }]), error => error.type === 'MESSAGE_TOO_LARGE' || error.cause?.type === 'MESSAGE_TOO_LARGE')
  })
  await check('nodes of the cluster', async () => assert.ok((await admin.describeCluster()).brokers.length >= 1))
  await cluster.disconnect()
  await admin.disconnect()
  process.exit(failed ? 1 : 0)
}

main()
