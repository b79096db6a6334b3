// The live board: draws what the stream of updates tells, and does what its buttons say.

const [MOST_KEPT, MOST_TOLD, MOST_MOVING] = [1000, 50, 40]
/** Milliseconds: between two drawings, and how long an arrow stands. */
const [PAUSE, MOVES] = [200, 650]
/** Seconds: how long a deleted lane is still drawn. */
const GONE = 5
const LOST = 'is `just board` still running?'

const model = { broker: null, parts: [], ties: [], history: [] }
/** The last messages by id, in the order of their last step. */
const kept = new Map()
/** The lane that a queue was first bound to, or a service first consumed from. */
const beside = new Map()
/** When each deleted lane was first seen so, in seconds. */
const deleted = new Map()
/** What the boxes' places were made from. */
let stood = ''
/** The last update. */
let update = { lanes: [], services: [], published: 0, nameless: 0 }
/** Rows that the log does not have yet. */
let untold = []
/** How many messages have changed since the table was made. */
let changed = 0
let [passed, drawn, skipped, flowed] = [0, 0, 0, false]

const address = (path, values = {}) => `${path}?${new URLSearchParams({ token: story.token, ...values })}`
const amount = (number) => number.toLocaleString('en')
/** Changes a text only where it is another one: a reader's selection and a screen reader stay undisturbed. */
const say = (element, text) => { if (element.textContent !== text) element.textContent = text }

// ---- What comes in

function take(next) {
  for (const { bond, from, to } of next.ties) if (bond !== 'publisher' && !beside.has(to)) beside.set(to, from)
  const gone = goneBy(next)
  const stands = JSON.stringify([next.lanes, ...beside, ...gone])
  if (stands !== stood) grow(next.lanes, gone)
  stood = stands
  update = next
  Object.assign(model, { broker: next.broker, parts: next.parts, ties: next.ties })
  next.parts.forEach(({ open }, lane) => { if (open) connects.add(lane) })
  changed += next.messages.length
  for (const message of next.messages) {
    kept.delete(message.id)
    kept.set(message.id, { ...message, queues: new Set(message.queues) })
    if (message.id === opened) readLife()
  }
  for (const id of [...kept.keys()].slice(0, Math.max(0, kept.size - MOST_KEPT))) kept.delete(id)
  untold = [...untold, ...next.rows].slice(-MOST_TOLD)
  passed += next.passed
  skipped += next.skipped
  flowed ||= next.published > 0 || kept.size > 0 || next.rows.some((row) => arrowOf(row)?.sort === 'request')
  next.rows.forEach(play)
  ask()
}

/** The lanes that were deleted a while ago: reply queues come and go with each client. */
function goneBy({ t, parts }) {
  parts.forEach(({ state }, lane) => {
    if (state !== 'deleted') deleted.delete(lane)
    else if (!deleted.has(lane)) deleted.set(lane, t)
  })
  return new Set([...deleted.keys()].filter((lane) => t - deleted.get(lane) > GONE))
}

/** New lanes get boxes, and stand in the lists to choose from. What moves would miss the boxes' new places. */
function grow(all, gone) {
  const before = lanes.length
  place(all, beside, gone)
  moving.replaceChildren()
  all.forEach(({ kind, name }, lane) => {
    if (lane < before) return
    if (kind === 'queue') $('by-queue').append(html('option', { value: lane }, name))
    if (kind === 'exchange' && name) $('exchange').append(html('option', { value: name }, name))
  })
}

function connect() {
  const stream = new EventSource(address('/events'))
  const link = (whole, text) => {
    say($('stream'), text)
    $('stream').classList.toggle('error', !whole)
    document.body.classList.toggle('stale', !whole)
    $('late').hidden = !whole
  }
  stream.onopen = () => link(true, '● Connected.')
  stream.onmessage = ({ data }) => take(JSON.parse(data))
  stream.onerror = () => link(false, stream.readyState === EventSource.CLOSED
    ? '✘ The board refuses this page. Open the address that `just board` printed last.'
    : `✘ Connection lost: ${LOST} This page tries again.`)
}

// ---- What moves

let playing = 0
/** Of a message that moves: its last step, and when that began. */
const turns = new Map()

/** Draws a row's arrow for a moment. The steps of one message come one after the other; those of the same
    kind come together. */
