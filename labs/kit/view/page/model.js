// How everything is after each row. It knows the rows of a story, and nothing of the page.

class Model {
  constructor(lanes) {
    this.lanes = lanes
    /** Of each lane: its state in a word, its depth, its connections, its link's trouble. */
    this.parts = lanes.map(({ kind }) => ({
      state: kind === 'service' ? 'not started' : kind === 'check' ? 'runs' : 'not declared',
      ready: 0, unacked: 0, open: 0, link: '',
    }))
    this.broker = 'runs'
    /** Bindings, consumers and publishers: by bond, ends and key. */
    this.ties = new Map()
    /** By id, in the order of the last step. */
    this.messages = new Map()
    /** How many messages were published without one. */
    this.nameless = 0
  }

  apply(row) {
    const arrow = arrowOf(row)
    if (arrow) this.move(row, arrow)
    if (row.what.change) this.change(...row.what.change)
    if (kindOf(row) === 'link') this.seen(row.what.link[0])
    for (const tie of row.ties) this.tie(tie)
    for (const [lane, depth] of row.depths) {
      Object.assign(this.parts[lane], depth)
      this.seen(lane)
    }
    for (const [lane, open] of row.open) {
      this.parts[lane].open = open
      if (!open) this.untie((tie) => tie.bond === 'publisher' && tie.from === lane)
    }
    for (const [lane, link] of row.links) this.parts[lane].link = link
  }

  move(row, { sort, from, to, routed }) {
    const ends = [from, to, ...routed]
    for (const lane of ends) this.seen(lane)
    if (sort === 'publish') this.tie({ bond: 'publisher', from, to, key: '', holds: true, once: true })
    const carries = row.key !== null
    if (sort === 'publish' && !row.ids.length) this.nameless++
    // The second name of a message is its correlation id, which is no message of its own.
    for (const id of carries ? row.ids.slice(0, 1) : row.ids) {
      const known = this.messages.get(id)
      if (!known && !carries && !['request', 'response'].includes(sort)) continue
      const message = known ?? { id, key: row.key, queues: new Set() }
      for (const lane of ends) if (this.lanes[lane].kind === 'queue') message.queues.add(lane)
      Object.assign(message, { told: row.told, last: row.text })
      this.messages.delete(id)
      this.messages.set(id, message)
    }
  }

  change(lane, change) {
    const states = { runs: 'runs', frozen: 'frozen', left: 'exited', ended: 'ended' }
    if (!(change in states)) return
    if (lane === null) this.broker = change === 'ended' ? 'killed' : 'runs'
    else this.parts[lane].state = states[change]
  }

  /** A lane from which or to which something goes is there, whether or not its start was seen. */
  seen(lane) {
    const part = this.parts[lane]
    if (part.state.startsWith('not ')) part.state = 'runs'
  }

  tie({ bond, from, to, key, holds, once }) {
    if (bond === 'exists') {
      this.parts[from].state = holds ? 'runs' : 'deleted'
      return
    }
    const name = [bond, from, to, key].join()
    const count = (this.ties.get(name)?.count ?? 0) + (holds ? 1 : -1)
    if (count > 0) this.ties.set(name, { bond, from, to, key, count: once ? 1 : count })
    else this.ties.delete(name)
  }

  untie(which) {
    for (const [name, tie] of this.ties) if (which(tie)) this.ties.delete(name)
  }
}
