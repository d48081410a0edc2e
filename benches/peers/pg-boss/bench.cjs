// A saga is a job that goes through four queues. A handler gets a whole batch, adds the batch to the next queue, and
// pg-boss commits that together with the completion of the batch (`transactional`).
const load = require('node:module').createRequire(process.argv[2] + '/')
const { PgBoss } = load('pg-boss')
const sagas = Number(process.argv[3])
const queues = ['step1', 'step2', 'step3', 'step4']
const batch = 1000

async function main() {
  // Passed over: the watching of clocks, vacuum and bloat that has nothing to do within a minute.
  const boss = new PgBoss({
    connectionString: process.env.DATABASE_URL, useListenNotify: true, supervise: false, schedule: false, max: 16
  })
  boss.on('error', error => fail(error.message))
  await boss.start()
  for (const queue of queues) await boss.createQueue(queue, { notify: true, partition: true })
  for (let from = 0; from < sagas; from += batch) {
    const size = Math.min(batch, sagas - from)
    await boss.insert('step1', Array.from({ length: size }, (_, i) => ({ data: { saga: from + i } })))
  }

  const started = performance.now()
  let left = sagas
  const options = { batchSize: batch, localConcurrency: 3, burstWhenBatchFull: true, transactional: true, pollingIntervalSeconds: 0.5 }
  for (const [at, queue] of queues.entries()) {
    await boss.work(queue, options, async (jobs, { db }) => {
      const next = queues[at + 1]
      if (next) await boss.insert(next, jobs.map(job => ({ data: job.data })), { db })
      else left -= jobs.length
    })
  }
  while (left > 0) await sleep(5)
  // The last batch is handled; its completion may still be on the way.
  while (await completed(boss, 'step4', 'id') < sagas) await sleep(5)
  const seconds = (performance.now() - started) / 1000

  for (const queue of queues) {
    const count = await completed(boss, queue, `distinct data->>'saga'`)
    if (count !== sagas) fail(`${count} different sagas finished ${queue}; wanted ${sagas}`)
  }
  await boss.stop({ graceful: false })
  const { version } = load('pg-boss/package.json')
  console.log(JSON.stringify({ peer: 'pg-boss', version, sagas, seconds: Number(seconds.toFixed(3)), preloaded: true }))
  process.exit(0)
}

async function completed(boss, queue, what) {
  const sql = `select count(${what})::int as count from pgboss.job where name = $1 and state = 'completed'`
  return (await boss.getDb().executeSql(sql, [queue])).rows[0].count
}

function sleep(ms) {
  return new Promise(resolve => setTimeout(resolve, ms))
}

function fail(why) {
  console.error(`pg-boss: ${why}`)
  process.exit(1)
}

main().catch(error => fail(error.message))
