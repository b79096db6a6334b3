// The replay in a real browser: `node --test labs/kit/view/tests/replay.test.mjs`. It builds the page with
// `cargo run -p view --example replay`, and takes the browser and puppeteer of `slides/tool`.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { browser, install, root, use } from '../../../../slides/tool/place.mjs'

const folder = mkdtempSync(join(tmpdir(), 'replay-'))
const [file, long, other] = ['replay.html', 'long.html', 'other.html'].map((name) => join(folder, name))
let chromium
let page
/** What the page asked a network or a disk for, and what went wrong in it. */
const asked = []
const wrong = []

const make = (...args) => execFileSync('cargo', ['run', '-q', '-p', 'view', '--example', 'replay', '--', ...args],
  { cwd: root, maxBuffer: 2 ** 24 })

before(async () => {
  writeFileSync(file, make())
  writeFileSync(long, make('6000'))
  install()
  chromium = await use('puppeteer-core').launch({
    executablePath: browser(),
    userDataDir: join(folder, 'profile'),
    // Chromium cannot build its sandbox as root; the pages are our own.
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync', '--disable-component-update'],
  })
  page = await chromium.newPage()
  page.on('request', (request) => asked.push(request.url()))
  page.on('pageerror', (error) => wrong.push(error.message))
  page.on('console', (message) => wrong.push(message.text()))
  page.on('dialog', (dialog) => wrong.push(dialog.message()))
})

beforeEach(async () => {
  await page.setViewport({ width: 1280, height: 720 })
  await page.goto(pathToFileURL(file).href)
})

after(async () => {
  await chromium?.close()
  rmSync(folder, { recursive: true, force: true })
})

const text = (selector) => page.$eval(selector, (element) => element.textContent)
const texts = (selector) => page.$$eval(selector, (all) => all.map((element) => element.textContent))
const count = (selector) => page.$$eval(selector, (all) => all.length)
/** The words in the box of a lane. */
const box = (lane) => page.$eval(`[data-lane="${lane}"]`, (group) => [...group.querySelectorAll('text')].map((one) => one.textContent).join(' '))
const bonds = (bond) => count(`.tie.${bond}`)
const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key) }
/** Moves the slider, as a mouse does. */
const scrub = (row) => page.$eval('#line', (line, row) => {
  line.value = row
  line.dispatchEvent(new Event('input'))
}, row)
const rowOf = async (words) => (await page.$eval('#story', (data) => JSON.parse(data.textContent).rows.map((row) => row.text)))
  .findIndex((text) => text.startsWith(words))

test('the script is the one that the policy lets run', () => {
  const [, named] = readFileSync(file, 'utf8').match(/script-src 'sha256-([^']*)'/)
  const [, script] = readFileSync(file, 'utf8').match(/<script>([^]*?)<\/script>/)
  const hash = createHash('sha256').update(script).digest('base64')
  assert.equal(named, hash, `write sha256-${hash} into labs/kit/view/page/replay.html`)
})

test('at the kill, three messages are unacked; after it, they are ready, and nothing consumes', async () => {
  assert.match(await box('payment'), /not started|runs/)
  await scrub(await rowOf('killed'))
  assert.match(await text('#now'), /Fault\. payment killed \(SIGKILL\)/)
  assert.match(await box('sales.payment'), /■ 0 ready □ 3 unacked/)
  assert.match(await box('payment'), /ended/)
  assert.equal(await bonds('consumer'), 1)
  await press('ArrowRight')
  assert.match(await box('sales.payment'), /■ 3 ready □ 0 unacked/)
  assert.equal(await bonds('consumer'), 0)
  assert.equal(await bonds('binding'), 1)
  await press('ArrowLeft')
  assert.match(await box('sales.payment'), /■ 0 ready □ 3 unacked/)
  assert.equal(await bonds('consumer'), 1)
})

test('keys step, go to both ends, to faults and to the verdict', async () => {
  const row = async () => Number((await text('#now')).match(/^Row (\d+)/)[1])
  const rows = await page.$eval('#line', (line) => Number(line.max)) + 1
  assert.equal(await row(), 1)
  await press('ArrowRight', 'ArrowRight', 'ArrowLeft')
  assert.equal(await row(), 2)
  await press('End')
  assert.equal(await row(), rows)
  await press('ArrowRight')
  assert.equal(await row(), rows)
  await press('Home', 'f')
  assert.match(await text('#now'), /payment killed/)
  await press('v')
  assert.match(await text('#now'), /Named by the verdict\. redeliver bb22bb22/)
  // From the slider, from a button, and not while somebody types.
  await page.focus('#line')
  await press('Home', 'ArrowRight')
  assert.equal(await row(), 2)
  await page.click('#next')
  await press('ArrowRight')
  assert.equal(await row(), 4)
  await page.type('#by-id', 'vf')
  await press('ArrowLeft')
  assert.equal(await row(), 4)
})

test('a screen reader gets the scene in words', async () => {
  await scrub(await rowOf('killed'))
  const says = await page.$eval('svg', (scene) => scene.getAttribute('aria-label'))
  for (const words of ['queue sales.payment, 0 ready, 3 unacked', 'payment, ended', 'payment consumes from queue sales.payment',
    'queue sales.payment is bound to exchange sales with key pr.#']) assert.ok(says.includes(words), `${words}: ${says}`)
})

