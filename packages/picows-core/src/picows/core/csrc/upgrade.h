/* The upgrade request that almost every client sends (RFC 6455 4.2.1), recognised in one pass over its bytes.
 *
 * Yes or "look closely": whatever is unusual (a percent sign in the target, an address as host, a name that repeats) is
 * left to the parser in Python, and so is everything that is wrong. What is accepted here would be accepted there, with
 * the same result; the tests compare the two.
 */
#ifndef PICOWS_UPGRADE_H
#define PICOWS_UPGRADE_H

#include "platform.h"

enum {
    /* As in picows.head. */
    PICOWS_MAX_LINE = 8192,
    PICOWS_MAX_FIELDS = 128,
    PICOWS_MAX_HOST = 255,
    PICOWS_KEY_SIZE = 24
};

typedef struct picows_upgrade {
    size_t size;                /* of the head, its final empty line included */
    const uint8_t *target;
    size_t target_size;
    const uint8_t *key;         /* PICOWS_KEY_SIZE bytes */
} picows_upgrade;

/* What a byte may be part of. */
enum {
    PICOWS_IS_TOKEN = 1,        /* a name: RFC 9110 5.6.2 */
    PICOWS_IS_TEXT = 2,         /* a value: RFC 9110 5.5 */
    PICOWS_IS_TARGET = 4,       /* a target: visible, neither "#" nor "%" */
    PICOWS_IS_HOST = 8,         /* a name of a host: RFC 3986 3.2.2 */
    PICOWS_IS_BASE64 = 16
};

static const uint8_t picows_bytes[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0,
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
     2, 15,  6,  3, 15, 11, 15, 15, 14, 14, 15, 31, 14, 15, 15, 22,
    31, 31, 31, 31, 31, 31, 31, 31, 31, 31,  6, 14,  6, 14,  6,  6,
     6, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31,
    31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31,  6,  6,  6,  7, 15,
     7, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31,
    31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31,  6,  7,  6, 15,  0,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
};

typedef struct picows_span {
    const uint8_t *at;
    const uint8_t *end;
} picows_span;

/* The first byte that is not of this kind. */
PICOWS_INLINE const uint8_t *picows_skip(const uint8_t *at, const uint8_t *end, unsigned kind)
{
    while (at < end && picows_bytes[*at] & kind) {
        at++;
    }
    return at;
}

PICOWS_INLINE int picows_is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

PICOWS_INLINE picows_span picows_trim(picows_span value)
{
    while (value.at < value.end && picows_is_blank(*value.at)) {
        value.at++;
    }
    while (value.at < value.end && picows_is_blank(value.end[-1])) {
        value.end--;
    }
    return value;
}

/* 1 if these are the letters and hyphens of `name`, in any case. Nothing else that is text becomes one of them. */
PICOWS_INLINE int picows_is_word(picows_span word, const char *name, size_t size)
{
    if ((size_t)(word.end - word.at) != size) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        if ((word.at[i] | 0x20) != (uint8_t)name[i]) {
            return 0;
        }
    }
    return 1;
}

#define PICOWS_IS_WORD(word, name) picows_is_word(word, name, sizeof name - 1)

/* 1 if "upgrade" is an element of the list (RFC 9110 5.6.1). */
static inline int picows_has_upgrade(picows_span list)
{
    while (list.at < list.end) {
        const uint8_t *comma = memchr(list.at, ',', (size_t)(list.end - list.at));
        const picows_span element = {list.at, comma ? comma : list.end};
        if (PICOWS_IS_WORD(picows_trim(element), "upgrade")) {
            return 1;
        }
        list.at = comma ? comma + 1 : list.end;
    }
    return 0;
}

/* 1 for a name, with or without a port. */
static inline int picows_is_host(picows_span host)
{
    const uint8_t *end = picows_skip(host.at, host.end, PICOWS_IS_HOST);
    if (end == host.at || end - host.at > PICOWS_MAX_HOST) {
        return 0;
    }
    if (end == host.end) {
        return 1;
    }
    if (*end++ != ':' || host.end - end > 5) {
        return 0;
    }
    while (end < host.end && *end >= '0' && *end <= '9') {
        end++;
    }
    return end == host.end;
}