function play(row) {
  const arrow = arrowOf(row)
  if (arrow && (document.hidden || playing >= MOST_MOVING)) return
  drawn++
  if (!arrow) return
  const [id, now] = [row.ids[0], performance.now()]
  const last = turns.get(id)
  const after = last?.sort === arrow.sort ? last.start : Math.min((last?.start ?? -MOVES) + MOVES, now + 2 * MOVES)
  const start = Math.max(now, after)
  if (id !== undefined) turns.set(id, { sort: arrow.sort, start })
  playing++
  setTimeout(() => {
    // Meanwhile its service may have been killed.
    const moved = document.hidden || [arrow.from, arrow.to].some(gone) ? null : move(arrow)
    setTimeout(() => {
      moved?.remove()
      playing--
      if (turns.get(id)?.start === start) turns.delete(id)
    }, MOVES)
  }, start - now)
}

/** Whether nothing can move to or from a lane now. */
function gone(lane) {
  const { state, link } = model.parts[lane]
  return link || state === 'ended' || (model.broker === 'killed' && ['exchange', 'queue'].includes(lanes[lane].kind))
}

// ---- What stands

let [asked, last, wrote] = [false, -PAUSE, 0]

/** Asks for a drawing. A hidden page gets no frame, and draws when it is shown. */
function ask() {
  if (!asked) requestAnimationFrame(frame)
  asked = true
}

function frame(time) {
  if (time - last < PAUSE) return requestAnimationFrame(frame)
  ;[asked, last] = [false, time]
  draw(model, new Set())
  update.services.forEach(service)
  $('broker').hidden = update.broker === null
  say($('broker').querySelector('td'), update.broker ?? '')
  $('broker').className = update.broker ?? ''
  say($('late'), [
    update.behind >= 1 ? `What you see is ${update.behind.toFixed(1)} s late.` : '',
    skipped ? `This page was slow: it did not get ${plural(skipped, 'update')}. The depths and rates are right.` : '',
  ].join(' '))
  // Text that changes faster cannot be read, and costs the most. A quiet board sends an update a second.
  if (changed + untold.length > 20 && time - wrote < 1000) return
  wrote = time
  log()
  say($('published'), `${story.broker ? `${amount(update.published)} published` : plural(update.published, 'request')} since the board began${update.nameless ? `, ${amount(update.nameless)} of them without an id` : ''}.`)
  if (changed) messages()
}

function log() {
  say($('passed'), !flowed ? `Nothing has flowed yet. Try: ${story.tries[0] ?? 'start a program, or publish a message.'}`
    : passed > drawn ? `${amount(passed)} steps passed since this page was opened, ${amount(drawn)} of them drawn. All are counted.` : '')
  const list = $('log').querySelector('ol')
  list.prepend(...untold.reverse().map((row) => html('li', row.fault ? { class: 'fault' } : {}, words(row))))
  untold = []
  while (list.children.length > MOST_TOLD) list.lastChild.remove()
}

/** The table stands still while somebody is in it: what they are about to press does not move away. */
function messages(event) {
  const body = $('messages').querySelector('tbody')
  const held = !event && (body.matches(':hover') || body.contains(document.activeElement))
  if (!held) {
    table(kept, '')
    changed = 0
  }
  $('messages').classList.toggle('held', held)
}

/** Once a second, each queue's depth. */
function sample() {
  lanes.forEach(({ kind }, lane) => {
    if (kind !== 'queue') return
    const depths = (model.history[lane] ??= [])
    depths.push(model.parts[lane].ready + model.parts[lane].unacked)
    if (depths.length > 60) depths.shift()
    if (depths.some(Boolean)) ask()
  })
}

// ---- What a person does

const ACTIONS = {
  kill: ['Kill', (name) => `Kill ${name}`, ({ state }) => state !== 'ended'],
  start: ['Start', (name) => `Start ${name}`, ({ state }) => state === 'ended'],
  freeze: ['Freeze', (name) => `Freeze ${name}`, ({ state }) => state === 'runs'],
  thaw: ['Thaw', (name) => `Thaw ${name}`, ({ state }) => state === 'frozen'],
  cut: ['Cut', (name) => `Cut the link of ${name}`, ({ state, cut }) => state !== 'ended' && cut === false],
  heal: ['Heal', (name) => `Heal the link of ${name}`, ({ cut }) => cut === true],
  more: ['One more', (name) => `One more ${name}`, ({ state }) => state === 'runs'],
}
const known = new Map()

