// The replay: draws how everything is after the current row, and steps from row to row.

const { rows } = story
place(story.lanes)
for (const row of rows) for (const [lane] of row.open) connects.add(lane)

// ---- One message

/** The rows about a message: those with its id, or with its correlation id. */
function rowsOf(id) {
  const names = new Set(rows.filter((row) => row.ids.includes(id) && row.key !== null).flatMap((row) => row.ids))
  names.add(id)
  return rows.map((_, index) => index).filter((index) => rows[index].ids.some((name) => names.has(name)))
}

function openLife(id) {
  showLife(id, rowsOf(id).map((index) => {
    const go = html('button', {}, `${rows[index].t.toFixed(3)} s`)
    go.addEventListener('click', () => show(index))
    return fill(step(rows[index], go), { 'data-row': index }, [])
  }))
  markLife()
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

// ---- The time line

let current = -1
let model = new Model(lanes)

/** Goes to a row: forwards from where the model is, backwards from the start. */
function show(index) {
  index = Math.max(0, Math.min(rows.length - 1, index))
  if (index === current || !rows.length) return
  if (index < current) [current, model] = [-1, new Model(lanes)]
  while (current < index) model.apply(rows[++current])
  $('line').value = current
  // The live line tells the rest.
  $('line').setAttribute('aria-valuetext', `${rows[current].t.toFixed(3)} s`)
  $('now').textContent = `Row ${current + 1} of ${rows.length}, ${words(rows[current])}`
  scene(rows[current])
  messages()
  markLife()
}

/** Draws how everything is, and this row. */
function scene(row) {
  const arrow = arrowOf(row)
  const touched = new Set([...row.depths, ...row.open, ...row.links].map(([lane]) => lane))
  for (const lane of arrow ? [arrow.from, arrow.to, ...arrow.routed] : [row.what.link?.[0], row.what.change?.[0]]) touched.add(lane)
  draw(model, touched)
  moving.replaceChildren()
  if (arrow) move(arrow).append(label(between(arrow.from, arrow.to), arrow.sort, -8))
}

const messages = () => table(model.messages,
  model.nameless ? `${plural(model.nameless, 'publish')} without an id: on the time line only` : '')

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
  $('filters').addEventListener('input', messages)
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
