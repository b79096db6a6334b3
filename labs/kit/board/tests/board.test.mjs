// The live board in a real browser, with real services and a real broker:
// `node --test labs/kit/board/tests/board.test.mjs`. It takes the browser and puppeteer of `slides/tool`, and
// leaves a picture of each state in `target/board`.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { browser, install, root, use } from '../../../../slides/tool/place.mjs'

const target = resolve(root, process.env.CARGO_TARGET_DIR ?? 'target')
const pictures = join(target, 'board')
const profile = mkdtempSync(join(tmpdir(), 'board-'))
const HOSTILE = '</script><img src=http://127.0.0.1:9/x onerror=document.title="owned">'
let board, url, token, chromium, page
/** What the page asked another server for, and what went wrong in it. */
const foreign = []
const wrong = []

/** The address that `just board` prints. */
function address() {
  return new Promise((found, failed) => {
    let said = ''
    const hear = (data) => {
      said += data
      const line = said.match(/http:\/\/127\.0\.0\.1:\d+\/\?token=\w+/)
      if (line) found(new URL(line[0]))
    }
    board.stdout.on('data', hear)
    board.stderr.on('data', hear)
    board.on('exit', (code, signal) => {
      appendFileSync(join(pictures, 'board.log'), `${said}ended with ${code ?? signal}\n`)
      failed(new Error(`the board ended with ${code ?? signal}: ${said}`))
    })
  })
}

async function open() {
  const opened = await chromium.newPage()
  opened.on('request', (request) => { if (!request.url().startsWith(url.origin)) foreign.push(request.url()) })
  opened.on('pageerror', (error) => wrong.push(error.message))
  opened.on('dialog', (dialog) => wrong.push(dialog.message()))
  await opened.setViewport({ width: 1280, height: 720 })
  await opened.goto(url.href)
  return opened
}

before(async () => {
  install()
  mkdirSync(pictures, { recursive: true })
  // A group of its own: Ctrl-C goes to all of a terminal's group.
  board = spawn('just', ['board', '05', '--solution', '--no-open'], { cwd: root, detached: true })
  url = await address()
  token = url.searchParams.get('token')
  chromium = await use('puppeteer-core').launch({
    executablePath: browser(),
    userDataDir: profile,
    // Chromium cannot build its sandbox as root; the pages are our own.
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync', '--disable-component-update'],
  })
  page = await open()
})

/** However this test ends. */
process.on('exit', () => { if (board?.exitCode === null) process.kill(-board.pid, 'SIGINT') })
process.once('SIGTERM', () => process.exit(143))

after(async () => {
  await chromium?.close()
  if (board?.exitCode === null) process.kill(-board.pid, 'SIGINT')
  rmSync(profile, { recursive: true, force: true })
})

const text = (selector, on = page) => on.$eval(selector, (element) => element.textContent)
const texts = (selector, on = page) => on.$$eval(selector, (all) => all.map((element) => element.textContent))
const count = (selector, on = page) => on.$$eval(selector, (all) => all.length)
const look = (name) => page.screenshot({ path: join(pictures, `${name}.png`) })
/** The words in the box of a lane. */
const box = (lane, on = page) => on.$eval(`[data-lane="${lane}"]`, (group) => [...group.querySelectorAll('text')].map((one) => one.textContent).join(' '))

/** Waits until `what` holds; says what was there instead. */
async function until(says, what, seconds = 15) {
  let last
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(50)) {
    last = await what().catch((error) => error)
    if (last === true) return
  }
  assert.fail(`${says}: ${last}`)
}

const boxSays = (lane, words, seconds) => until(`${lane} shows ${words}`, async () => {
  const says = await box(lane)
  return words.test(says) || says
}, seconds)
const said = (words, seconds) => until(`the page says ${words}`, async () => words.test(await text('#said')) || await text('#said'), seconds)
const press = (name) => page.click(`[aria-label="${name}"]`)

/** Sells something by the shop's own HTTP API, which the page tells. */
async function sell() {
  const line = (await texts('#tries code')).find((line) => line.includes('/sales'))
  const answer = await fetch(line.match(/http:\S+/)[0], {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ saleId: randomUUID(), item: HOSTILE, pence: 1250, customer: 'Ada' }),
  })
  assert.equal(answer.status, 200, await answer.clone().text())
  return (await answer.json()).saleId
}

