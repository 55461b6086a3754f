/* The C reference: what the work costs when nothing but the work is done, on the frame codec and kernels of picows-core.
 *
 * Takes the part of the process under test in the rows over TCP: `role=` echo, client, server or receive. A payload is
 * looked at where it lies; nothing allocates per message.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <signal.h>

#include "bench.h"
#include "connection.h"

enum { BINARY = 0x82, CLOSE = 0x88, PING = 0x89, PONG = 0x8A };

static char facts[256];
static int is_receiver, is_broadcast;
static unsigned repeat;
static uint8_t *message;
static size_t message_size;
static bench_timer timer;
static bench_marks marks;

static void on_open(connection *self)
{
    if (!self->is_client) {
        return;
    }
    if (is_receiver) {
        marks = bench_connected();
        return;
    }
    timer = bench_start(message_size);
    connection_send(self, BINARY, message, message_size);
}

static void broadcast(void)
{
    for (unsigned i = 0; i < repeat; i++) {
        for (uint32_t each = 0; each < connection_count; each++) {
            connection_send(connection_all[each], BINARY, message, message_size);
        }
    }
}

static void serve(connection *self, uint8_t first, const uint8_t *payload, size_t size)
{
    if (first == CLOSE) {
        connection_send(self, CLOSE, payload, size);
        connection_close(self);
    } else if (first == PING) {
        connection_send(self, PONG, payload, size);
    } else if (is_broadcast) {
        broadcast();
    } else {
        connection_send(self, first, payload, size);
    }
}

static void on_message(connection *self, uint8_t first, const uint8_t *payload, size_t size)
{
    if (!self->is_client) {
        serve(self, first, payload, size);
        return;
    }
    if (is_receiver) {
        if (!bench_message(&marks, size, facts)) {
            exit(0);
        }
        return;
    }
    if (!bench_round_trip(&timer, facts)) {
        exit(0);
    }
    connection_send(self, BINARY, message, message_size);
}

/* glibc would give a megabyte back to the system after each message and fault it in again for the next (a factor of 3
 * at 1 MiB). Above 8 MiB it still does, which is what the memory row asks for. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv);
    keep_memory();
    signal(SIGUSR1, SIG_IGN);       /* the memory row asks for a garbage collection */
    const char *role = bench_option("role", "");
    const char *simd = connection_init((connection_handlers){on_open, on_message});
    snprintf(facts, sizeof facts,
             "{\"library\": \"reference in C\", \"implementation\": \"C, compiler %s\", \"simd\": \"%s\", "
             "\"transport\": \"recv and send\", \"loop\": \"epoll\", \"broadcast\": \"send on each\"}",
             __VERSION__, simd);
    is_receiver = strcmp(role, "receive") == 0;
    is_broadcast = strcmp(bench_option("server", "echo"), "broadcast") == 0;
    repeat = (unsigned)bench_number("repeat");
    message_size = (size_t)bench_number("size");
    message = malloc(message_size + 1);
    if (message == NULL) {
        bench_fail("malloc");
    }
    bench_random(message, message_size);
    if (strcmp(role, "server") == 0) {
        bench_serving(connection_listen(), facts);
    } else {
        connection_connect(strcmp(role, "echo") == 0 ? connection_listen() : (int)bench_number("port"));
    }
    connection_run();
}