/** Brings a service's row up to date. Its buttons stay the same elements. */
function service(now) {
  const { name, state, cut, url, says } = now
  if (!known.has(name)) {
    const buttons = Object.entries(ACTIONS).map(([action, [text, says]]) => {
      const button = html('button', { 'aria-label': says(name), 'data-action': action }, text)
      button.addEventListener('click', () => act(button, { action, service: name }))
      return button
    })
    const link = html('a', { target: '_blank', rel: 'noreferrer' })
    const words = html('p', { class: 'soft' })
    const row = html('tr', { 'data-service': name }, html('th', { scope: 'row' }, name, ' ', link), html('td'), html('td'), html('td', {}, ...buttons, words))
    known.set(name, { row, link, buttons, words, cells: row.querySelectorAll('td') })
    $('services').querySelector('tbody').append(row)
  }
  const { row, link, buttons, words, cells } = known.get(name)
  const focused = buttons.indexOf(document.activeElement)
  link.hidden = !url
  if (url && link.getAttribute('href') !== url) fill(link, { href: url }, []).textContent = `:${new URL(url).port}`
  const part = model.parts[lanes.findIndex((lane) => lane.kind === 'service' && lane.name === name)]
  // A program that ended with exit code 0 has done its work.
  const exited = state === 'ended' && part?.state === 'exited'
  say(cells[0], exited ? 'exited' : state)
  row.className = `${exited ? '' : state}${cut ? ' cut' : ''}`
  say(words, says)
  say(cells[1], cut ? 'cut' : cut === false ? 'whole' : '–')
  for (const button of buttons) button.hidden = !ACTIONS[button.dataset.action][2](now)
  // To the button that undoes what this one did: each pair stands together.
  const undo = buttons[focused ^ 1]
  if (buttons[focused]?.hidden) (undo?.hidden === false ? undo : buttons.find((button) => !button.hidden))?.focus()
}

/** Does a action, and tells its outcome. Until then its button does nothing, and keeps the focus. */
async function act(button, action) {
  if (button.getAttribute('aria-disabled') === 'true') return
  button.setAttribute('aria-disabled', 'true')
  outcome(`${button.getAttribute('aria-label') ?? button.textContent} …`, true)
  try {
    const answer = await fetch(address('/do'), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(action) })
    outcome(await answer.text() || answer.statusText, answer.ok)
  } catch {
    outcome(`The board does not answer: ${LOST}`, false)
  }
  button.removeAttribute('aria-disabled')
}

function outcome(text, well) {
  say($('said'), well ? text : `✘ ${text}`)
  $('said').classList.toggle('error', !well)
}

function openLife(id) {
  say($('life-says'), '')
  showLife(id, [])
  readLife()
}

/** Adds the steps that the open life does not have yet. */
async function readLife() {
  const id = opened
  try {
    const answer = await fetch(address('/life', { id }))
    const content = answer.ok ? await answer.json() : { rows: [], says: await answer.text() }
    if (opened !== id) return
    const list = $('life').querySelector('ol')
    list.append(...content.rows.slice(list.children.length).map((row) => step(row, `${row.t.toFixed(3)} s`)))
    say($('life-says'), content.says ?? '')
  } catch {
    say($('life-says'), `The board does not answer: ${LOST}`)
  }
}

function begin() {
  document.title = `Board: ${story.says}`
  document.querySelector('h1').textContent = [story.says, story.broker].filter(Boolean).join(' · ')
  $('restart').disabled = !story.can_restart
  if (!story.can_restart && story.broker) say($('why-not'), `Restart: ${story.why_not}`)
  $('tries').append(...story.tries.map((line) => html('code', {}, line)))
  $('tries').hidden = !story.tries.length
  $('runs').append(...story.runs.map((words, line) => {
    const button = html('button', { 'aria-label': `Start ${words}` }, words)
    button.addEventListener('click', () => act(button, { action: 'run', line }))
    return button
  }))
  $('runs').hidden = !story.runs.length
  $('restart').addEventListener('click', () => act($('restart'), { action: 'restart' }))
  $('publish').hidden = !story.broker
  $('publish').addEventListener('submit', (event) => {
    event.preventDefault()
    const [exchange, key, body] = ['exchange', 'key', 'body'].map((id) => $(id).value)
    act($('publish').querySelector('button'), { action: 'publish', exchange, key, body })
  })
  $('filters').addEventListener('input', messages)
  $('filters').addEventListener('submit', (event) => event.preventDefault())
  $('close').addEventListener('click', closeLife)
  document.addEventListener('keydown', ({ key }) => { if (key === 'Escape') closeLife() })
  setInterval(sample, 1000)
  connect()
}

begin()
