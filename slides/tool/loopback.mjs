// Marp's server and its watcher listen on all addresses of a machine. A deck with its notes is
// for the one who presents it: with `node --import` of this file they listen on loopback.

import net from 'node:net'

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === 'object' && 'port' in first) {
    return listen.call(this, { ...first, host: '127.0.0.1' }, ...rest)
  }
  const isPort = typeof first === 'number' || /^\d+$/.test(first)
  return isPort && typeof rest[0] !== 'string'
    ? listen.call(this, first, '127.0.0.1', ...rest)
    : listen.call(this, first, ...rest)
}
