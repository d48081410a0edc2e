// A saga is one workflow with four steps, taken from a queue. All are in the queue before DBOS starts to take from it.
const load = require('node:module').createRequire(process.argv[2] + '/')
const { DBOS, DBOSClient } = load('@dbos-inc/dbos-sdk')
const { Client } = load('pg')
const sagas = Number(process.argv[3])
const url = process.env.DATABASE_URL
const at_once = 500
// The SDK itself uses a call of pg that is deprecated.
process.noDeprecation = true

async function main() {
  let left = sagas
  let all_done
  const done = new Promise(resolve => { all_done = resolve })
  DBOS.registerWorkflow(async () => {
    for (const name of ['step1', 'step2', 'step3', 'step4']) await DBOS.runStep(async () => {}, { name })
    if (--left === 0) all_done()
  }, { name: 'saga' })
  const config = {
    name: 'peer', systemDatabaseUrl: url, systemDatabasePoolSize: 20, logLevel: 'error', tracingEnabled: false
  }
  // The first start makes the tables and the queue.
  DBOS.setConfig({ ...config, listenQueues: ['nothing'] })
  await DBOS.launch()
  await DBOS.registerQueue('sagas', { workerConcurrency: at_once, minPollingIntervalMs: 100 })
  await DBOS.shutdown()
  const pg = new Client({ connectionString: url })
  await pg.connect()
  await preload(pg)

  DBOS.setConfig(config)
  const started = performance.now()
  await DBOS.launch()
  await done
  // The last handlers have returned; that their workflows succeeded may still be on the way.
  const succeeded = `select count(*)::int as count from dbos.workflow_status where name = 'saga' and status = 'SUCCESS'`
  while (await count(pg, succeeded) < sagas) await new Promise(resolve => setTimeout(resolve, 5))
  const seconds = (performance.now() - started) / 1000

  const steps = await count(pg, `select count(distinct (workflow_uuid, function_name))::int as count from dbos.operation_outputs where function_name like 'step_'`)
  const finished = await count(pg, succeeded)
  if (finished !== sagas || steps !== 4 * sagas) fail(`${finished} sagas finished, with ${steps} steps; wanted ${sagas}`)
  const { version } = load('./node_modules/@dbos-inc/dbos-sdk/package.json')
  console.log(JSON.stringify({ peer: 'dbos-ts', version, sagas, seconds: Number(seconds.toFixed(3)), preloaded: true }))
  process.exit(0)
}

async function preload(pg) {
  const client = await DBOSClient.create({ systemDatabaseUrl: url })
  await pg.query('begin')
  for (let at = 0; at < sagas; at++) await client.enqueueInTransaction(pg, { workflowName: 'saga', queueName: 'sagas' })
  await pg.query('commit')
  await client.destroy()
}

async function count(pg, query) {
  return (await pg.query(query)).rows[0].count
}

function fail(why) {
  console.error(`dbos-ts: ${why}`)
  process.exit(1)
}

main().catch(error => fail(error.message))
