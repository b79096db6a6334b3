'use strict'

// What each page has: elements, words, and the scene with what stands and what moves. All text of a message
// gets into the page by `textContent` only.

const $ = (id) => document.getElementById(id)
const story = JSON.parse($('story').textContent)
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

/** The parts of a row's `what`, which is a word, or an object with one field. */
function kindOf(row) {
  return typeof row.what === 'string' ? row.what : Object.keys(row.what)[0]
}

function arrowOf(row) {
  return row.what.arrow ?? null
}

/** A row in words, for the eye and the screen reader. */
function words(row) {
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
  return `${row.t.toFixed(3)} s. ${marks}${[text, ...depths].join('. ')}.`
}

// ---- The scene

const COLUMNS = [82, 316, 544, 778]
const [WIDE, HIGH, STEP, TOP] = [152, 78, 100, 78]

let lanes = []
/** Where each lane's box stands. */
let boxes = []
/** The services whose connections are known: not those of a server of HTTP. */
const connects = new Set()

/** Places the boxes of these lanes: services that send, exchanges, queues, services that get. A box with an
    entry in `beside` stands as far up as the lane of that entry: so fewer ties cross. Those that are `gone` have
    none. */
function place(all, beside = new Map(), gone = new Set()) {
  lanes = all
  const isBroker = ({ kind }) => kind === 'exchange' || kind === 'queue'
  const broker = lanes.some(isBroker) ? lanes.findIndex(isBroker) : lanes.length - 1
  const column = ({ kind, gets }, lane) => ({ check: 0, exchange: 1, queue: 2 })[kind] ?? ((gets ?? lane >= broker) ? 3 : 0)
  const columns = lanes.map((all, lane) => (gone.has(lane) ? -1 : column(all, lane)))
  const counts = [0, 1, 2, 3].map((one) => columns.filter((other) => other === one).length)
  const most = Math.max(2, ...counts)
  const path = (lane) => [...(beside.has(lane) ? path(beside.get(lane)) : []), lane]
  const above = (a, b) => a.map((lane, nth) => lane - (b[nth] ?? -1)).find(Boolean) ?? -1
  const order = lanes.map((_, lane) => path(lane)).sort(above).map((path) => path.at(-1))
  const rowOf = (lane) => order.filter((other) => columns[other] === columns[lane]).indexOf(lane)
  boxes = columns.map((column, lane) => (column < 0 ? null : {
    column,
    x: COLUMNS[column],
    y: TOP + STEP * ((most - counts[column]) / 2 + rowOf(lane)),
    bottom: TOP + STEP * (most - 1) + HIGH / 2 + 12,
  }))
}

/** A curve from the side of one box to the side of the other, by four points. It goes straight, or below
    the boxes that stand between, or beside the boxes of the same column. */
