#define _GNU_SOURCE
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "bench.h"
#include "frame_codec.h"
#include "picows_kernels.h"
#include "upgrade.h"

enum {
    SHARED = 256 << 10,
    DIRECT = 64 << 10,          /* the rest of a frame of this size is received into the connection's own buffer */
    GATHER = 64 << 10,          /* no more than this waits for the end of an event */
    EVENTS = 256,
    KEYS = 4096
};

connection **connection_all;
uint32_t connection_count;

static connection_handlers handlers;
static const picows_kernels *kernels;
static connection *dirty;
static connection listening;
static int epoll;
static uint8_t shared[SHARED];

static void *checked(void *memory)
{
    if (memory == NULL) {
        bench_fail("malloc");
    }
    return memory;
}

const char *connection_init(connection_handlers with)
{
    handlers = with;
    kernels = picows_kernels_select(NULL, NULL);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    return kernels->name;
}

static void watch(connection *self, int how, uint32_t events)
{
    struct epoll_event event = {events, {.ptr = self}};
    if (epoll_ctl(epoll, how, self->fd, &event)) {
        bench_fail("epoll_ctl");
    }
}

/* Writing. */

/* Masking keys come from the operating system, many at a time. */
static uint32_t next_key(void)
{
    static uint32_t keys[KEYS];
    static unsigned left;
    if (left == 0) {
        bench_random(keys, sizeof keys);
        left = KEYS;
    }
    return keys[--left];
}

static uint8_t *reserve(connection *self, size_t size)
{
    if (self->out_capacity - self->out_end < size) {
        const size_t needed = self->out_end + size, twice = 2 * self->out_capacity;
        self->out_capacity = needed > twice ? needed : twice;
        self->out = checked(realloc(self->out, self->out_capacity));
    }
    uint8_t *at = self->out + self->out_end;
    self->out_end += size;
    return at;
}

static void sent_everything(connection *self)
{
    free(self->out);
    self->out = NULL;
    self->out_begin = self->out_end = self->out_capacity = 0;
    if (self->is_blocked) {
        self->is_blocked = 0;
        watch(self, EPOLL_CTL_MOD, EPOLLIN);
    }
}

/* Hands bytes to the socket. Returns how many it took. */
static size_t give(connection *self, struct iovec *parts, size_t count)
{
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    const ssize_t took = sendmsg(self->fd, &message, MSG_NOSIGNAL);
    if (took >= 0) {
        return (size_t)took;
    }
    if (errno != EAGAIN && errno != EPIPE && errno != ECONNRESET) {     /* these two end the connection by an event */
        bench_fail("sendmsg");
    }
    return 0;
}

static void flush(connection *self)
{
    const size_t size = self->out_end - self->out_begin;
    struct iovec part = {self->out + self->out_begin, size};
    const size_t took = size ? give(self, &part, 1) : 0;

    if (took == size) {
        sent_everything(self);
        return;
    }
    self->out_begin += took;
    if (!self->is_blocked) {
        self->is_blocked = 1;
        watch(self, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
}

static void flush_soon(connection *self)
{
    if (!self->is_dirty) {
        self->is_dirty = 1;
        self->next_dirty = dirty;
        dirty = self;
    }
}

/* A large payload that needs no mask goes out from where it is. Returns how much of the frame the socket took. */
static size_t send_in_place(connection *self, uint8_t *header, size_t header_size, const uint8_t *payload, size_t size)
{
    if (self->is_client || self->out_end || size < DIRECT) {
        return 0;
    }
    struct iovec parts[2] = {{header, header_size}, {(void *)(uintptr_t)payload, size}};
    return give(self, parts, 2);
}

void connection_send(connection *self, uint8_t first, const uint8_t *payload, size_t size)
{
    const unsigned mask_bit = self->is_client ? PICOWS_MASK : 0;
    const uint32_t key = mask_bit ? next_key() : 0;
    uint8_t header[PICOWS_MAX_HEADER];
    const size_t header_size = picows_write_header(header, first, size, mask_bit, key);
    const size_t done = send_in_place(self, header, header_size, payload, size);

    if (done == header_size + size) {
        return;
    }
    const size_t of_header = done < header_size ? done : header_size, of_payload = done - of_header;
    uint8_t *at = reserve(self, header_size + size - done);
    memcpy(at, header + of_header, header_size - of_header);
    at += header_size - of_header;
    if (mask_bit) {
        kernels->mask(at, payload, size, key);      /* nothing of it was sent in place */
    } else {
        memcpy(at, payload + of_payload, size - of_payload);
    }
    if (self->out_end - self->out_begin >= GATHER && !self->is_blocked) {
        flush(self);
    } else {
        flush_soon(self);
    }
}

/* Connections begin and end. */

static connection *adopt(int fd, int is_client)
{
    static uint32_t capacity;
    const int on = 1;
    connection *self = checked(calloc(1, sizeof *self));

    if (connection_count == capacity) {
        capacity = capacity ? 2 * capacity : 64;
        connection_all = checked(realloc(connection_all, capacity * sizeof *connection_all));
    }
    self->fd = fd;
    self->is_client = (uint8_t)is_client;
    self->index = connection_count;
    connection_all[connection_count++] = self;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(self, EPOLL_CTL_ADD, EPOLLIN);
    return self;
}

static void discard(connection *self)
{
    connection_all[self->index] = connection_all[--connection_count];
    connection_all[self->index]->index = self->index;
    close(self->fd);
    free(self->in);
    free(self->out);
    free(self);
}

void connection_close(connection *self)
{
    self->is_closing = 1;
}

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

int connection_listen(void)
{
    struct sockaddr_in address = local(0);
    socklen_t size = sizeof address;
    listening.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listening.fd, (struct sockaddr *)&address, size) || listen(listening.fd, BENCH_BACKLOG)
        || getsockname(listening.fd, (struct sockaddr *)&address, &size)) {
        bench_fail("listen");
    }
    watch(&listening, EPOLL_CTL_ADD, EPOLLIN);
    return ntohs(address.sin_port);
}

