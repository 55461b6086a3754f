/* SHA-1 and Base64 are written out because the C library has neither, and one block at a time is all that is needed. */
#define _GNU_SOURCE
#include "upgrade.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { KEY_SIZE = 24, ACCEPT_SIZE = 28, DIGEST_SIZE = 20 };

#define CLIENT_KEY "AAECAwQFBgcICQoLDA0ODw=="

const char upgrade_request[] =
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " CLIENT_KEY "\r\n\r\n";

static uint32_t rotate(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

/* One round of SHA-1 (FIPS 180-4 6.1.2) over 64 bytes. */
static void sha1_block(uint32_t state[5], const uint8_t block[64])
{
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

    for (unsigned t = 0; t < 80; t++) {
        uint32_t f, k;
        if (t < 16) {
            const uint8_t *at = block + 4 * t;
            w[t] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        } else {
            w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
        }
        if (t < 20) {
            f = (b & c) | (~b & d);
            k = 0x5A827999;
        } else if (t < 40 || t >= 60) {
            f = b ^ c ^ d;
            k = t < 40 ? 0x6ED9EBA1 : 0xCA62C1D6;
        } else {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8F1BBCDC;
        }
        const uint32_t next = rotate(a, 5) + f + e + k + w[t];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* Sec-WebSocket-Accept for a key (RFC 6455 4.2.2): 60 bytes to hash, so that the padding takes a second block. */
static void accept_value(const char *key, char to[ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t blocks[128] = {0}, digest[DIGEST_SIZE + 1] = {0};

    memcpy(blocks, key, KEY_SIZE);
    memcpy(blocks + KEY_SIZE, guid, 36);
    blocks[60] = 0x80;
    blocks[126] = 480 >> 8;         /* the size in bits */
    blocks[127] = 480 & 0xFF;
    sha1_block(state, blocks);
    sha1_block(state, blocks + 64);
    for (unsigned i = 0; i < DIGEST_SIZE; i++) {
        digest[i] = (uint8_t)(state[i / 4] >> (24 - i % 4 * 8));
    }
    for (unsigned i = 0, at = 0; i <= DIGEST_SIZE; i += 3) {
        const uint32_t three = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | (i < 18 ? digest[i + 2] : 0);
        for (int shift = 18; shift >= 0; shift -= 6) {
            to[at++] = digits[three >> shift & 63];
        }
    }
    to[ACCEPT_SIZE - 1] = '=';
}

size_t upgrade_head_size(const char *data, size_t available)
{
    const char *end = memmem(data, available, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - data) + 4;
}

/* The value of a header field; NULL if there is none with at least `size` bytes after it. */
static const char *field(const char *head, size_t head_size, const char *name, size_t size)
{
    const size_t length = strlen(name);
    for (const char *at = head; (at = memchr(at, '\n', head_size - (size_t)(at - head))) != NULL;) {
        at++;
        if ((size_t)(head + head_size - at) >= length + 2 + size && strncasecmp(at, name, length) == 0) {
            at += length;
            return at + (*at == ' ');
        }
    }
    return NULL;
}

size_t upgrade_answer(const char *head, size_t size, char to[UPGRADE_MAX_ANSWER])
{
    static const char start[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    const size_t start_size = sizeof start - 1;
    const char *key = field(head, size, "Sec-WebSocket-Key:", KEY_SIZE);

    if (key == NULL || memcmp(head, "GET ", 4) != 0) {
        return 0;
    }
    memcpy(to, start, start_size);
    accept_value(key, to + start_size);
    memcpy(to + start_size + ACCEPT_SIZE, "\r\n\r\n", 4);
    return start_size + ACCEPT_SIZE + 4;
}

int upgrade_is_accepted(const char *head, size_t size)
{
    static const char start[] = "HTTP/1.1 101 ";
    char wanted[ACCEPT_SIZE];
    const char *found = field(head, size, "Sec-WebSocket-Accept:", ACCEPT_SIZE);

    accept_value(CLIENT_KEY, wanted);
    return size > sizeof start && memcmp(head, start, sizeof start - 1) == 0 && found != NULL
           && memcmp(found, wanted, ACCEPT_SIZE) == 0;
}