function between(from, to) {
  const [a, b] = [boxes[from], boxes[to]]
  const side = Math.sign(b.x - a.x)
  const start = [a.x + (side || 1) * (WIDE / 2), a.y]
  const end = [b.x + (side ? -side : 1) * (WIDE / 2), b.y]
  if (!side) return [start, [start[0] + 50, a.y], [end[0] + 50, b.y], end]
  const passes = boxes.some((box) => box && box.x > Math.min(a.x, b.x) && box.x < Math.max(a.x, b.x))
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
function stateOf({ parts, ties }, lane) {
  const { state, link, open, ready, unacked, prefetch } = parts[lane]
  const { kind } = lanes[lane]
  if (kind === 'service' && link) return [`${state}; link`, link]
  // A replay does not know the prefetch limits.
  const consumes = () => prefetch !== undefined && [...ties.values()].some(({ bond, to }) => bond === 'consumer' && to === lane)
  if (kind === 'service' && consumes()) return [state, `□ ${unacked}${unacked > 99 ? '/' : ' of '}${prefetch || '∞'} unacked`]
  if (kind === 'service') return [state, connects.has(lane) && state === 'runs' ? plural(open, 'connection') : '']
  if (state !== 'runs') return [state]
  return kind === 'queue' ? [`■ ${ready} ready`, `□ ${unacked} unacked`] : []
}

/** Messages a second, where they are counted and flow. */
function rateOf({ parts }, lane) {
  const { rate = 0 } = parts[lane]
  return rate < 0.05 ? '' : `${rate < 10 ? rate.toFixed(1) : Math.round(rate)}/s`
}

/** The lanes that have boxes. */
const shown = () => lanes.map((_, lane) => lane).filter((lane) => boxes[lane])
const tiesOf = (model) => [...model.ties.values()].filter(({ from, to }) => boxes[from] && boxes[to])

/** The scene in words. */
function described(model) {
  const boxes = shown().map((lane) => [full(lane), ...stateOf(model, lane), rateOf(model, lane)].filter(Boolean).join(', ').replace(/[■□] /g, ''))
  const says = { binding: 'is bound to', consumer: 'consumes from', publisher: 'publishes to' }
  const ties = tiesOf(model).map(({ bond, from, to, key }) => {
    const [subject, object] = bond === 'publisher' ? [from, to] : [to, from]
    return `${full(subject)} ${says[bond]} ${full(object)}${key && ` with key ${key}`}`
  })
  return [...(model.broker ? [`broker ${model.broker}`] : []), ...boxes, ...ties].join('. ')
}

/** Three layers: what stands behind the boxes, what moves, and the boxes. What moves is behind the boxes, too:
    an arrow that passes a box does not seem to end there. */
const [behind, moving, standing] = [svg('g'), svg('g'), svg('g')]
const picture = svg('svg', { role: 'img' }, behind, moving, standing)
$('scene').append(picture)

/** Draws how everything is. What moves goes on. */
function draw(model, touched) {
  const height = (boxes.find(Boolean)?.bottom ?? 100) + 14
  const broker = model.broker === 'killed' ? 'broker: killed' : 'broker'
  fill(picture, { viewBox: `0 0 860 ${height}`, 'aria-label': described(model), class: model.broker ?? '' }, [])
  const hasBroker = lanes.some(({ kind }) => kind === 'exchange' || kind === 'queue')
  const ties = tiesOf(model)
  behind.replaceChildren(
    ...(hasBroker ? [
      svg('rect', { class: 'bar', x: 224, y: 4, width: 412, height: height - 8, rx: 8 }),
      svg('text', { class: 'kind broker', x: 430, y: 22 }, broker),
    ] : []),
    ...ties.map((tie) => line(`tie ${tie.bond}`, between(tie.from, tie.to))))
  standing.replaceChildren(...shown().map((lane) => box(model, lane, touched.has(lane))))
  for (const tie of ties) {
    const says = [tie.key && `key ${tie.key}`, tie.count > 1 && `×${tie.count}`].filter(Boolean).join(' ')
    if (says) standing.append(label(between(tie.from, tie.to), says, 15))
  }
}

function box(model, lane, touched) {
  const { kind, name } = lanes[lane]
  const { x, y } = boxes[lane]
  const { state, link } = model.parts[lane]
  const says = stateOf(model, lane)
  const rate = rateOf(model, lane)
  const look = state.startsWith('not ') || state === 'deleted' ? `absent ${state}` : state
  const title = kind === 'exchange' && !name ? '(default)' : nameOf(lane)
  // Without a state, the name stands in the middle.
  const top = says.length ? y - 20 : y - 4
  return svg('g', { class: `${look}${link ? ' cut' : ''}${touched ? ' touched' : ''}`, 'data-lane': title },
    svg('title', {}, `${full(lane)}: ${says.join(', ') || 'exists'}`),
    svg('rect', { class: 'box', x: x - WIDE / 2, y: y - HIGH / 2, width: WIDE, height: HIGH, rx: kind === 'exchange' ? HIGH / 2 : 4 }),
    ...trace(boxes[lane], model.history?.[lane] ?? []),
    ...(kind === 'queue' ? [svg('path', { class: 'box', d: `M${x + WIDE / 2 - 8} ${y - HIGH / 2}v${HIGH}` })] : []),
    svg('text', { class: 'title', x, y: top }, cut(title, 16)),
    svg('text', { class: 'kind', x, y: top + 16 }, kind === 'check' ? '' : `${kind}${rate && ` · ${rate}`}`),
    ...says.map((text, nth) => svg('text', { class: 'state', x, y: y + 14 + 16 * nth }, cut(text, 19))))
}

/** A queue's depth over the last minute, second by second, behind its words. */
function trace({ x, y }, depths) {
  const most = Math.max(5, ...depths)
  if (!depths.some(Boolean)) return []
  const [right, base] = [x + WIDE / 2 - 9, y + HIGH / 2 - 1]
  const points = depths.map((depth, nth) => [right - (depths.length - 1 - nth) * 2.4, base - (depth / most) * 34])
  return [svg('polyline', { class: 'trace', points: [[points[0][0], base], ...points, [right, base]].join(' ') })]
}

function line(look, [start, ...rest]) {
  return svg('path', { class: look, d: `M${start}C${rest.join(' ')}` })
}

function label(way, text, below) {
  const [x, y] = at(way, 0.5)
  return svg('text', { class: 'label', x, y: y + below }, cut(text, 24))
}

/** Adds the arrows of a row to what moves, and a token that moves along them, or stands near their end. Returns
    what it added. */
function move({ sort, from, to, routed, lost }) {
  const drawn = svg('g')
  if (![from, to, ...routed].every((lane) => boxes[lane])) return drawn
  moving.append(drawn)
  const ways = [between(from, to), ...routed.map((lane) => between(to, lane))]
  const open = ['confirm', 'ack', 'response', 'setup'].includes(sort)
  ways.forEach((way, nth) => {
    const [[bx, by], [x, y]] = way.slice(2)
    const angle = (Math.atan2(y - by, x - bx) * 180) / Math.PI
    const crossed = ['reject', 'refusal'].includes(sort) || (lost && nth === 0)
    const [look, d] = crossed ? ['cross', 'M-14 -6l12 12m0 -12l-12 12'] : [`head ${open ? 'hollow' : ''} ${sort}`, 'M-10 -5L0 0L-10 5']
    drawn.append(line(`arrow ${sort}`, way), svg('path', { class: look, transform: `translate(${x} ${y}) rotate(${angle})`, d }))
  })
  if (sort === 'setup') return drawn
  for (const end of ways.length > 1 ? ways.slice(1) : ways) {
    const parts = Array.from({ length: 9 }, (_, nth) => nth / 10)
    const points = [...(end === ways[0] ? [] : [...parts, 1].map((part) => at(ways[0], part))), ...parts.map((part) => at(end, part))]
    const token = svg('circle', { class: 'token', r: 7 })
    drawn.append(token)
    token.animate(points.map(([x, y]) => ({ transform: `translate(${x}px, ${y}px)` })), { duration: still.matches ? 0 : 600, fill: 'forwards' })
  }
  return drawn
}
