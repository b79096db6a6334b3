/* The peer in C, with rabbitmq-c: publish COUNT WINDOW SIZE | consume COUNT PREFETCH ACK_EVERY | call COUNT.
 * It prints messages a second, or p50 and p99 of a call in microseconds. */

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else /* before 0.12 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *QUEUE = "load";
enum { WARM_UP = 200 };

static void fail(const char *what) {
  fprintf(stderr, "%s failed\n", what);
  exit(1);
}

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1e6 + at.tv_nsec / 1e3;
}

static void check(amqp_connection_state_t connection, const char *what) {
  if (amqp_get_rpc_reply(connection).reply_type != AMQP_RESPONSE_NORMAL) fail(what);
}

static amqp_connection_state_t open_channel(void) {
  struct amqp_connection_info info;
  char *url = strdup(getenv("AMQP_URL"));
  if (amqp_parse_url(url, &info) != AMQP_STATUS_OK) fail("AMQP_URL");
  amqp_connection_state_t connection = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(connection);
  if (socket == NULL || amqp_socket_open(socket, info.host, info.port) != AMQP_STATUS_OK) fail("connect");
  amqp_rpc_reply_t reply = amqp_login(connection, info.vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, info.user, info.password);
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail("login");
  amqp_channel_open(connection, 1);
  check(connection, "channel.open");
  return connection;
}

static void close_all(amqp_connection_state_t connection) {
  amqp_channel_close(connection, 1, AMQP_REPLY_SUCCESS);
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
  amqp_destroy_connection(connection);
}

static void declare(amqp_connection_state_t connection, const char *queue) {
  amqp_queue_declare(connection, 1, amqp_cstring_bytes(queue), 0, 1, 0, 0, amqp_empty_table);
  check(connection, "queue.declare");
}

/* Waits for the next confirm, and gives how many are confirmed up to now. */
static uint64_t next_confirm(amqp_connection_state_t connection, uint64_t confirmed) {
  amqp_frame_t frame;
  amqp_maybe_release_buffers(connection);
  if (amqp_simple_wait_frame(connection, &frame) != AMQP_STATUS_OK) fail("waiting for a confirm");
  if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD) fail("a confirm");
  amqp_basic_ack_t *ack = frame.payload.method.decoded;
  return ack->multiple ? ack->delivery_tag : confirmed + 1;
}

static void publish(uint64_t count, uint64_t window, size_t size) {
  amqp_connection_state_t connection = open_channel();
  declare(connection, QUEUE);
  amqp_confirm_select(connection, 1);
  check(connection, "confirm.select");
  amqp_bytes_t body = amqp_bytes_malloc(size);
  memset(body.bytes, 'x', size);
  amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG, .delivery_mode = 2};
  uint64_t confirmed = 0;
  double begun = now();
  for (uint64_t sent = 0; sent < count; sent++) {
    while (sent - confirmed >= window) confirmed = next_confirm(connection, confirmed);
    char id[24];
    snprintf(id, sizeof id, "%llu", (unsigned long long)sent);
    properties.message_id = amqp_cstring_bytes(id);
    if (amqp_basic_publish(connection, 1, amqp_empty_bytes, amqp_cstring_bytes(QUEUE), 0, 0, &properties, body) != AMQP_STATUS_OK)
      fail("basic.publish");
  }
  while (confirmed < count) confirmed = next_confirm(connection, confirmed);
  printf("%.0f\n", count / ((now() - begun) / 1e6));
  close_all(connection);
}

static void next_message(amqp_connection_state_t connection, amqp_envelope_t *envelope) {
  amqp_maybe_release_buffers(connection);
  if (amqp_consume_message(connection, envelope, NULL, 0).reply_type != AMQP_RESPONSE_NORMAL) fail("consume");
}

static void consume(uint64_t count, uint16_t prefetch, uint64_t every) {
  amqp_connection_state_t connection = open_channel();
  amqp_basic_qos(connection, 1, 0, prefetch, 0);
  check(connection, "basic.qos");
  double begun = now();
  amqp_basic_consume(connection, 1, amqp_cstring_bytes(QUEUE), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  check(connection, "basic.consume");
  for (uint64_t done = 1; done <= count; done++) {
    amqp_envelope_t envelope;
    next_message(connection, &envelope);
    if (done % every == 0 || done == count) amqp_basic_ack(connection, 1, envelope.delivery_tag, every > 1);
    amqp_destroy_envelope(&envelope);
  }
  /* The broker handles the last ack before it answers the close. */
  amqp_channel_close(connection, 1, AMQP_REPLY_SUCCESS);
  printf("%.0f\n", count / ((now() - begun) / 1e6));
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* One thread serves and calls in turn: the requests come to the server while the client waits. */
static void call(uint64_t count) {
  amqp_connection_state_t server = open_channel(), client = open_channel();
  declare(server, "load.requests");
  declare(client, "load.replies");
  amqp_basic_consume(server, 1, amqp_cstring_bytes("load.requests"), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  amqp_basic_consume(client, 1, amqp_cstring_bytes("load.replies"), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  char question[64];
  memset(question, '?', sizeof question);
  double *times = calloc(count, sizeof *times);
  for (uint64_t number = 0; number < count + WARM_UP; number++) {
    amqp_envelope_t envelope;
    char id[24];
    snprintf(id, sizeof id, "%llu", (unsigned long long)number);
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_REPLY_TO_FLAG,
        .correlation_id = amqp_cstring_bytes(id),
        .reply_to = amqp_cstring_bytes("load.replies")};
    double begun = now();
    amqp_bytes_t body = {sizeof question, question};
    amqp_basic_publish(client, 1, amqp_empty_bytes, amqp_cstring_bytes("load.requests"), 0, 0, &properties, body);

    next_message(server, &envelope);
    amqp_basic_properties_t reply = {._flags = AMQP_BASIC_CORRELATION_ID_FLAG, .correlation_id = envelope.message.properties.correlation_id};
    amqp_basic_publish(server, 1, amqp_empty_bytes, envelope.message.properties.reply_to, 0, 0, &reply, envelope.message.body);
    amqp_basic_ack(server, 1, envelope.delivery_tag, 0);
    amqp_destroy_envelope(&envelope);

    next_message(client, &envelope);
    if (number >= WARM_UP) times[number - WARM_UP] = now() - begun;
    amqp_bytes_t got = envelope.message.properties.correlation_id;
    if (got.len != strlen(id) || memcmp(got.bytes, id, got.len) != 0) fail("another reply");
    amqp_basic_ack(client, 1, envelope.delivery_tag, 0);
    amqp_destroy_envelope(&envelope);
  }
  qsort(times, count, sizeof *times, compare);
  printf("%.1f %.1f\n", times[(count - 1) / 2], times[(uint64_t)((count - 1) * 0.99)]);
  close_all(server);
  close_all(client);
}

int main(int argc, char **argv) {
  if (argc < 3) fail("a command line");
  uint64_t first = strtoull(argv[2], NULL, 10);
  if (strcmp(argv[1], "call") == 0) {
    call(first);
    return 0;
  }
  if (argc != 5) fail("a command line");
  uint64_t second = strtoull(argv[3], NULL, 10), third = strtoull(argv[4], NULL, 10);
  if (strcmp(argv[1], "publish") == 0) publish(first, second, third);
  if (strcmp(argv[1], "consume") == 0) consume(first, (uint16_t)second, third);
  return 0;
}
