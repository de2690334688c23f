// A kafkajs member of a group; groups.py says what it is asked and what it prints.   node member.js name=value ...
'use strict'
const fs = require('node:fs')
const { Kafka, logLevel, AssignerProtocol } = require('kafkajs')

const options = Object.fromEntries(process.argv.slice(2).map(option => [option.slice(0, option.indexOf('=')), option.slice(option.indexOf('=') + 1)]))
const kafka = new Kafka({ brokers: [options.address], clientId: 'kafkajs', logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 20 } })

// One write a line, so that the lines of many members on one pipe stay whole and in order.
const say = words => fs.writeSync(1, `${options.name} ${words}\n`)

async function member() {
  const consumer = kafka.consumer({ groupId: options.group, sessionTimeout: Number(options.session), heartbeatInterval: 300, maxWaitTimeInMs: 100 })
  const told = partitions => say(`assigned ${partitions.sort((a, b) => a - b).join(',')}`)
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => told([...(payload.memberAssignment[options.topic] ?? [])]))
  consumer.on(consumer.events.REBALANCING, () => told([]))
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    if (payload.restart) return
    process.stderr.write(`${payload.error.stack}\n`)
    process.exit(1)
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [options.topic], fromBeginning: true })
  await consumer.run({
    autoCommit: options.commits === 'auto',
    autoCommitInterval: 100,
    eachBatch: async ({ batch, resolveOffset, heartbeat, commitOffsetsIfNecessary, uncommittedOffsets, isRunning, isStale }) => {
      for (const message of batch.messages) {
        if (!isRunning() || isStale()) break
        say(`read ${batch.partition} ${message.offset} ${message.value}`)
        resolveOffset(message.offset)
      }
      await heartbeat()
      const committing = commitOffsetsIfNecessary(uncommittedOffsets())
      if (options.commits === 'sync') await committing
    },
  })
  const end = async () => {
    await consumer.disconnect()
    say('end')
    process.exit(0)
  }
  // A line, or the end of whoever started this, ends it.
  process.stdin.once('data', end)
  process.stdin.once('end', end)
}

async function administer() {
  const admin = kafka.admin()
  await admin.connect()
  try {
    if (options.admin === 'delete') await admin.deleteGroups([options.group])
    if (!(await admin.listGroups()).groups.some(({ groupId }) => groupId === options.group)) return 'absent'
    const { state, members } = (await admin.describeGroups([options.group])).groups[0]
    const owned = members.flatMap(({ memberAssignment }) => Object.values(AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment ?? {})).flat().length
    const offsets = (await admin.fetchOffsets({ groupId: options.group })).flatMap(({ partitions }) => partitions)
    return `${state} members=${members.length} owned=${owned} offsets=${offsets.reduce((sum, { offset }) => sum + Number(offset), 0)}`
  } finally {
    await admin.disconnect()
  }
}

const failed = error => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
}
if (options.admin) administer().then(words => fs.writeSync(1, `${words}\n`), failed)
else member().catch(failed)
