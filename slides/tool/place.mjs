// Where things are, and what there is to work with.

import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
export const sources = join(root, 'slides')
/** Everything that is made goes here. */
export const out = join(resolve(root, process.env.CARGO_TARGET_DIR ?? 'target'), 'slides')
const tool = join(out, 'tool')

/** What is missing on this machine, and what to do about it: *unknown*, exit code 2. */
export class Trouble extends Error {
  constructor(what, mend) {
    super(what)
    this.mend = mend
  }
}

/** The decks by name, as `05-fanout`. */
export function decks() {
  return readdirSync(sources)
    .filter((file) => /^\d\d-.*\.md$/.test(file))
    .map((file) => file.slice(0, -3))
    .sort()
}

/** The deck that a person means by `5`, `05` or `05-fanout`. */
export function deck(typed) {
  const word = typed.replace(/^(slides\/)/, '').replace(/\.md$/, '')
  const number = /^\d+$/.test(word) ? `${word.padStart(2, '0')}-` : null
  const found = decks().find((name) => name === word || (number && name.startsWith(number)))
  if (found) return found
  throw new Error(`there is no deck \`${typed}\`. The decks are:\n  ${decks().join('\n  ')}`)
}

/** Installs Marp unless it is there, as the lock file has it. */
export function install() {
  const lock = readFileSync(join(sources, 'package-lock.json'), 'utf8')
  const installed = join(tool, 'installed.json')
  if (existsSync(installed) && readFileSync(installed, 'utf8') === lock) return
  console.error('installing Marp into target/slides/tool (once)')
  rmSync(tool, { recursive: true, force: true })
  mkdirSync(tool, { recursive: true })
  for (const file of ['package.json', 'package-lock.json']) {
    copyFileSync(join(sources, file), join(tool, file))
  }
  try {
    const options = { cwd: tool, stdio: ['ignore', 'ignore', 'pipe'] }
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], options)
  } catch (error) {
    const words = error.stderr?.toString().trim().split('\n').at(-1) ?? error.message
    throw new Trouble(`Marp cannot be installed: ${words}`, 'see to npm and the network, and again')
  }
  writeFileSync(installed, lock)
}

/** The program of Marp's. */
export const marp = join(tool, 'node_modules/.bin/marp')

/** A package that Marp brings, for ourselves. */
export function use(name) {
  return createRequire(join(tool, 'package.json'))(name)
}

/** A Chromium or Chrome, which prints PDF and measures slides. */
export function browser() {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']
  const places = (process.env.PATH ?? '').split(':').flatMap((dir) => names.map((name) => join(dir, name)))
  const mac = ['Google Chrome', 'Chromium'].map((app) => `/Applications/${app}.app/Contents/MacOS/${app}`)
  const found = [process.env.CHROME_PATH, ...places, ...mac].find((path) => path && existsSync(path))
  if (found) return found
  throw new Trouble('PDF needs Chromium or Chrome, and there is none', 'sudo apt-get install chromium')
}