const sellMany = async (many) => { for (let one = 0; one < many; one++) await sell() }
/** The cells of a message's row. */
const row = (id) => page.$eval(`[data-id="${id}"]`, (button) => [...button.closest('tr').cells].map((cell) => cell.textContent))
/** Waits until the table has this many messages: it is drawn a moment after the board has told the page. */
const tableHas = (many, on = page) => until(`the table has ${many} messages`, async () => {
  const has = await count('#messages tbody tr', on)
  return has === many || has
})
/** What has happened to a message: the first words of the rows about it. */
async function life(id) {
  const answer = await fetch(`${url.origin}/life?token=${token}&id=${id}`)
  return (await answer.json()).rows.map((row) => row.text.split(' ')[0])
}

/** Waits until both services have done this with the message. */
const both = (id, what, seconds) => until(`finance and payment ${what} ${id}`, async () => {
  const steps = await life(id)
  return steps.filter((step) => step === what).length === 2 || steps.join()
}, seconds)
/** Away from the table: it stands still under the pointer. */
const away = () => page.mouse.move(5, 5)

test('the script is the one that the policy lets run', async () => {
  const source = await (await fetch(url)).text()
  const [, named] = source.match(/script-src 'sha256-([^']*)'/)
  const [, script] = source.match(/<script>([^]*?)<\/script>/)
  const hash = createHash('sha256').update(script).digest('base64')
  assert.equal(named, hash, `write sha256-${hash} into labs/kit/view/page/board.html`)
})

test('it starts empty, and says what to try', async () => {
  await until('connected', async () => /Connected/.test(await text('#stream')))
  await boxSays('sales.finance', /■ 0 ready □ 0 unacked/)
  for (const service of ['history', 'recommendations', 'video-streaming', 'finance', 'payment', 'shop']) await boxSays(service, /runs/)
  assert.match(await text('#passed'), /Nothing has flowed yet\. Try: curl/)
  assert.equal(await count('#messages tbody tr'), 0)
  await look('01-empty')
})

test('a sale reaches both queues, and both services ack it', async () => {
  const seen = page.waitForSelector('.token')
  const id = await sell()
  await seen
  await look('02-sale')
  await both(id, 'ack')
  await until('its row names both queues', async () => {
    const cells = await row(id)
    return cells[2].split(', ').toSorted().join() === 'sales.finance,sales.payment' || cells
  })
  await boxSays('sales.finance', /■ 0 ready □ 0 unacked/)
  await boxSays('sales.payment', /■ 0 ready □ 0 unacked/)
  assert.doesNotMatch(await text('#passed'), /Nothing/)
  assert.match(await text('#log ol'), /publish \w+, from shop to exchange sales, routed to queue sales\.\w+ and queue sales\.\w+/)

  await page.click(`[data-id="${id}"]`)
  await until('the life is shown', async () => await count('#life li') >= 6)
  const steps = (await texts('#life li')).map((step) => step.match(/s (\w+) /)[1])
  assert.deepEqual(steps.toSorted(), ['ack', 'ack', 'confirm', 'deliver', 'deliver', 'publish'])
  assert.equal(steps[0], 'publish')
  assert.match(await text('#life pre'), /<\/script><img src=/)
  assert.equal(await page.evaluate(() => document.activeElement.id), 'life-title')
  await page.click('#life li summary')
  await look('03-life')
  await page.keyboard.press('Escape')
  assert.equal(await page.evaluate(() => document.activeElement.dataset.id), id)
  await page.evaluate(() => document.activeElement.blur())
  await away()
})

test('a killed finance: its queue grows, payment’s does not; a page that is opened late sees it at once; started, it clears', async () => {
  await press('Kill finance')
  await said(/finance is killed/)
  await boxSays('finance', /ended/)
  await sellMany(5)
  await boxSays('sales.finance', /■ 5 ready □ 0 unacked/)
  await boxSays('sales.payment', /■ 0 ready □ 0 unacked/)
  await look('04-killed')

  const late = await open()
  try {
    await late.waitForSelector('[data-lane="sales.finance"]', { timeout: 2000 })
    assert.match(await box('sales.finance', late), /■ 5 ready/)
    assert.match(await box('finance', late), /ended/)
    await tableHas(6, late)
    // The first page is hidden now: it draws nothing, and catches up when it is shown.
    assert.ok(await page.evaluate(() => document.hidden))
    await sell()
    await until('the shown page draws it', async () => /■ 6 ready/.test(await box('sales.finance', late)))
    assert.match(await box('sales.finance'), /■ 5 ready/)
  } finally {
    await late.close()
  }
  await page.bringToFront()
  await boxSays('sales.finance', /■ 6 ready □ 0 unacked/)
  await tableHas(7)

  // Kill and Freeze are gone, and Start is there.
  assert.deepEqual(await page.$$eval('[data-service="finance"] button', (all) => all.filter((one) => !one.hidden).map((one) => one.textContent)), ['Start'])
  await press('Start finance')
  await said(/finance is started/)
  await boxSays('sales.finance', /■ 0 ready □ 0 unacked/)
  await boxSays('finance', /runs/)
})

