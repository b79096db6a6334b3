// The peer in Node.js, with amqplib: publish COUNT WINDOW SIZE | consume COUNT PREFETCH ACK_EVERY | call COUNT.
// It prints messages a second, or p50 and p99 of a call in microseconds.
'use strict';

const amqplib = require('amqplib');

const QUEUE = 'load';
const now = () => Number(process.hrtime.bigint()) / 1e3;
const rate = (count, begun) => (count / ((now() - begun) / 1e6)).toFixed(0);

async function publish(connection, count, window, size) {
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(QUEUE, { durable: true });
  const body = Buffer.alloc(size, 'x');
  let outstanding = 0;
  let room = null;
  const begun = now();
  for (let number = 0; number < count; number += 1) {
    while (outstanding >= window) await new Promise((free) => { room = free; });
    outstanding += 1;
    channel.sendToQueue(QUEUE, body, { persistent: true, messageId: String(number) }, (error) => {
      if (error) throw error;
      outstanding -= 1;
      if (room) { room(); room = null; }
    });
  }
  await channel.waitForConfirms();
  return rate(count, begun);
}

async function consume(connection, count, prefetch, every) {
  const channel = await connection.createChannel();
  await channel.prefetch(prefetch);
  let done = 0;
  const begun = now();
  await new Promise((over) => channel.consume(QUEUE, (message) => {
    done += 1;
    if (done % every === 0 || done === count) channel.ack(message, every > 1);
    if (done === count) over();
  }));
  // The broker handles the last ack before it answers the close.
  await channel.close();
  return rate(count, begun);
}

async function call(connection, other, count) {
  const server = await other.createChannel();
  await server.assertQueue('load.requests', { durable: true });
  await server.consume('load.requests', (request) => {
    const { replyTo, correlationId } = request.properties;
    server.sendToQueue(replyTo, request.content, { correlationId });
    server.ack(request);
  });
  const client = await connection.createChannel();
  await client.assertQueue('load.replies', { durable: true });
  let answered = null;
  await client.consume('load.replies', (reply) => {
    client.ack(reply);
    answered(reply.properties.correlationId);
  });
  const times = [];
  for (let number = 0; number < count + 200; number += 1) {
    const id = String(number);
    const begun = now();
    const answer = new Promise((given) => { answered = given; });
    client.sendToQueue('load.requests', Buffer.alloc(64, '?'), { correlationId: id, replyTo: 'load.replies' });
    if (await answer !== id) throw new Error('another reply');
    if (number >= 200) times.push(now() - begun);
  }
  times.sort((a, b) => a - b);
  const at = (part) => times[Math.floor((times.length - 1) * part)].toFixed(1);
  return `${at(0.5)} ${at(0.99)}`;
}

async function main([work, ...figures]) {
  const [first, second, third] = figures.map(Number);
  const connect = () => amqplib.connect(process.env.AMQP_URL, { noDelay: true });
  const connection = await connect();
  if (work === 'call') {
    const other = await connect();
    console.log(await call(connection, other, first));
    await other.close();
  } else {
    console.log(await (work === 'publish' ? publish : consume)(connection, first, second, third));
  }
  await connection.close();
}

main(process.argv.slice(2)).catch((error) => { console.error(error); process.exit(1); });
