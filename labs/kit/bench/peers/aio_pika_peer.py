"""The peer in Python, with aio-pika: publish COUNT WINDOW SIZE | consume COUNT PREFETCH ACK_EVERY | call COUNT.

It prints messages a second, or p50 and p99 of a call in microseconds.
"""

import asyncio
import os
import sys
import time

from aio_pika import DeliveryMode, Message, connect

QUEUE = "load"


async def publish(connection, count, window, size):
    channel = await connection.channel(publisher_confirms=True)
    await channel.declare_queue(QUEUE, durable=True)
    room = asyncio.Semaphore(window)
    body = b"x" * size
    begun = time.perf_counter()

    async def one(number):
        message = Message(body, message_id=str(number), delivery_mode=DeliveryMode.PERSISTENT)
        try:
            await channel.default_exchange.publish(message, QUEUE, mandatory=False)
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await room.acquire()
            group.create_task(one(number))
    return f"{count / (time.perf_counter() - begun):.0f}"


async def consume(connection, count, prefetch, every):
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=prefetch)
    queue = await channel.get_queue(QUEUE, ensure=False)
    done, over = 0, asyncio.Event()
    begun = time.perf_counter()

    async def on_message(message):
        nonlocal done
        done += 1
        if done % every == 0 or done == count:
            await message.ack(multiple=every > 1)
        if done == count:
            over.set()

    await queue.consume(on_message)
    await over.wait()
    # The broker handles the last ack before it answers the close.
    await channel.close()
    return f"{count / (time.perf_counter() - begun):.0f}"


async def call(connection, other, count):
    server = await other.channel(publisher_confirms=False)
    requests = await server.declare_queue("load.requests", durable=True)

    async def serve(request):
        reply = Message(request.body, correlation_id=request.correlation_id)
        await server.default_exchange.publish(reply, request.reply_to, mandatory=False)
        await request.ack()

    await requests.consume(serve)
    client = await connection.channel(publisher_confirms=False)
    replies = await client.declare_queue("load.replies", durable=True)
    answers = asyncio.Queue()

    async def on_reply(reply):
        await reply.ack()
        answers.put_nowait(reply.correlation_id)

    await replies.consume(on_reply)
    times = []
    for number in range(count + 200):
        begun = time.perf_counter()
        request = Message(b"?" * 64, correlation_id=str(number), reply_to="load.replies")
        await client.default_exchange.publish(request, "load.requests", mandatory=False)
        assert await answers.get() == str(number), "another reply"
        if number >= 200:
            times.append((time.perf_counter() - begun) * 1e6)
    times.sort()
    return " ".join(f"{times[int((len(times) - 1) * part)]:.1f}" for part in (0.5, 0.99))


async def main(work, *figures):
    url = os.environ["AMQP_URL"]
    figures = [int(figure) for figure in figures]
    async with await connect(url) as connection:
        if work == "call":
            async with await connect(url) as other:
                print(await call(connection, other, *figures))
        else:
            print(await {"publish": publish, "consume": consume}[work](connection, *figures))


asyncio.run(main(*sys.argv[1:]))
