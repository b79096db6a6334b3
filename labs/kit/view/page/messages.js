// The table of the messages, and the life of one of them. Each page has an `openLife` of its own.

const MOST_MESSAGES = 200

/** Shows the messages that the filters let through, the last one first, and how many there are, and this. */
function table(messages, also) {
  const typed = (id) => $(id).value.trim().toLowerCase()
  const [queue, key, id] = [$('by-queue').value, typed('by-key'), typed('by-id')]
  const focused = document.activeElement?.dataset.id
  const found = [...messages.values()].reverse().filter((message) =>
    (!queue || message.queues.has(Number(queue))) &&
    (message.key ?? '').toLowerCase().includes(key) && message.id.toLowerCase().includes(id))
  const shown = found.slice(0, MOST_MESSAGES)
  const body = document.querySelector('#messages tbody')
  body.replaceChildren(...shown.map((message) => {
    const open = html('button', { 'data-id': message.id, title: message.id }, short(message.id))
    open.addEventListener('click', () => openLife(message.id))
    const cells = [open, message.key ?? '', [...message.queues].map(nameOf).join(', '), message.last]
    return html('tr', message.told ? { class: 'told' } : {}, ...cells.map((cell) => html('td', {}, cell)))
  }))
  const left = found.length - shown.length
  $('count').textContent = `${found.length} of ${plural(messages.size, 'message')}`
    + (left ? `; the ${left} oldest are not shown: filter` : '')
    + (also && `; ${also}`)
  if (focused) [...body.querySelectorAll('button')].find((button) => button.dataset.id === focused)?.focus()
}

let opened = null

/** Shows these steps of a message. */
function showLife(id, steps) {
  opened = id
  $('life').hidden = false
  $('life-title').textContent = `The life of ${id}`
  document.querySelector('#life ol').replaceChildren(...steps)
  $('life-title').focus()
}

/** A row of a message's life, after `time`. */
function step(row, time) {
  const arrow = arrowOf(row)
  const ends = arrow ? `, ${nameOf(arrow.from)} → ${[arrow.to, ...arrow.routed].map(nameOf).join(' → ')}` : ''
  return html('li', {}, time, ` ${row.text}${ends}${arrow?.lost ? ', taken by no queue' : ''}`,
    html('details', {}, html('summary', {}, 'all of it'), html('pre', { tabindex: 0 }, row.tip)))
}

function closeLife() {
  if (opened === null) return
  $('life').hidden = true
  const from = [...document.querySelectorAll('#messages tbody button')].find((button) => button.dataset.id === opened)
  ;(from ?? $('by-id')).focus()
  opened = null
}