static inline int picows_is_key(picows_span key)
{
    const size_t digits = PICOWS_KEY_SIZE - 2;
    return key.end - key.at == PICOWS_KEY_SIZE && key.at[digits] == '=' && key.at[digits + 1] == '='
        && picows_skip(key.at, key.at + digits, PICOWS_IS_BASE64) == key.at + digits;
}

/* The fields that matter: each must be there once. */
enum {
    PICOWS_SEEN_HOST = 1,
    PICOWS_SEEN_UPGRADE = 2,
    PICOWS_SEEN_CONNECTION = 4,
    PICOWS_SEEN_VERSION = 8,
    PICOWS_SEEN_KEY = 16,
    PICOWS_SEEN_ALL = 31,
    PICOWS_SEEN_WRONG = 32
};

/* Which of them a field is; 0 if it does not matter; PICOWS_SEEN_WRONG if its value is not the ordinary one. */
static inline int picows_look_at(picows_span name, picows_span value, picows_upgrade *found)
{
    switch (name.end - name.at) {
    case 4:
        return !PICOWS_IS_WORD(name, "host") ? 0 : picows_is_host(value) ? PICOWS_SEEN_HOST : PICOWS_SEEN_WRONG;
    case 7:
        return !PICOWS_IS_WORD(name, "upgrade") ? 0
            : PICOWS_IS_WORD(value, "websocket") ? PICOWS_SEEN_UPGRADE : PICOWS_SEEN_WRONG;
    case 10:
        return !PICOWS_IS_WORD(name, "connection") ? 0
            : picows_has_upgrade(value) ? PICOWS_SEEN_CONNECTION : PICOWS_SEEN_WRONG;
    case 14:
        return PICOWS_IS_WORD(name, "content-length") ? PICOWS_SEEN_WRONG : 0;
    case 17:
        if (PICOWS_IS_WORD(name, "sec-websocket-key")) {
            found->key = value.at;
            return picows_is_key(value) ? PICOWS_SEEN_KEY : PICOWS_SEEN_WRONG;
        }
        return PICOWS_IS_WORD(name, "transfer-encoding") ? PICOWS_SEEN_WRONG : 0;
    case 21:
        return !PICOWS_IS_WORD(name, "sec-websocket-version") ? 0
            : value.end - value.at == 2 && !memcmp(value.at, "13", 2) ? PICOWS_SEEN_VERSION : PICOWS_SEEN_WRONG;
    default:
        return 0;
    }
}

/* The request line. Returns: where its CRLF begins, or NULL. */
static inline const uint8_t *picows_scan_request_line(const uint8_t *at, const uint8_t *end, picows_upgrade *found)
{
    static const char version[] = " HTTP/1.1";
    /* "//" could be an authority (see picows.http). */
    if (end - at < 6 || memcmp(at, "GET /", 5) || at[5] == '/') {
        return NULL;
    }
    found->target = at + 4;
    at = picows_skip(found->target, end, PICOWS_IS_TARGET);
    found->target_size = (size_t)(at - found->target);
    if (end - at < (ptrdiff_t)sizeof version || memcmp(at, version, sizeof version - 1)) {
        return NULL;
    }
    return at + sizeof version - 1;
}

/* Returns: 1 if `data` begins with such a request, which is then described by `found`; else 0. */
static inline int picows_scan_upgrade(const uint8_t *data, size_t size, picows_upgrade *found)
{
    const uint8_t *end = data + (size < PICOWS_MAX_LINE ? size : PICOWS_MAX_LINE);
    const uint8_t *at = picows_scan_request_line(data, end, found);
    int seen = 0;

    found->key = NULL;
    for (unsigned fields = 0; at && end - at >= 4 && at[0] == '\r' && at[1] == '\n'; fields++) {
        picows_span name, value;
        int field;

        at += 2;
        if (at[0] == '\r' && at[1] == '\n') {
            found->size = (size_t)(at + 2 - data);
            return seen == PICOWS_SEEN_ALL && fields <= PICOWS_MAX_FIELDS;
        }
        name.at = at;
        name.end = at = picows_skip(at, end, PICOWS_IS_TOKEN);
        if (at == name.at || at == end || *at++ != ':') {
            return 0;
        }
        value.at = at;
        value.end = at = picows_skip(at, end, PICOWS_IS_TEXT);
        field = picows_look_at(name, picows_trim(value), found);
        if (field & (seen | PICOWS_SEEN_WRONG)) {
            return 0;
        }
        seen |= field;
    }
    return 0;
}

#endif