void connection_connect(int port)
{
    const struct sockaddr_in address = local(port);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const size_t size = strlen(upgrade_request);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address)
        || send(fd, upgrade_request, size, MSG_NOSIGNAL) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK)) {
        bench_fail("connect");
    }
    adopt(fd, 1);
}

static void accept_all(void)
{
    int fd;
    while ((fd = accept4(listening.fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        adopt(fd, 0);
    }
    if (errno != EAGAIN) {
        bench_fail("accept4");
    }
}

/* Reading. */

/* Handles the head of the upgrade. Returns its size, 0 if it is not complete. */
static size_t take_head(connection *self, const uint8_t *data, size_t available)
{
    const char *head = (const char *)data;
    const size_t size = upgrade_head_size(head, available);

    if (size == 0) {
        return 0;
    }
    if (self->is_client) {
        if (!upgrade_is_accepted(head, size)) {
            errno = EPROTO;
            bench_fail("the answer to the upgrade request");
        }
    } else {
        char answer[UPGRADE_MAX_ANSWER];
        const size_t answer_size = upgrade_answer(head, size, answer);
        if (answer_size == 0) {
            errno = EPROTO;
            bench_fail("the upgrade request");
        }
        memcpy(reserve(self, answer_size), answer, answer_size);
        flush_soon(self);
    }
    self->is_upgraded = 1;
    handlers.on_open(self);
    return size;
}

/* Handles the frame at `data`. Returns its size, 0 if it is not complete, and then stores what it needs. */
static size_t take_frame(connection *self, uint8_t *data, size_t available, size_t *needed)
{
    picows_header header;
    const picows_header_result found = picows_parse_header(data, available, self->is_client ? 0 : PICOWS_MASK,
                                                           BENCH_MESSAGE_LIMIT, &header);
    if (found != PICOWS_HEADER_OK && found != PICOWS_HEADER_INCOMPLETE) {
        errno = EPROTO;
        bench_fail("the header of a frame");
    }
    const size_t size = header.size + (size_t)header.payload_size;
    if (found == PICOWS_HEADER_INCOMPLETE || available < size) {
        *needed = header.size ? size : PICOWS_MAX_HEADER;
        return 0;
    }
    uint8_t *payload = data + header.size;
    if (!self->is_client) {
        kernels->mask(payload, payload, header.payload_size, header.key);
    }
    handlers.on_message(self, header.first, payload, header.payload_size);
    return size;
}

/* Keeps the beginning of a head or frame until more arrives. `at` is in the shared buffer or in the own one. */
static void keep(connection *self, const uint8_t *at, size_t size, size_t needed)
{
    uint8_t *old = self->in;
    if (size == 0) {
        self->in = NULL;
    } else if (at != old || self->in_capacity < needed) {
        self->in_capacity = needed > size ? needed : size;
        self->in = checked(malloc(self->in_capacity));
        memcpy(self->in, at, size);
    } else {
        old = NULL;
    }
    self->in_size = size;
    free(old);
}

static void take(connection *self, uint8_t *data, size_t available)
{
    size_t at = 0, needed = UPGRADE_MAX_HEAD;

    if (!self->is_upgraded) {
        at = take_head(self, data, available);
    }
    if (self->is_upgraded) {
        size_t size = 1;
        while (size && at < available && !self->is_closing) {
            size = take_frame(self, data + at, available - at, &needed);
            at += size;
        }
    }
    keep(self, data + at, self->is_closing ? 0 : available - at, needed);
}

/* Returns 0 when the connection is at its end. */
static int receive(connection *self)
{
    const int direct = self->in_capacity >= DIRECT && self->in != NULL;
    uint8_t *data = direct ? self->in : shared;
    const size_t capacity = direct ? self->in_capacity : SHARED;

    if (self->in != NULL && !direct) {
        memcpy(shared, self->in, self->in_size);
    }
    const ssize_t got = recv(self->fd, data + self->in_size, capacity - self->in_size, 0);
    if (got > 0) {
        take(self, data, self->in_size + (size_t)got);
    }
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static void handle(connection *self, uint32_t events)
{
    int alive = 1;
    if (events & EPOLLOUT) {
        flush(self);
    }
    if (events & ~(uint32_t)EPOLLOUT) {
        alive = receive(self);
    }
    while (dirty != NULL) {
        connection *each = dirty;
        dirty = each->next_dirty;
        each->is_dirty = 0;
        if (!each->is_blocked) {
            flush(each);
        }
    }
    if (!alive || (self->is_closing && self->out_end == 0)) {
        discard(self);
    }
}

void connection_run(void)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        const int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR) {
            bench_fail("epoll_wait");
        }
        for (int i = 0; i < count; i++) {
            connection *self = events[i].data.ptr;
            if (self == &listening) {
                accept_all();
            } else {
                handle(self, events[i].events);
            }
        }
    }
}
