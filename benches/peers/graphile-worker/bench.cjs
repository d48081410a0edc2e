// A saga is a chain of four jobs: each adds the next before it is itself done. What the jobs that run at one time add
// goes to Postgres together, as their completions do.
const load = require('node:module').createRequire(process.argv[2] + '/')
const { Logger, makeWorkerUtils, run } = load('graphile-worker')
const { Pool } = load('pg')
const sagas = Number(process.argv[3])
const many = 2000
const finished = new Set()
const preset = {
  worker: {
    connectionString: process.env.DATABASE_URL,
    concurrentJobs: 500,
    maxPoolSize: 20,
    pollInterval: 100,
    localQueue: { size: 1000 },
    completeJobBatchDelay: 5,
    failJobBatchDelay: 5,
    logger: new Logger(() => () => {})
  }
}

async function main() {
  const utils = await makeWorkerUtils({ preset })
  await utils.migrate()
  for (let from = 0; from < sagas; from += many) {
    const size = Math.min(many, sagas - from)
    await utils.addJobs(Array.from({ length: size }, (_, i) => job(from + i, 1)))
  }
  const add = together(jobs => utils.addJobs(jobs))
  const pool = new Pool({ connectionString: process.env.DATABASE_URL })

  const started = performance.now()
  const runner = await run({
    preset,
    noHandleSignals: true,
    taskList: {
      step: async ({ saga, step }) => {
        if (step < 4) await add(job(saga, step + 1))
        else finished.add(saga)
      }
    }
  })
  // A job that is done is a row that is gone.
  const rows = 'select count(*)::int as count from graphile_worker._private_jobs'
  while (finished.size < sagas || await count(pool, rows) > 0) await new Promise(resolve => setTimeout(resolve, 5))
  const seconds = (performance.now() - started) / 1000
  await runner.stop()

  const made = await count(pool, `select pg_sequence_last_value(pg_get_serial_sequence('graphile_worker._private_jobs', 'id')::regclass)::int as count`)
  if (made !== 4 * sagas) fail(`${finished.size} sagas finished, of ${made} jobs; wanted ${sagas}`)
  const { version } = load('./node_modules/graphile-worker/package.json')
  console.log(JSON.stringify({ peer: 'graphile-worker', version, sagas, seconds: Number(seconds.toFixed(3)), preloaded: true }))
  process.exit(0)
}

function job(saga, step) {
  return { identifier: 'step', payload: { saga, step } }
}

// While some are on the way, the next gather.
function together(send) {
  let gathered = []
  let sending = false
  const flush = async () => {
    sending = true
    while (gathered.length) {
      const some = gathered
      gathered = []
      await send(some.map(one => one.job)).then(() => some.forEach(one => one.resolve()), error => some.forEach(one => one.reject(error)))
    }
    sending = false
  }
  return job => new Promise((resolve, reject) => {
    gathered.push({ job, resolve, reject })
    if (!sending) setImmediate(() => sending || flush())
  })
}

async function count(pool, query) {
  return (await pool.query(query)).rows[0].count
}

function fail(why) {
  console.error(`graphile-worker: ${why}`)
  process.exit(1)
}

main().catch(error => fail(error.message))
