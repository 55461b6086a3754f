/* Headers of frames (RFC 6455 5.2), out of bytes and into bytes.
 *
 * What is checked here is what a header alone can violate, in the order in which picows.pure checks it, so that the
 * twins name the same violation and name it after the same number of bytes. Reserved bits, the order of fragments and
 * the size of a message depend on what was before: they are for the caller.
 */
#ifndef PICOWS_FRAME_CODEC_H
#define PICOWS_FRAME_CODEC_H

#include "platform.h"

enum {
    /* The first byte. */
    PICOWS_FIN = 0x80,
    PICOWS_RSV1 = 0x40,
    PICOWS_RSV2 = 0x20,
    PICOWS_RSV3 = 0x10,
    PICOWS_RSV = 0x70,
    PICOWS_OPCODE = 0x0F,
    PICOWS_CONTROL = 0x08,          /* this bit of an opcode makes it one of a control frame */
    /* The second byte. */
    PICOWS_MASK = 0x80,

    PICOWS_MAX_CONTROL_PAYLOAD = 125,
    PICOWS_MAX_HEADER = 14          /* 2 + 8 + 4 bytes */
};

typedef enum picows_header_result {
    PICOWS_HEADER_OK,
    PICOWS_HEADER_INCOMPLETE,           /* nothing is wrong so far */
    /* 1002, protocol error */
    PICOWS_HEADER_RESERVED_OPCODE,
    PICOWS_HEADER_FRAGMENTED_CONTROL,
    PICOWS_HEADER_MASKED,               /* a client received a masked frame */
    PICOWS_HEADER_UNMASKED,             /* a server received an unmasked one */
    PICOWS_HEADER_LONG_CONTROL,
    /* 1009, message too big; a length with its top bit set is one of these */
    PICOWS_HEADER_TOO_BIG
} picows_header_result;

typedef struct picows_header {
    uint64_t payload_size;
    uint32_t key;           /* as in memory, as the mask kernels take it; 0 if not masked */
    uint8_t first;          /* FIN, reserved bits, opcode */
    uint8_t size;           /* of the header, the key included: where the payload begins */
    uint8_t is_minimal;     /* 0 if the length could have been encoded in fewer bytes (the RFC forbids that) */
} picows_header;

/* 1 for the opcodes that exist. */
PICOWS_INLINE int picows_is_opcode(unsigned opcode)
{
    return (0x0707u >> opcode & 1) != 0;        /* 0 to 2 and 8 to 10 */
}

PICOWS_INLINE uint64_t picows_load_length(const uint8_t *at, unsigned size)
{
    uint64_t length = 0;
    for (unsigned i = 0; i < size; i++) {
        length = length << 8 | at[i];
    }
    return length;
}

/* What is wrong with the first two bytes, or OK. `mask_bit` is PICOWS_MASK where frames must be masked, else 0. */
PICOWS_INLINE picows_header_result picows_check_header(const uint8_t *data, unsigned mask_bit)
{
    const unsigned opcode = data[0] & PICOWS_OPCODE;

    if (!picows_is_opcode(opcode)) {
        return PICOWS_HEADER_RESERVED_OPCODE;
    }
    if ((opcode & PICOWS_CONTROL) && !(data[0] & PICOWS_FIN)) {
        return PICOWS_HEADER_FRAGMENTED_CONTROL;
    }
    if ((data[1] & PICOWS_MASK) != mask_bit) {
        return mask_bit ? PICOWS_HEADER_UNMASKED : PICOWS_HEADER_MASKED;
    }
    if ((opcode & PICOWS_CONTROL) && (data[1] & 0x7F) > PICOWS_MAX_CONTROL_PAYLOAD) {
        return PICOWS_HEADER_LONG_CONTROL;
    }
    return PICOWS_HEADER_OK;
}

/* Read the header at `data`, where `available` bytes are.
 *
 * `mask_bit`: PICOWS_MASK on a server, 0 on a client (RFC 6455 5.1). `limit`: the largest payload of a data frame.
 * `header` is filled as far as its bytes are there: completely if OK; all but `key` if TOO_BIG, and if INCOMPLETE with
 * a `size` other than 0. It is then the size of the whole header, and 0 if not even the length is there. Where lengths
 * must be minimal, that is looked at before the result: it is known as soon as `size` is, and comes before TOO_BIG.
 */
PICOWS_INLINE picows_header_result picows_parse_header(const uint8_t *data, size_t available, unsigned mask_bit,
                                                       uint64_t limit, picows_header *header)
{
    header->size = 0;
    if (available < 2) {
        return PICOWS_HEADER_INCOMPLETE;
    }
    const picows_header_result wrong = picows_check_header(data, mask_bit);
    if (PICOWS_UNLIKELY(wrong != PICOWS_HEADER_OK)) {
        return wrong;
    }
    const unsigned key_size = mask_bit ? 4 : 0;
    unsigned body = 2;
    uint64_t length = data[1] & 0x7F;
    header->first = data[0];
    header->key = 0;
    header->is_minimal = 1;
    if (length > 125) {
        const unsigned length_size = length == 126 ? 2 : 8;
        body += length_size;
        if (available < body) {
            return PICOWS_HEADER_INCOMPLETE;
        }
        length = picows_load_length(data + 2, length_size);
        header->is_minimal = length >= (length_size == 2 ? 126u : 65536u);
    }
    header->payload_size = length;
    header->size = (uint8_t)(body + key_size);
    if (PICOWS_UNLIKELY(length > limit && !(data[0] & PICOWS_CONTROL))) {
        return PICOWS_HEADER_TOO_BIG;
    }
    if (available < body + key_size) {
        return PICOWS_HEADER_INCOMPLETE;
    }
    if (mask_bit) {
        header->key = picows_load32(data + body);
    }
    return PICOWS_HEADER_OK;
}

/* The size of the header of a frame: 2 to PICOWS_MAX_HEADER. */
PICOWS_INLINE size_t picows_header_size(uint64_t payload_size, unsigned mask_bit)
{
    const size_t length_size = payload_size <= 125 ? 0 : payload_size <= 0xFFFF ? 2 : 8;
    return 2 + length_size + (mask_bit ? 4 : 0);
}

/* Write a header, of picows_header_size bytes, which is also what is returned. A key of 0 is a key: only `mask_bit`
 * says whether there is one. `payload_size` is less than 2^63, as every size of an object in memory is. */
PICOWS_INLINE size_t picows_write_header(uint8_t *to, unsigned first, uint64_t payload_size, unsigned mask_bit,
                                         uint32_t key)
{
    size_t at = 2;

    to[0] = (uint8_t)first;
    if (payload_size <= 125) {
        to[1] = (uint8_t)(mask_bit | payload_size);
    } else if (payload_size <= 0xFFFF) {
        to[1] = (uint8_t)(mask_bit | 126);
        to[2] = (uint8_t)(payload_size >> 8);
        to[3] = (uint8_t)payload_size;
        at = 4;
    } else {
        to[1] = (uint8_t)(mask_bit | 127);
        for (unsigned i = 0; i < 8; i++) {
            to[2 + i] = (uint8_t)(payload_size >> (56 - 8 * i));
        }
        at = 10;
    }
    if (mask_bit) {
        picows_store32(to + at, key);
        at += 4;
    }
    return at;
}

#endif