test('a frozen payment holds its messages unacked, up to its prefetch limit; thawed, it acks them', async () => {
  await press('Freeze payment')
  await said(/payment is frozen/)
  await sellMany(22)
  await boxSays('payment', /frozen □ 20 of 20 unacked/)
  await boxSays('sales.payment', /■ 2 ready □ 20 unacked/)
  await look('05-frozen')
  await press('Thaw payment')
  await said(/payment runs on/)
  await boxSays('sales.payment', /■ 0 ready □ 0 unacked/)
})

test('a cut link: the queue grows; healed, the service reconnects', async () => {
  await press('Cut the link of finance')
  await said(/finance is cut off/)
  await until('the table says so', async () => (await text('[data-service="finance"]')).includes('cut'))
  await sellMany(3)
  await boxSays('sales.finance', /■ 3 ready □ 0 unacked/)
  await look('06-cut')
  await press('Heal the link of finance')
  await said(/finance has its link again/)
  await boxSays('sales.finance', /■ 0 ready □ 0 unacked/, 30)
})

test('the broker restarts, and the page goes on', async () => {
  await press('Restart broker')
  await until('the broker is killed', async () => await text('#broker td') === 'killed')
  assert.equal(await page.$eval('#restart', (button) => button.getAttribute('aria-disabled')), 'true')
  await look('07-broker-killed')
  await said(/the broker was killed, and runs again/, 60)
  assert.equal(await page.$eval('#restart', (button) => button.getAttribute('aria-disabled')), null)
  await until('the broker runs', async () => await text('#broker td') === 'runs')
  let id
  await until('the shop sells again', async () => { id = await sell(); return true }, 60)
  await both(id, 'ack', 30)
  assert.match(await text('#stream'), /Connected/)
  await look('08-broker-back')
})

test('one more finance shares the queue', async () => {
  await press('One more finance')
  await said(/finance-2 is started/)
  await boxSays('finance-2', /runs □ 0 of 20 unacked/)
  await look('09-one-more')
  await press('Kill finance-2')
  await boxSays('finance-2', /ended/)
})

test('a message with a key of one’s own; what a person or a program sends stays text', async () => {
  await page.select('#exchange', 'sales')
  await page.type('#key', HOSTILE)
  await page.$eval('#body', (body) => { body.value = '' })
  await page.type('#body', HOSTILE)
  await page.click('#publish button')
  await said(/your message \w+ is confirmed/)
  await until('it is in the table', async () => (await texts('#messages td:nth-child(2)')).includes(HOSTILE))
  await both(await page.$eval('#messages tbody button', (button) => button.dataset.id), 'reject')
  assert.equal(await count('img'), 0)
  assert.equal(await count('script'), 2)
  assert.match(await page.title(), /^Board: Solution 05/)
  await look('10-hostile')

  await page.select('#exchange', '')
  await page.click('#publish button')
  await said(/came back: no queue is bound for it/)
})

test('the table filters by queue, key and id', async () => {
  await away()
  const id = await sell()
  await both(id, 'ack')
  await page.waitForSelector(`[data-id="${id}"]`)
  const all = await count('#messages tbody tr')
  await page.type('#by-id', id.slice(0, 8).toUpperCase())
  assert.deepEqual(await texts('#messages tbody td:first-child'), [id.slice(0, 8)])
  assert.match(await text('#count'), new RegExp(`^1 of ${all} messages`))
  await page.type('#by-key', 'img src')
  assert.equal(await count('#messages tbody tr'), 0)
  await page.$eval('#by-id', (input) => { input.value = '' })
  await page.$eval('#filters', (form) => form.dispatchEvent(new Event('input')))
  assert.ok(await count('#messages tbody tr') >= 1)
  await page.$eval('#filters', (form) => { form.reset(); form.dispatchEvent(new Event('input')) })
  const queue = await page.$$eval('#by-queue option', (options) => options.find((one) => one.textContent === 'viewed.history').value)
  await page.select('#by-queue', queue)
  assert.equal(await count('#messages tbody tr'), 0)
  await page.select('#by-queue', '')
  assert.equal(await count('#messages tbody tr'), all)
})

