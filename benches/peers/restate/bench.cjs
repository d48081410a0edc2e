// A saga is one invocation of a service whose handler has four `ctx.run`. The server is a real one with a folder of its
// own; the service and the caller are this process.
const { spawn } = require('node:child_process')
const fs = require('node:fs')
const http2 = require('node:http2')
const net = require('node:net')
const path = require('node:path')
const [dir, sagas] = [process.argv[2], Number(process.argv[3])]
const load = require('node:module').createRequire(dir + '/')
const restate = load('@restatedev/restate-sdk')
const at_once = 200

const base = fs.mkdtempSync(path.join(dir, 'data-'))
let server
process.on('exit', () => {
  server?.kill('SIGKILL')
  fs.rmSync(base, { recursive: true, force: true })
})
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(1))

const saga = restate.service({
  name: 'saga',
  handlers: {
    run: async ctx => {
      for (const step of ['step1', 'step2', 'step3', 'step4']) await ctx.run(step, () => {})
    }
  }
})

async function main() {
  const endpoint = http2.createServer(restate.createEndpointHandler({ services: [saga], logger: () => {} }))
  await new Promise(resolve => endpoint.listen(0, '127.0.0.1', resolve))
  const [node, admin, ingress] = await free_ports(3)
  start(node, admin, ingress)
  const api = `http://127.0.0.1:${admin}`
  while (!(await fetch(`${api}/health`).catch(() => ({}))).ok) await sleep(50)
  await post(`${api}/deployments`, { uri: `http://127.0.0.1:${endpoint.address().port}` })

  const session = http2.connect(`http://127.0.0.1:${ingress}`)
  session.on('error', error => fail(error.message))
  await call(session)
  const started = performance.now()
  let left = sagas
  await Promise.all(Array.from({ length: at_once }, async () => {
    while (left-- > 0) await call(session)
  }))
  const seconds = (performance.now() - started) / 1000

  // One call came before the clock: it is what tells that the service can be reached.
  const steps = await count(api, `select count(*) as n from sys_journal where entry_type = 'Command: Run'`)
  const done = await count(api, `select count(*) as n from sys_invocation where status = 'completed' and completion_result = 'success'`)
  if (done !== sagas + 1 || steps !== 4 * (sagas + 1)) fail(`${done - 1} sagas finished, with ${steps - 4} steps; wanted ${sagas}`)
  const { version } = load('@restatedev/restate-server/package.json')
  console.log(JSON.stringify({ peer: 'restate', version, sagas, seconds: Number(seconds.toFixed(3)), preloaded: false }))
  process.exit(0)
}

function start(node, admin, ingress) {
  const { platform, arch } = process
  const program = load.resolve(`@restatedev/restate-server-${platform}-${arch}/bin/restate-server`)
  const log = fs.openSync(path.join(dir, 'server.log'), 'w')
  server = spawn(program, ['--base-dir', base, '--node-name', 'peer', '--listen-mode', 'tcp'], {
    stdio: ['ignore', log, log],
    env: {
      RESTATE_BIND_ADDRESS: `127.0.0.1:${node}`,
      RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
      RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
      RESTATE_DEFAULT_NUM_PARTITIONS: '4',
      RESTATE_DISABLE_TELEMETRY: 'true'
    }
  })
  server.on('exit', code => process.exitCode === undefined && fail(`the server ended with ${code}; see server.log`))
}

function call(session) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ':path': '/saga/run' })
    stream.on('response', ({ ':status': status }) => status === 200 || reject(new Error(`a call was answered with ${status}`)))
    stream.on('error', reject)
    stream.on('end', resolve)
    stream.resume().end()
  })
}

async function post(url, body) {
  const headers = { 'content-type': 'application/json', accept: 'application/json' }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!answer.ok) fail(`${url} answered ${answer.status}: ${await answer.text()}`)
  return answer.json()
}

async function count(api, query) {
  return (await post(`${api}/query`, { query })).rows[0].n
}

async function free_ports(many) {
  const held = Array.from({ length: many }, () => net.createServer())
  for (const one of held) await new Promise(resolve => one.listen(0, '127.0.0.1', resolve))
  const ports = held.map(one => one.address().port)
  for (const one of held) await new Promise(resolve => one.close(resolve))
  return ports
}

function sleep(ms) {
  return new Promise(resolve => setTimeout(resolve, ms))
}

function fail(why) {
  console.error(`restate: ${why}`)
  process.exit(1)
}

main().catch(error => fail(error.message))
