// The page: draws how everything is after the current row, and steps from row to row. All text of a
// message gets into the page by `textContent` only.

const $ = (id) => document.getElementById(id)
const story = JSON.parse($('story').textContent)
const { lanes, rows } = story
const MOST_MESSAGES = 200
const still = matchMedia('(prefers-reduced-motion: reduce)')

/** An element of HTML with these attributes, and texts or elements in it. */
function html(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children)
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children)
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

const short = (id) => id.slice(0, 8)
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text)
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : word.endsWith('sh') ? 'es' : 's'}`

function nameOf(lane) {
  const { kind, name } = lanes[lane]
  if (kind === 'check') return 'the check'
  return kind === 'exchange' && !name ? 'the default exchange' : name
}

/** A lane with what it is: `queue viewed`. */
function full(lane) {
  const { kind, name } = lanes[lane]
  return kind === 'check' || !name ? nameOf(lane) : `${kind === 'service' ? '' : `${kind} `}${name}`
}

/** A row in words, for the eye and the screen reader. */
function words(index) {
  const row = rows[index]
  const arrow = arrowOf(row)
  let text = row.text
  if (arrow) {
    text += `, from ${full(arrow.from)} to ${full(arrow.to)}`
    if (arrow.routed.length) text += `, routed to ${arrow.routed.map(full).join(' and ')}`
    if (arrow.lost) text += '; no queue takes it'
  } else if (row.what.change) {
    text = row.what.change[0] === null ? text : `${full(row.what.change[0])} ${text}`
  } else if (kindOf(row) === 'link') {
    text = `${full(row.what.link[0])}: ${text}`
  }
  const depths = row.depths.map(([lane, { ready, unacked }]) => `${nameOf(lane)} has ${ready} ready, ${unacked} unacked`)
  const marks = [row.fault ? 'Fault. ' : '', row.told ? 'Named by the verdict. ' : ''].join('')
  return `Row ${index + 1} of ${rows.length}, ${row.t.toFixed(3)} s. ${marks}${[text, ...depths].join('. ')}.`
}

// ---- The scene

const COLUMNS = [82, 316, 544, 778]
const [WIDE, HIGH, STEP, TOP] = [152, 78, 100, 78]

/** Where each lane's box stands: services that send, exchanges, queues, services that get. */
const boxes = (() => {
  const isBroker = ({ kind }) => kind === 'exchange' || kind === 'queue'
  const broker = lanes.some(isBroker) ? lanes.findIndex(isBroker) : lanes.length - 1
  const column = ({ kind }, lane) => ({ exchange: 1, queue: 2 })[kind] ?? (lane < broker ? 0 : 3)
  const columns = lanes.map(column)
  const counts = [0, 1, 2, 3].map((one) => columns.filter((other) => other === one).length)
  const most = Math.max(2, ...counts)
  const used = [0, 0, 0, 0]
  return columns.map((column) => ({
    column,
    x: COLUMNS[column],
    y: TOP + STEP * ((most - counts[column]) / 2 + used[column]++),
    bottom: TOP + STEP * (most - 1) + HIGH / 2 + 12,
  }))
})()

/** A curve from the side of one box to the side of the other, by four points. It goes straight, or below
    the boxes that stand between, or beside the boxes of the same column. */
function between(from, to) {
  const [a, b] = [boxes[from], boxes[to]]
  const side = Math.sign(b.x - a.x)
  const start = [a.x + (side || 1) * (WIDE / 2), a.y]
  const end = [b.x + (side ? -side : 1) * (WIDE / 2), b.y]
  if (!side) return [start, [start[0] + 50, a.y], [end[0] + 50, b.y], end]
  const passes = boxes.some(({ x }) => x > Math.min(a.x, b.x) && x < Math.max(a.x, b.x))
  if (passes) {
    // So deep that the middle of the curve is there.
    const deep = (a.bottom - (a.y + b.y) / 8) / 0.75
    return [start, [start[0] + 60 * side, deep], [end[0] - 60 * side, deep], end]
  }
  const part = (part) => start.map((one, axis) => one + (end[axis] - one) * part)
  return [start, part(1 / 3), part(2 / 3), end]
}

/** The point of a curve at this part of its way. */
function at(way, part) {
  const weights = [(1 - part) ** 3, 3 * part * (1 - part) ** 2, 3 * part ** 2 * (1 - part), part ** 3]
  return [0, 1].map((axis) => way.reduce((sum, point, nth) => sum + weights[nth] * point[axis], 0))
}

/** Two lines at most: how a lane is. */
function stateOf({ parts }, lane) {
  const { state, link, open, ready, unacked } = parts[lane]
  const { kind } = lanes[lane]
  if (kind === 'service') return link ? [`${state}; link`, link] : [state, connects.has(lane) && state === 'runs' ? plural(open, 'connection') : '']
  if (state !== 'runs') return [state]
  return kind === 'queue' ? [`■ ${ready} ready`, `□ ${unacked} unacked`] : []
}

/** The scene in words. */
function described(model) {
  const boxes = lanes.map((_, lane) => [full(lane), ...stateOf(model, lane).filter(Boolean)].join(', ').replace(/[■□] /g, ''))
  const says = { binding: 'is bound to', consumer: 'consumes from', publisher: 'publishes to' }
  const ties = [...model.ties.values()].map(({ bond, from, to, key }) => {
    const [subject, object] = bond === 'publisher' ? [from, to] : [to, from]
    return `${full(subject)} ${says[bond]} ${full(object)}${key && ` with key ${key}`}`
  })
  return [`broker ${model.broker}`, ...boxes, ...ties].join('. ')
}

/** Draws how everything is, and the current row. */
function scene(model, row) {
  const arrow = arrowOf(row)
  const touched = new Set([...row.depths, ...row.open, ...row.links].map(([lane]) => lane))
  for (const lane of arrow ? [arrow.from, arrow.to, ...arrow.routed] : [row.what.link?.[0], row.what.change?.[0]]) touched.add(lane)
  const height = (boxes[0]?.bottom ?? 100) + 14
  const broker = model.broker === 'killed' ? 'broker: killed' : 'broker'
  const drawn = svg('svg', { viewBox: `0 0 860 ${height}`, role: 'img', 'aria-label': described(model), class: model.broker })
  if (lanes.some(({ kind }) => kind === 'exchange' || kind === 'queue')) {
    drawn.append(
      svg('rect', { class: 'bar', x: 224, y: 4, width: 412, height: height - 8, rx: 8 }),
      svg('text', { class: 'kind broker', x: 430, y: 22 }, broker),
    )
  }
  for (const tie of model.ties.values()) drawn.append(line(`tie ${tie.bond}`, between(tie.from, tie.to)))
  // Behind the boxes: what passes one does not seem to end there.
  if (arrow) move(drawn, arrow)
  lanes.forEach((_, lane) => drawn.append(box(model, lane, touched.has(lane))))
  for (const tie of model.ties.values()) {
    const says = [tie.key && `key ${tie.key}`, tie.count > 1 && `×${tie.count}`].filter(Boolean).join(' ')
    if (says) drawn.append(label(between(tie.from, tie.to), says, 15))
  }
  if (arrow) drawn.append(label(between(arrow.from, arrow.to), arrow.sort, -8))
  $('scene').replaceChildren(drawn)
}

function box(model, lane, touched) {
  const { kind, name } = lanes[lane]
  const { x, y } = boxes[lane]
  const { state } = model.parts[lane]
  const says = stateOf(model, lane)
  const look = state.startsWith('not ') || state === 'deleted' ? `absent ${state}` : state
  const title = kind === 'exchange' && !name ? '(default)' : nameOf(lane)
  // Without a state, the name stands in the middle.
  const top = says.length ? y - 20 : y - 4
  return svg('g', { class: `${look}${touched ? ' touched' : ''}`, 'data-lane': title },
    svg('title', {}, `${full(lane)}: ${says.join(', ') || 'exists'}`),
    svg('rect', { class: 'box', x: x - WIDE / 2, y: y - HIGH / 2, width: WIDE, height: HIGH, rx: kind === 'exchange' ? HIGH / 2 : 4 }),
    ...(kind === 'queue' ? [svg('path', { class: 'box', d: `M${x + WIDE / 2 - 8} ${y - HIGH / 2}v${HIGH}` })] : []),
    svg('text', { class: 'title', x, y: top }, cut(title, 16)),
    svg('text', { class: 'kind', x, y: top + 16 }, kind === 'check' ? '' : kind),
    ...says.map((text, nth) => svg('text', { class: 'state', x, y: y + 14 + 16 * nth }, cut(text, 18))))
}

function line(look, [start, ...rest]) {
  return svg('path', { class: look, d: `M${start}C${rest.join(' ')}` })
}

function label(way, text, below) {
  const [x, y] = at(way, 0.5)
  return svg('text', { class: 'label', x, y: y + below }, cut(text, 24))
}

/** The arrows of a row, and a token that moves along them, or stands near their end. */
function move(drawn, { sort, from, to, routed, lost }) {
  const ways = [between(from, to), ...routed.map((lane) => between(to, lane))]
  const open = ['confirm', 'ack', 'response', 'setup'].includes(sort)
  ways.forEach((way, nth) => {
    const [[bx, by], [x, y]] = way.slice(2)
    const angle = (Math.atan2(y - by, x - bx) * 180) / Math.PI
    const crossed = ['reject', 'refusal'].includes(sort) || (lost && nth === 0)
    const [look, d] = crossed ? ['cross', 'M-14 -6l12 12m0 -12l-12 12'] : [`head ${open ? 'hollow' : ''} ${sort}`, 'M-10 -5L0 0L-10 5']
    drawn.append(line(`arrow ${sort}`, way), svg('path', { class: look, transform: `translate(${x} ${y}) rotate(${angle})`, d }))
  })
  if (sort === 'setup') return
  for (const end of ways.length > 1 ? ways.slice(1) : ways) {
    const parts = Array.from({ length: 9 }, (_, nth) => nth / 10)
    const points = [...(end === ways[0] ? [] : [...parts, 1].map((part) => at(ways[0], part))), ...parts.map((part) => at(end, part))]
    const token = svg('circle', { class: 'token', r: 7 })
    drawn.append(token)
    token.animate(points.map(([x, y]) => ({ transform: `translate(${x}px, ${y}px)` })), { duration: still.matches ? 0 : 600, fill: 'forwards' })
  }
}

// ---- The messages

function table(model) {
  const typed = (id) => $(id).value.trim().toLowerCase()
  const [queue, key, id] = [$('by-queue').value, typed('by-key'), typed('by-id')]
  const focused = document.activeElement?.dataset.id
  const found = [...model.messages.values()].reverse().filter((message) =>
    (!queue || message.queues.has(Number(queue))) &&
    (message.key ?? '').toLowerCase().includes(key) && message.id.toLowerCase().includes(id))
  const shown = found.slice(0, MOST_MESSAGES)
  const body = document.querySelector('tbody')
  body.replaceChildren(...shown.map((message) => {
    const open = html('button', { 'data-id': message.id, title: message.id }, short(message.id))
    open.addEventListener('click', () => openLife(message.id))
    const cells = [open, message.key ?? '', [...message.queues].map(nameOf).join(', '), message.last]
    return html('tr', rows[message.row].told ? { class: 'told' } : {}, ...cells.map((cell) => html('td', {}, cell)))
  }))
  const left = found.length - shown.length
  $('count').textContent = `${found.length} of ${plural(model.messages.size, 'message')}`
    + (left ? `; the ${left} oldest are not shown: filter` : '')
    + (model.nameless ? `; ${plural(model.nameless, 'publish')} without an id: on the time line only` : '')
  if (focused) [...body.querySelectorAll('button')].find((button) => button.dataset.id === focused)?.focus()
}

let opened = null

/** The rows about a message: those with its id, or with its correlation id. */
function rowsOf(id) {
  const names = new Set(rows.filter((row) => row.ids.includes(id) && row.key !== null).flatMap((row) => row.ids))
  names.add(id)
  return rows.map((_, index) => index).filter((index) => rows[index].ids.some((name) => names.has(name)))
}

function openLife(id) {
  opened = id
  $('life').hidden = false
  $('life-title').textContent = `The life of ${id}`
  document.querySelector('#life ol').replaceChildren(...rowsOf(id).map((index) => {
    const row = rows[index]
    const arrow = arrowOf(row)
    const go = html('button', {}, `${row.t.toFixed(3)} s`)
    go.addEventListener('click', () => show(index))
    const ends = arrow ? `, ${nameOf(arrow.from)} → ${[arrow.to, ...arrow.routed].map(nameOf).join(' → ')}` : ''
    return html('li', { 'data-row': index }, go, ` ${row.text}${ends}${arrow?.lost ? ', taken by no queue' : ''}`,
      html('details', {}, html('summary', {}, 'all of it'), html('pre', { tabindex: 0 }, row.tip)))
  }))
  markLife()
  $('life-title').focus()
}

function markLife() {
  for (const item of document.querySelectorAll('#life li')) {
    const index = Number(item.dataset.row)
    item.classList.toggle('current', index === current)
    item.classList.toggle('later', index > current)
    item.classList.toggle('told', rows[index].told)
    if (index === current) item.setAttribute('aria-current', 'step')
    else item.removeAttribute('aria-current')
  }
}

function closeLife() {
  if (opened === null) return
  $('life').hidden = true
  const from = [...document.querySelectorAll('tbody button')].find((button) => button.dataset.id === opened)
  ;(from ?? $('by-id')).focus()
  opened = null
}

// ---- The time line

let current = -1
let model = new Model(lanes)
/** The services whose connections the journal has: not those of a server of HTTP. */
const connects = new Set(rows.flatMap((row) => row.open.map(([lane]) => lane)))

/** Goes to a row: forwards from where the model is, backwards from the start. */
function show(index) {
  index = Math.max(0, Math.min(rows.length - 1, index))
  if (index === current || !rows.length) return
  if (index < current) [current, model] = [-1, new Model(lanes)]
  while (current < index) model.apply(rows[++current], current)
  $('line').value = current
  // The live line tells the rest.
  $('line').setAttribute('aria-valuetext', `${rows[current].t.toFixed(3)} s`)
  $('now').textContent = words(current)
  scene(model, rows[current])
  table(model)
  markLife()
}

const last = () => rows.length - 1
/** The next fault, from the last one again the first. */
function fault() {
  const faults = rows.map((_, index) => index).filter((index) => rows[index].fault)
  if (!faults.length) $('now').textContent = 'Nothing was broken in this run.'
  else show(faults.find((index) => index > current) ?? faults[0])
}

const deeds = {
  first: () => show(0), back: () => show(current - 1), next: () => show(current + 1), last: () => show(last()),
  fault, moment: () => show(story.moment), close: closeLife,
}
const keys = { Home: 'first', ArrowLeft: 'back', ArrowRight: 'next', End: 'last', f: 'fault', v: 'moment', Escape: 'close' }

function begin() {
  document.title = `Replay: ${story.says}`
  document.querySelector('h1').textContent = `${story.verdict[0][0] === 'expected' ? '✘ ' : ''}${story.says}`
  $('place').textContent = story.place
  $('verdict').classList.toggle('passed', story.verdict[0][0] === 'passed')
  $('verdict').append(...story.verdict.flatMap(([name, text]) => [html('dt', {}, name), html('dd', {}, text)]))
  if (story.left_out) {
    $('left-out').hidden = false
    $('left-out').textContent = `${story.left_out} of the run's ${story.of} rows are left out here, because they do not fit into this page. The journal beside it has them.`
  }
  lanes.forEach((lane, number) => {
    if (lane.kind === 'queue') $('by-queue').append(html('option', { value: number }, lane.name))
  })
  $('line').max = Math.max(0, last())
  rows.forEach((row, index) => {
    const mark = (look, text) => {
      const span = html('span', { class: look }, text)
      span.style.left = `${(100 * index) / Math.max(1, last())}%`
      $('marks').append(span)
    }
    if (row.told) mark('told', '')
    if (row.fault) mark('fault', '▲')
  })
  for (const [id, deed] of Object.entries(deeds)) $(id).addEventListener('click', deed)
  $('line').addEventListener('input', () => show(Number($('line').value)))
  $('filters').addEventListener('input', () => table(model))
  $('filters').addEventListener('submit', (event) => event.preventDefault())
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
    const typing = event.target.matches('input:not([type=range]), select')
    if (!(key in keys) || (typing && key !== 'Escape')) return
    event.preventDefault()
    deeds[keys[key]]()
  })
  show(0)
}

begin()
