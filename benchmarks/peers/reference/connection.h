/* WebSocket connections on one level-triggered epoll, the way one would write them for speed and nothing else.
 *
 * Reading: one recv per event into a buffer that all connections share; a connection owns memory only while part of a
 * frame is pending, and the rest of a large frame is received where it belongs. Payloads are unmasked in place and
 * handed out there. Writing: frames made during one event are gathered and leave in one send when it has been handled.
 * What it leaves out: text validation, fragments, timeouts, errors that are worth more than an exit.
 */
#ifndef REFERENCE_CONNECTION_H
#define REFERENCE_CONNECTION_H

#include <stddef.h>
#include <stdint.h>

typedef struct connection {
    int fd;
    uint8_t is_client, is_upgraded, is_closing, is_blocked, is_dirty;
    uint32_t index;                     /* in connection_all */
    uint8_t *in;                        /* the beginning of a head or frame that is not complete */
    size_t in_size, in_capacity;
    uint8_t *out;                       /* what is not sent yet: [out_begin, out_end) */
    size_t out_begin, out_end, out_capacity;
    struct connection *next_dirty;
} connection;

/* What the program does. `first` is the first byte of the frame's header; the payload is valid during the call. */
typedef struct connection_handlers {
    void (*on_open)(connection *self);
    void (*on_message)(connection *self, uint8_t first, const uint8_t *payload, size_t size);
} connection_handlers;

extern connection **connection_all;
extern uint32_t connection_count;

/* Returns the name of the mask kernels in use. */
const char *connection_init(connection_handlers handlers);

/* Serves 127.0.0.1. Returns the port. */
int connection_listen(void);

void connection_connect(int port);

/* Sends a frame, at the latest when the current event has been handled. */
void connection_send(connection *self, uint8_t first, const uint8_t *payload, size_t size);

/* Hangs up when everything has been sent; no further message is delivered. */
void connection_close(connection *self);

_Noreturn void connection_run(void);

#endif