test('every control has a name and can be reached by keyboard, with a visible focus', async () => {
  await press('End')
  const reached = new Set()
  for (let step = 0; step < 30; step++) {
    await press('Tab')
    const { name, outline } = await page.evaluate(() => ({
      name: document.activeElement.id || document.activeElement.dataset.id || document.activeElement.className,
      outline: getComputedStyle(document.activeElement).outlineStyle,
    }))
    if (name) assert.equal(outline, 'solid', name)
    reached.add(name)
  }
  for (const name of ['first', 'back', 'next', 'last', 'fault', 'moment', 'line', 'by-queue', 'by-key', 'by-id', 'aa11aa11-0000']) {
    assert.ok(reached.has(name), name)
  }
  const controls = []
  const walk = (node) => {
    if (/button|slider|combobox|textbox/.test(node.role)) controls.push(node)
    node.children?.forEach(walk)
  }
  walk(await page.accessibility.snapshot())
  assert.ok(controls.length > 8, JSON.stringify(controls))
  for (const one of controls) assert.ok(one.name, JSON.stringify(one))
})

test('the table filters by queue, key and id, and shows one message from publish to ack', async () => {
  await press('End')
  assert.equal(await count('tbody tr'), 3)
  await page.type('#by-id', 'AA11')
  assert.deepEqual(await texts('tbody td:first-child'), ['aa11aa11'])
  assert.match(await text('#count'), /1 of 3 messages/)
  await page.type('#by-key', 'pr.bb')
  assert.equal(await count('tbody tr'), 0)
  await page.$eval('#filters', (form) => form.reset())
  await page.select('#by-queue', (await page.$$eval('#by-queue option', (all) => all[1].value)))
  assert.equal(await count('tbody tr'), 3)
  await page.focus('[data-id="aa11aa11-0000"]')
  await press('Enter')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'life-title')
  const steps = (await texts('#life li')).map((step) => step.match(/s (\w+) aa11aa11/)[1])
  assert.deepEqual(steps, ['publish', 'confirm', 'deliver', 'redeliver', 'ack'])
  await page.click('#life li:nth-child(3) button')
  assert.match(await text('#now'), /deliver aa11aa11, from queue sales\.payment to payment/)
  assert.equal(await count('#life li.current'), 1)
  assert.equal(await count('#life li.later'), 2)
  await press('Escape')
  assert.equal(await page.evaluate(() => document.activeElement.dataset.id), 'aa11aa11-0000')
})

test('what a program sends is text', async () => {
  await press('End')
  await page.click('[data-id="cc33cc33-0000"]')
  assert.equal(await count('img'), 0)
  assert.equal(await count('script'), 2)
  assert.match(await text('#life pre'), /<\/script><img src=/)
  assert.match(await text('h1'), /<\/script><img src=/)
  assert.match(await page.title(), /^Replay: /)
})

test('it fits: no sideways scrolling at 1280, 640 and 400 pixels, and the controls stand on the first screen', async () => {
  for (const width of [1280, 640, 400]) {
    await page.setViewport({ width, height: 720 })
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width}`)
  }
  await page.setViewport({ width: 1280, height: 720 })
  const bottom = (selector) => page.$eval(selector, (element) => element.getBoundingClientRect().bottom)
  for (const selector of ['#buttons', '#line', '#now', '#scene']) assert.ok(await bottom(selector) <= 720, selector)
})

test('with reduced motion, a message stands on its arrow at once', async () => {
  await page.emulateMediaFeatures([{ name: 'prefers-reduced-motion', value: 'reduce' }])
  await scrub(await rowOf('publish'))
  const running = await page.evaluate(() => document.getAnimations().filter(({ playState }) => playState === 'running').length)
  assert.equal(running, 0)
  assert.ok(await count('.token') > 0)
  await page.emulateMediaFeatures([])
})

test('what does not fit into the page is counted on it', async () => {
  await page.goto(pathToFileURL(long).href)
  assert.match(await text('#left-out'), /^\d+ of the run's \d+ rows are left out here/)
  const began = Date.now()
  await press('End', 'ArrowLeft', 'ArrowLeft')
  assert.ok(Date.now() - began < 3000)
  assert.match(await text('#count'), /the \d+ oldest are not shown/)
})

test('each recorded run can be stepped through to its end', async () => {
  const journals = readdirSync(join(root, 'slides/recorded')).filter((name) => name.endsWith('.jsonl'))
  assert.ok(journals.length)
  for (const journal of journals) {
    writeFileSync(other, make(join(root, 'slides/recorded', journal)))
    await page.goto(pathToFileURL(other).href)
    const rows = await page.$eval('#line', (line) => Number(line.max)) + 1
    await page.evaluate(() => { for (let row = 1; row < rows.length; row++) document.getElementById('next').click() })
    assert.match(await text('#now'), new RegExp(`^Row ${rows} of ${rows}, `), journal)
    // Backwards, everything is as it was.
    await scrub(Math.floor(rows / 2))
    const before = await page.$eval('svg', (scene) => scene.getAttribute('aria-label'))
    await press('End', 'v')
    await scrub(Math.floor(rows / 2))
    assert.equal(await page.$eval('svg', (scene) => scene.getAttribute('aria-label')), before, journal)
  }
})

test('nothing is asked of a network, and nothing goes wrong', () => {
  assert.deepEqual(asked.filter((url) => !url.startsWith('file://')), [])
  assert.deepEqual(new Set(asked), new Set([file, long, other].map((name) => pathToFileURL(name).href)))
  assert.deepEqual(wrong, [])
})
