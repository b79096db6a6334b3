// Joins a chapter of the lab: node join.mjs send 02, node join.mjs receive 02; also 03, 05, 06.
import { randomUUID } from 'node:crypto';
import amqp from 'amqplib';

const view = '{"videoPath": "./videos/from-node.mp4"}';
const chapters = {
  '02': { queue: 'viewed', body: view },
  '03': { queue: 'messages', body: 'a job from Node.js ..' },
  '05': { exchange: 'viewed', queue: 'viewed.from-node', body: view },
  '06': { queue: 'rpc_queue', body: '10' },
};
const [action, chapter] = process.argv.slice(2);
const { exchange = '', queue, body } = chapters[chapter];

const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createConfirmChannel();
// Durable, and no arguments: as the lab's services declare them.
if (exchange) await channel.assertExchange(exchange, 'fanout', { durable: true });
if (!exchange || action === 'receive') await channel.assertQueue(queue, { durable: true });
if (exchange && action === 'receive') await channel.bindQueue(queue, exchange, '');

if (action === 'send') {
  const properties = { persistent: true, messageId: randomUUID() };
  if (chapter === '06') await expectAnswer(properties);
  channel.publish(exchange, exchange ? '' : queue, Buffer.from(body), properties);
  await channel.waitForConfirms();
  console.log(`sent ${properties.messageId} ${body}`);
  if (chapter !== '06') await connection.close();
} else {
  await channel.prefetch(1);
  await channel.consume(queue, async (message) => {
    console.log(`received ${message.properties.messageId} ${message.content}`);
    if (chapter === '06') await answer(message);
    channel.ack(message);
  });
  console.log(`receiving from ${queue}`);
}

// A queue of our own for the answer, which the correlation id tells from any other.
async function expectAnswer(properties) {
  const { queue: replies } = await channel.assertQueue('', { exclusive: true });
  properties.replyTo = replies;
  properties.correlationId = randomUUID();
  await channel.consume(replies, async (message) => {
    if (message.properties.correlationId !== properties.correlationId) return;
    console.log(`answer ${message.content}`);
    await connection.close();
  }, { noAck: true });
}

async function answer({ properties: { replyTo, correlationId }, content }) {
  const found = JSON.stringify({ name: `User ${content} of Node.js` });
  channel.sendToQueue(replyTo, Buffer.from(found), { correlationId });
  await channel.waitForConfirms();
}
