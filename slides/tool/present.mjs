// `just present NN`: the deck in a browser, live: each save is on the screen at once.

import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { deck, install, marp, root, sources } from './place.mjs'
import { guarded } from './trouble.mjs'

/** Tried first; then the next free one. */
const PORT = 8080

await guarded(async () => {
  const [typed, ...more] = process.argv.slice(2)
  if (!typed || more.length) throw new Error('say which deck, as: just present 05')
  const name = deck(typed)
  install()
  const port = await free(PORT)
  console.log(`  slides  http://127.0.0.1:${port}/${name}.md`)
  console.log('  keys    p: your notes and the next slide in a window of their own; f: full screen')
  console.log('  stop    Ctrl-C')
  return serve(port)
})

function serve(port) {
  const loopback = pathToFileURL(join(sources, 'tool/loopback.mjs')).href
  const args = ['--import', loopback, marp, '--no-config-file', '--html', '--server', '--quiet']
  args.push('--engine', join(sources, 'tool/engine.mjs'), '--theme-set', join(sources, 'theme.css'))
  const server = spawn(process.execPath, [...args, '--input-dir', sources], {
    cwd: root,
    env: { ...process.env, PORT: String(port) },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const stop = () => server.kill('SIGTERM')
  process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', stop)
  return new Promise((resolve) => server.on('exit', (code, signal) => resolve(signal ? 0 : code)))
}

async function free(port) {
  for (; port < 65536; port += 1) {
    const taken = await new Promise((resolve) => {
      const probe = createServer()
      probe.once('error', () => resolve(true))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(false)))
    })
    if (!taken) return port
  }
  throw new Error('no port is free')
}