test('no life is kept of an unknown message, and the board says so', async () => {
  const answer = await fetch(`${url.origin}/life?token=${token}&id=none`)
  assert.equal(answer.status, 404)
  assert.match(await answer.text(), /kept/)
})

test('a foreign origin cannot press a button', async () => {
  const kill = JSON.stringify({ action: 'kill', service: 'finance' })
  const other = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end('<title>other</title>'))
  await new Promise((listens) => other.listen(0, '127.0.0.1', listens))
  const stranger = await chromium.newPage()
  await stranger.goto(`http://127.0.0.1:${other.address().port}/`)
  const outcomes = await stranger.evaluate(async (board, token, body) => {
    const tries = []
    for (const address of [`${board}/do`, `${board}/do?token=${token}`]) {
      for (const mode of ['cors', 'no-cors']) {
        for (const type of ['application/json', 'text/plain']) {
          const sent = fetch(address, { method: 'POST', mode, headers: { 'Content-Type': type }, body })
          tries.push(await sent.then(({ type, status }) => `${type} ${status}`, () => 'refused'))
        }
      }
    }
    for (const path of ['events', 'life']) {
      tries.push(await fetch(`${board}/${path}?token=${token}`).then(({ type, status }) => `${type} ${status}`, () => 'refused'))
    }
    const frame = document.createElement('iframe')
    frame.src = `${board}/?token=${token}`
    document.body.append(frame)
    await new Promise((loaded) => { frame.onload = loaded })
    return [...tries, frame.contentDocument === null ? 'closed frame' : 'open frame']
  }, url.origin, token, kill)
  // An opaque answer tells nothing: whether finance still runs is looked at below.
  for (const outcome of outcomes) assert.match(outcome, /^(refused|opaque 0|closed frame)$/)
  await stranger.close()
  other.close()

  /** The status of a plain request. */
  const post = (path, headers) => new Promise((answered, failed) => {
    const sent = request(`${url.origin}${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers } },
      (response) => { response.resume(); answered(response.statusCode) })
    sent.on('error', failed).end(kill)
  })
  const own = `/do?token=${token}`
  assert.equal(await post('/do', {}), 403)
  assert.equal(await post('/do?token=', {}), 403)
  assert.equal(await post(`/do?token=${token.toLowerCase()}x`, {}), 403)
  assert.equal(await post(own, { Origin: 'http://example.org' }), 403)
  assert.equal(await post(own, { Origin: 'null' }), 403)
  assert.equal(await post(own, { Host: 'example.org' }), 403)
  assert.equal(await post(own, { Host: `example.org:${url.port}`, Origin: `http://example.org:${url.port}` }), 403)
  for (const path of ['/', '/events', '/life?id=x']) assert.equal((await fetch(`${url.origin}${path}`)).status, 403, path)
  await sell()
  assert.match(await box('finance'), /runs/)
  assert.match(await text('[data-service="finance"] td'), /runs/)
})

test('every control has a name and can be reached by keyboard, with a visible focus', async () => {
  await away()
  await page.evaluate(() => { scrollTo(0, 0); document.activeElement.blur() })
  const reached = new Set()
  for (let rounds = 0; rounds < 2;) {
    await page.keyboard.press('Tab')
    const { name, outline, shown } = await page.evaluate(() => {
      // After the last control, and before the first one.
      if (document.activeElement === document.body) return { name: '' }
      const { ariaLabel, id, textContent } = document.activeElement
      const { top, bottom } = document.activeElement.getBoundingClientRect()
      return {
        name: ariaLabel ?? (id || textContent.trim().slice(0, 20)), outline: getComputedStyle(document.activeElement).outlineStyle,
        shown: bottom > 0 && top < innerHeight,
      }
    })
    if (name !== '') assert.deepEqual([outline, shown], ['solid', true], name)
    reached.add(name)
    if (name === 'The scene now') rounds++
  }
  for (const name of ['The scene now', 'Kill finance', 'Freeze finance', 'Cut the link of finance', 'One more finance', 'Start finance-2', 'Restart broker',
    'exchange', 'key', 'body', 'Publish', 'Start finance', 'by-queue', 'by-key', 'by-id']) assert.ok(reached.has(name), `${name}: ${[...reached].join(', ')}`)
  const controls = []
  const walk = (node) => {
    if (/button|combobox|textbox|link/.test(node.role)) controls.push(node)
    node.children?.forEach(walk)
  }
  walk(await page.accessibility.snapshot())
  assert.ok(controls.length > 30)
  for (const one of controls) assert.ok(one.name, JSON.stringify(one))
})

test('what happens takes no focus and no text from a person who types, and a button keeps its place', async () => {
  await page.evaluate(() => { $('key').value = '' })
  await page.focus('#key')
  const selling = sellMany(20)
  await page.keyboard.type('a key that is typed slowly', { delay: 40 })
  await selling
  assert.deepEqual(await page.evaluate(() => [document.activeElement.id, document.activeElement.value]), ['key', 'a key that is typed slowly'])

  await page.focus('[aria-label="Freeze history"]')
  await page.keyboard.press('Enter')
  await said(/history is frozen/)
  await until('the focus is where it was', async () => await page.evaluate(() => document.activeElement.ariaLabel) === 'Thaw history')
  await page.keyboard.press('Space')
  await said(/history runs on/)
})

test('what cannot be done is told, with a mark', async () => {
  await page.evaluate(() => act(document.querySelector('[aria-label="Start history"]'), { action: 'start', service: 'history' }))
  await said(/^✘ history runs already/)
  assert.ok(await page.$eval('#said', (element) => element.classList.contains('error')))
  await look('11-error')
})

test('it fits: no sideways scrolling at 1280, 640 and 400 pixels; scene, services and status on the first screen', async () => {
  for (const scheme of ['light', 'dark']) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
    for (const width of [640, 400, 1280]) {
      await page.setViewport({ width, height: 720 })
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width}`)
      await page.screenshot({ path: join(pictures, `12-${scheme}-${width}.png`), fullPage: width < 1000 })
    }
  }
  await page.emulateMediaFeatures([])
  await page.evaluate(() => scrollTo(0, 0))
  for (const selector of ['#stream', '#said', '#scene', '#services']) {
    assert.ok(await page.$eval(selector, (element) => element.getBoundingClientRect().bottom) <= 720, selector)
  }
})

test('with reduced motion, nothing moves', async () => {
  await until('nothing moves before', async () => await count('.token') === 0)
  await page.emulateMediaFeatures([{ name: 'prefers-reduced-motion', value: 'reduce' }])
  const seen = page.waitForSelector('.token')
  await sell()
  await seen
  assert.equal(await page.evaluate(() => document.getAnimations().filter(({ playState }) => playState === 'running').length), 0)
  await until('it goes away', async () => await count('.token') === 0)
  await page.emulateMediaFeatures([])
})

test('Ctrl-C ends it with exit code 0; the page says so, and no process is left', async () => {
  const ended = new Promise((done) => board.on('exit', (code) => done(code)))
  // To the program only: `just` ends with 130 when it gets the signal itself, whatever its program says.
  process.kill(Number(readFileSync(`/proc/${board.pid}/task/${board.pid}/children`, 'utf8')), 'SIGINT')
  assert.equal(await ended, 0)
  await until('the page says so', async () => /Connection lost: is `just board` still running/.test(await text('#stream')))
  await press('Kill finance')
  await said(/✘ The board does not answer/)
  await look('13-ended')
  // The broker's keeper stays: a private node serves the next command, and stops after half an hour without use.
  const left = () => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
    try {
      const program = readlinkSync(`/proc/${pid}/exe`)
      return program.startsWith(target) && /\/(board|solution-05)$/.test(program) && !readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('__broker-keeper')
    } catch {
      return false // it has just ended, or is another user's
    }
  })
  await until('no process is left', async () => left().length === 0 || left())
})

test('nothing is asked of another server, and nothing goes wrong', () => {
  assert.deepEqual(foreign, [])
  assert.deepEqual(wrong, [])
})
