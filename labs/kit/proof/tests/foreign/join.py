# Joins a chapter of the lab: python join.py send 02, python join.py receive 02; also 03, 05, 06.
import json
import os
import sys
import uuid

import pika

VIEW = '{"videoPath": "./videos/from-python.mp4"}'
CHAPTERS = {
    "02": {"queue": "viewed", "body": VIEW},
    "03": {"queue": "messages", "body": "a job from Python .."},
    "05": {"exchange": "viewed", "queue": "viewed.from-python", "body": VIEW},
    "06": {"queue": "rpc_queue", "body": "10"},
}


def send(channel, exchange, queue, body, chapter):
    properties = pika.BasicProperties(delivery_mode=2, message_id=str(uuid.uuid4()))
    if chapter == "06":
        # A queue of our own for the answer, which the correlation id tells from any other.
        properties.reply_to = channel.queue_declare("", exclusive=True).method.queue
        properties.correlation_id = str(uuid.uuid4())
    channel.basic_publish(exchange, "" if exchange else queue, body, properties)
    print(f"sent {properties.message_id} {body}", flush=True)
    if chapter == "06":
        for _, about, answer in channel.consume(properties.reply_to, auto_ack=True):
            if about.correlation_id == properties.correlation_id:
                print(f"answer {answer.decode()}", flush=True)
                break


def receive(channel, queue, chapter):
    channel.basic_qos(prefetch_count=1)
    print(f"receiving from {queue}", flush=True)
    for method, properties, body in channel.consume(queue):
        print(f"received {properties.message_id} {body.decode()}", flush=True)
        if chapter == "06":
            answer = json.dumps({"name": f"User {body.decode()} of Python"})
            about = pika.BasicProperties(correlation_id=properties.correlation_id)
            channel.basic_publish("", properties.reply_to, answer, about)
        channel.basic_ack(method.delivery_tag)


action, chapter = sys.argv[1:]
of = CHAPTERS[chapter]
exchange, queue = of.get("exchange", ""), of["queue"]

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
# Durable, and no arguments: as the lab's services declare them.
if exchange:
    channel.exchange_declare(exchange, "fanout", durable=True)
if not exchange or action == "receive":
    channel.queue_declare(queue, durable=True)
if exchange and action == "receive":
    channel.queue_bind(queue, exchange)
if action == "send":
    send(channel, exchange, queue, of["body"], chapter)
else:
    receive(channel, queue, chapter)
connection.close()
