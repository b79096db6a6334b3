import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { excerpt } from '../excerpt.mjs'
import { decks, root, sources } from '../place.mjs'
import { courses, labs, minutesOf, timed } from '../plan.mjs'
import { plan, prepare, split } from '../prepare.mjs'
import { parse } from '../recording.mjs'
import { draw as sequence } from '../sequence.mjs'
import { draw } from '../topology.mjs'

const SOURCE = `fn a() {
    // ANCHOR: body
    let x = 1;

    // HOLE 2: think
    let y = 2;
    // END HOLE 2
    // ANCHOR_END: body
}
`

test('an anchor gives its lines, without marks and moved to the left', () => {
  const { lines, answer } = excerpt(SOURCE, 'body', 'solutions/x.rs')
  assert.deepEqual(lines, ['let x = 1;', '', 'let y = 2;'])
  assert.equal(answer, true)
})

test('a hole of a solution is an answer, and the same lines of a lab are none', () => {
  assert.deepEqual(excerpt(SOURCE, 'HOLE-2', 'solutions/x.rs'), { lines: ['let y = 2;'], answer: true })
  assert.equal(excerpt(SOURCE, 'HOLE-2', 'labs/x.rs').answer, false)
})

test('what is missing fails, and says what', () => {
  assert.throws(() => excerpt(SOURCE, 'boddy', 'x.rs'), /x\.rs has no `ANCHOR: boddy`/)
  assert.throws(() => excerpt(SOURCE, 'HOLE-3', 'x.rs'), /x\.rs has no `HOLE 3`/)
  assert.throws(() => excerpt(SOURCE, undefined, 'x.rs'), /which lines/)
  assert.throws(() => excerpt('// ANCHOR: a\nx\n', 'a', 'x.rs'), /and no `ANCHOR_END: a`/)
  assert.throws(() => excerpt('// ANCHOR: a\n// ANCHOR_END: a\n', 'a', 'x.rs'), /nothing stands/)
  const deck = (fence) => prepare(`# one\n\n---\n\n${fence}\n`, { root })
  assert.throws(() => deck('```rust file=labs/none.rs#a\n```'), /slide 2: ENOENT.*none\.rs/)
  assert.throws(() => deck('```rust file=Cargo.toml#a\nlet x;\n```'), /slide 2: .*lines of its own/)
  assert.throws(() => deck('```terminal recorded=none\n```'), /slide 2: no slides\/recorded\/none\.txt/)
  assert.throws(() => deck('```terminal\n$ ls\n```'), /a terminal shows a recorded run/)
  assert.throws(() => deck('```topology\nproducer a\na -> b\n```'), /nothing is called b/)
})

test('dashes in a fence part no slides', () => {
  const { front, slides } = split('---\nmarp: true\n---\n# a\n\n---\n\n```text\n---\n```\n')
  assert.equal(front, '---\nmarp: true\n---\n')
  assert.equal(slides.length, 2)
})

test('students do not get the slides with answers', () => {
  const deck = `# a\n\n---\n\n<!-- _class: small answer -->\n# b\n\n---\n\n# c\n`
  assert.match(prepare(deck, { root }), /# b/)
  const theirs = prepare(deck, { root, student: true })
  assert.doesNotMatch(theirs, /# b/)
  assert.match(theirs, /# a[^]*---[^]*# c/)
})

test('a recording begins with its settings and its command', () => {
  const { settings, command, output } = parse('# mutant: 02 no-ack\n# exit: 1\n$ just x\nred\n# no setting\n')
  assert.deepEqual(settings, { mutant: '02 no-ack', exit: '1' })
  assert.equal(command, 'just x')
  assert.deepEqual(output, ['red', '# no setting'])
  assert.throws(() => parse('just x\n'), /begins with/)
})

test('a topology is one line of SVG, and what cannot be read is told', () => {
  const svg = draw('producer a\nqueue "b c" dead\na -x> "b c" : x < y\n')
  assert.match(svg, /^<svg .*class="queue dead".*b c.*x &lt; y.*<\/svg>$/)
  assert.throws(() => draw('queue'), /neither a part nor an arrow: queue/)
  assert.throws(() => draw('broker a'), /neither/)
  assert.throws(() => draw(''), /nothing to draw/)
})

test('a sequence has a fragment for each step, and what cannot be read is told', () => {
  const svg = sequence('lane a\nlane "b c"\na -> "b c" : x < y\n"b c" : commits\n"b c" kill\na ..> "b c"\n')
  assert.match(svg, /^<svg .*x &lt; y.*<\/svg>$/)
  assert.equal(svg.match(/data-marpit-fragment/g).length, 4)
  assert.throws(() => sequence('lane a\na -> b'), /no lane is called b/)
  assert.throws(() => sequence('lane a\na jumps'), /neither a lane nor a step/)
  assert.throws(() => sequence('lane a'), /nothing to draw/)
})

test('what stands behind a step appears after what is drawn before it, and the notes stay notes', () => {
  const deck = '# a\n\n```sequence\nlane a\na : b\n```\n\n<!-- step -->\nSo **it** is.\n\n<!--\nminutes: 1\nAsk.\n-->\n'
  const made = prepare(deck, { root })
  assert.match(made, /data-marpit-fragment="2">\n\nSo \*\*it\*\* is\.\n[^<]*<\/div>\n\n<!--\nminutes: 1\n/)
})

test('every slide of every deck has minutes and notes worth reading', () => {
  assert.equal(decks().length, 9)
  for (const name of decks()) {
    assert.ok(minutesOf(name).minutes >= 10, name)
    const { slides } = split(readFileSync(join(sources, `${name}.md`), 'utf8'))
    slides.forEach((slide, index) => {
      const notes = slide.match(/<!--\nminutes: [\d.]+\n([^]*?)-->/)?.[1] ?? ''
      assert.ok(notes.trim().length >= 40, `${name}, slide ${index + 1}: notes`)
    })
  }
})

test('every deck opens with what a student can answer at its end', () => {
  for (const name of decks()) {
    const { slides } = split(readFileSync(join(sources, `${name}.md`), 'utf8'))
    assert.ok((slides[1].match(/\?$/gm) ?? []).length >= 3, `${name}: slide 2 asks three questions`)
  }
})

test('courses keep within their time, and name what there is', () => {
  const lengths = Object.fromEntries(decks().map((name) => [name.slice(0, 2), minutesOf(name).minutes]))
  for (const course of courses()) {
    for (const steps of course.sessions) {
      const ends = timed(steps, lengths, labs()).at(-1).ends
      assert.ok(ends <= course.minutes, `${course.name}: ${JSON.stringify(steps)} takes ${ends} minutes`)
    }
  }
})

test('part A of a lab takes at most an hour, and part B 75 minutes', () => {
  for (const [number, { a, b }] of Object.entries(labs())) {
    assert.ok(a > 0 && a <= 60, `lab ${number}, part A: ${a}`)
    assert.ok(b > 0 && b <= 75, `lab ${number}, part B: ${b}`)
  }
})

test('the plan reads heading and minutes', () => {
  assert.deepEqual(plan('# A\n\n<!--\nminutes: 2.5\nAsk.\n-->\n'), [{ heading: 'A', minutes: 2.5 }])
})
