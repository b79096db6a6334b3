"""The peer in Python, with pika: publish COUNT WINDOW SIZE | consume COUNT PREFETCH ACK_EVERY | call COUNT.

It prints messages a second, or p50 and p99 of a call in microseconds. It is written on callbacks
(`SelectConnection`): pika's blocking channel awaits the confirm of each message.
"""

import os
import sys
import threading
import time

import pika

QUEUE = "load"


class Peer:
    """A connection with one channel, and what is done with it."""

    def __init__(self, work):
        self.result = None
        parameters = pika.URLParameters(os.environ["AMQP_URL"])
        self.connection = pika.SelectConnection(
            parameters,
            on_open_callback=lambda _: self.connection.channel(on_open_callback=self.opened),
            on_close_callback=lambda *_: self.connection.ioloop.stop(),
        )
        self.work = work

    def opened(self, channel):
        self.channel = channel
        channel.add_on_close_callback(lambda *_: self.connection.close())
        self.work(self)

    def run(self):
        self.connection.ioloop.start()
        return self.result


def publish(count, window, size):
    body = b"x" * size
    state = {"sent": 0, "confirmed": 0, "begun": 0.0}

    def send(peer):
        while state["sent"] < count and state["sent"] - state["confirmed"] < window:
            properties = pika.BasicProperties(delivery_mode=2, message_id=str(state["sent"]))
            peer.channel.basic_publish("", QUEUE, body, properties)
            state["sent"] += 1

    def confirmed(peer, frame):
        assert isinstance(frame.method, pika.spec.Basic.Ack), frame
        tag = frame.method.delivery_tag
        state["confirmed"] = tag if frame.method.multiple else state["confirmed"] + 1
        if state["confirmed"] == count:
            peer.result = f"{count / (time.perf_counter() - state['begun']):.0f}"
            peer.channel.close()
        else:
            send(peer)

    def begin(peer):
        def ready(_):
            state["begun"] = time.perf_counter()
            send(peer)

        def declared(_):
            peer.channel.confirm_delivery(lambda frame: confirmed(peer, frame), callback=ready)

        peer.channel.queue_declare(QUEUE, durable=True, callback=declared)

    return Peer(begin).run()


def consume(count, prefetch, every):
    state = {"done": 0, "begun": 0.0}

    def on_message(peer, method):
        state["done"] += 1
        if state["done"] % every == 0 or state["done"] == count:
            peer.channel.basic_ack(method.delivery_tag, multiple=every > 1)
        if state["done"] == count:
            # The broker handles the last ack before it answers the close.
            peer.channel.close()

    def begin(peer):
        def ready(_):
            state["begun"] = time.perf_counter()
            peer.channel.basic_consume(QUEUE, lambda _c, method, _p, _b: on_message(peer, method))

        peer.channel.basic_qos(prefetch_count=prefetch, callback=ready)

    Peer(begin).run()
    return f"{count / (time.perf_counter() - state['begun']):.0f}"


def serve():
    """Answers each request with its own body, for as long as the program runs."""

    def answer(channel, method, properties, body):
        reply = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, body, reply)
        channel.basic_ack(method.delivery_tag)

    def begin(peer):
        peer.channel.queue_declare("load.requests", durable=True)
        peer.channel.basic_consume("load.requests", answer)

    Peer(begin).run()


def call(count):
    threading.Thread(target=serve, daemon=True).start()
    times, state = [], {"number": -1, "begun": 0.0}

    def send(peer):
        state["number"] += 1
        state["begun"] = time.perf_counter()
        properties = pika.BasicProperties(correlation_id=str(state["number"]), reply_to="load.replies")
        peer.channel.basic_publish("", "load.requests", b"?" * 64, properties)

    def on_reply(peer, method, properties):
        assert properties.correlation_id == str(state["number"]), "another reply"
        if state["number"] >= 200:
            times.append((time.perf_counter() - state["begun"]) * 1e6)
        peer.channel.basic_ack(method.delivery_tag)
        if len(times) == count:
            peer.channel.close()
        else:
            send(peer)

    def begin(peer):
        def on_message(_channel, method, properties, _body):
            on_reply(peer, method, properties)

        peer.channel.queue_declare("load.requests", durable=True)
        peer.channel.queue_declare("load.replies", durable=True)
        peer.channel.basic_consume("load.replies", on_message, callback=lambda _: send(peer))

    Peer(begin).run()
    times.sort()
    return " ".join(f"{times[int((len(times) - 1) * part)]:.1f}" for part in (0.5, 0.99))


work, *figures = sys.argv[1:]
print({"publish": publish, "consume": consume, "call": call}[work](*map(int, figures)))
