/* Sec-WebSocket-Accept (RFC 6455 4.2.2): SHA-1 (RFC 3174) of the key and a constant, in base64.
 *
 * The hash is no protection here, only an answer that nothing but a WebSocket server would give. It is always of 60
 * bytes, which makes two blocks.
 */
#ifndef PICOWS_ACCEPT_H
#define PICOWS_ACCEPT_H

#include "platform.h"

enum {
    PICOWS_ACCEPT_SIZE = 28
};

PICOWS_INLINE uint32_t picows_rotate_left(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

PICOWS_INLINE uint32_t picows_load_big(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void picows_sha1_block(uint32_t state[5], const uint8_t block[64])
{
    uint32_t words[80];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

    for (unsigned i = 0; i < 16; i++) {
        words[i] = picows_load_big(block + 4 * i);
    }
    for (unsigned i = 16; i < 80; i++) {
        words[i] = picows_rotate_left(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }
#define PICOWS_ROUNDS(begin, mixed)                                                     \
    for (unsigned i = begin; i < begin + 20; i++) {                                     \
        const uint32_t next = picows_rotate_left(a, 5) + (mixed) + e + words[i];        \
        e = d;                                                                          \
        d = c;                                                                          \
        c = picows_rotate_left(b, 30);                                                  \
        b = a;                                                                          \
        a = next;                                                                       \
    }
    PICOWS_ROUNDS(0, (d ^ (b & (c ^ d))) + 0x5A827999u)
    PICOWS_ROUNDS(20, (b ^ c ^ d) + 0x6ED9EBA1u)
    PICOWS_ROUNDS(40, ((b & c) | (d & (b | c))) + 0x8F1BBCDCu)
    PICOWS_ROUNDS(60, (b ^ c ^ d) + 0xCA62C1D6u)
#undef PICOWS_ROUNDS
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

static inline void picows_base64_20(const uint8_t digest[20], char text[PICOWS_ACCEPT_SIZE])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned i = 0, at = 0; i < 21; i += 3) {
        const uint32_t three = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | (i < 18 ? digest[i + 2] : 0u);
        for (unsigned shift = 24; shift;) {
            shift -= 6;
            text[at++] = digits[three >> shift & 63];
        }
    }
    text[PICOWS_ACCEPT_SIZE - 1] = '=';
}

/* The answer to a key of 24 bytes. */
static inline void picows_accept_key(const uint8_t key[24], char text[PICOWS_ACCEPT_SIZE])
{
    uint32_t state[5] = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u, 0xC3D2E1F0u};
    uint8_t blocks[128] = {0};
    uint8_t digest[20];

    memcpy(blocks, key, 24);
    memcpy(blocks + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    blocks[60] = 0x80;                  /* the end, and at the very end the size in bits */
    blocks[126] = 60 * 8 >> 8;
    blocks[127] = 60 * 8 & 0xFF;
    picows_sha1_block(state, blocks);
    picows_sha1_block(state, blocks + 64);
    for (unsigned i = 0; i < 20; i++) {
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    }
    picows_base64_20(digest, text);
}

#endif
