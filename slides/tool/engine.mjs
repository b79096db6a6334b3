// Marp's engine, with our fences: see prepare.mjs.

import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prepare } from './prepare.mjs'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

export default ({ marp }) => {
  const render = marp.render.bind(marp)
  marp.render = (markdown, ...rest) =>
    render(prepare(markdown, { root, student: process.env.SLIDES_FOR === 'students' }), ...rest)
  return marp
}
