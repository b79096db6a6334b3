// Decks into HTML and PDF.

import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { browser, marp, out, root, sources } from './place.mjs'

const COMMON = [
  '--no-config-file',
  '--html',
  '--allow-local-files',
  '--engine', join(sources, 'tool/engine.mjs'),
  '--theme-set', join(sources, 'theme.css'),
]

/** Runs Marp; throws with its own last words when it fails. */
export function run(args, { env = {}, live = false } = {}) {
  const done = spawnSync(process.execPath, [marp, ...COMMON, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    // Marp reads its standard input as a deck when that is not a terminal.
    stdio: ['ignore', live ? 'inherit' : 'pipe', live ? 'inherit' : 'pipe'],
    encoding: 'utf8',
  })
  if (done.status === 0 || live) return
  const words = `${done.stdout}${done.stderr}`
  const from = words.indexOf('ERROR ]')
  throw new Error(words.slice(from < 0 ? 0 : from + 7).replace(/\s+/g, ' ').trim())
}

/** Makes the HTML of a deck, and gives its path. `template` as Marp's. */
export function html(name, { students = false, template = 'bespoke', folder = out } = {}) {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${name}${students ? '.students' : ''}.html`)
  const env = { SLIDES_FOR: students ? 'students' : '' }
  run([`--template=${template}`, join(sources, `${name}.md`), '--output', file], { env })
  return file
}

/** Makes the PDF of a deck, with the notes as comments for the one who teaches. */
export function pdf(name, { students = false } = {}) {
  const chromium = browser()
  const file = join(out, `${name}${students ? '.students' : ''}.pdf`)
  const notes = students ? [] : ['--pdf-notes']
  const env = { SLIDES_FOR: students ? 'students' : '', CHROME_PATH: chromium }
  run(['--pdf', '--pdf-outlines', ...notes, join(sources, `${name}.md`), '--output', file], { env })
  return file
}
