/* UTF-8 for any processor: ASCII in words of 64 bits, the rest character by character. */
#include "../utf8_scalar.h"

#define NOT_ASCII UINT64_C(0x8080808080808080)

PICOWS_INLINE size_t skip_ascii(const uint8_t *data, size_t at, size_t size)
{
    while (size - at >= 16 && !((picows_load64(data + at) | picows_load64(data + at + 8)) & NOT_ASCII)) {
        at += 16;
    }
    if (size - at >= 8 && !(picows_load64(data + at) & NOT_ASCII)) {
        at += 8;
    }
    while (at < size && data[at] < 0x80) {
        at++;
    }
    return at;
}

PICOWS_INLINE int is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* The length of the character of 2 to 4 bytes at `data`, where there are at least 4 bytes; 0 if it is not right. */
PICOWS_INLINE size_t whole_character(const uint8_t *data)
{
    const unsigned lead = data[0];
    /* The upper 10 of the 16 bits that 3 bytes encode, 9 of the 15 in front of what the last byte of 4 does. */
    const unsigned upper = (lead & 0x0F) << 6 | (data[1] & 0x3F);

    if (!is_continuation(data[1])) {
        return 0;
    }
    if (lead < 0xE0) {
        return lead >= 0xC2 ? 2 : 0;
    }
    if (!is_continuation(data[2])) {
        return 0;
    }
    if (lead < 0xF0) {
        return upper >= 0x800 >> 6 && (upper < 0xD800 >> 6 || upper > 0xDFFF >> 6) ? 3 : 0;
    }
    return lead < 0xF5 && upper >= 0x10000 >> 12 && upper <= 0x10FFFF >> 12 && is_continuation(data[3]) ? 4 : 0;
}

/* Whole characters in a row. What is left is the end, or not right, and for the careful code. */
PICOWS_INLINE size_t skip_whole(const uint8_t *data, size_t at, size_t size)
{
    while (size - at >= 4) {
        if (data[at] < 0x80) {
            /* A space between words is more frequent than a run. */
            at = data[at + 1] < 0x80 ? skip_ascii(data, at, size) : at + 1;
        } else {
            const size_t length = whole_character(data + at);
            if (length == 0) {
                break;
            }
            at += length;
        }
    }
    return at;
}

size_t picows_validate_utf8_generic(picows_utf8_state *state, const uint8_t *data, size_t size)
{
    picows_utf8_state now = *state;
    size_t at = picows_utf8_continue(&now, data, size);

    if (now.missing == 0) {
        at = skip_whole(data, at, size);
        while (at < size && now.missing == 0) {
            if (data[at] >= 0x80 && !picows_utf8_lead(&now, data[at])) {
                break;
            }
            at++;
            at += picows_utf8_continue(&now, data + at, size - at);
        }
    }
    *state = now;
    return at;
}
