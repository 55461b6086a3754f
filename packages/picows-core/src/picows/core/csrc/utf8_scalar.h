/* UTF-8 byte by byte: what the generic kernel is made of, and what the others begin and end with. */
#ifndef PICOWS_UTF8_SCALAR_H
#define PICOWS_UTF8_SCALAR_H

#include "picows_kernels.h"

size_t picows_validate_utf8_generic(picows_utf8_state *state, const uint8_t *data, size_t size);

/* Take in a byte of 0x80 or more that begins a character (RFC 3629 4). Returns 0 if no character begins with it. */
PICOWS_INLINE int picows_utf8_lead(picows_utf8_state *state, uint8_t lead)
{
    state->lowest = 0x80;
    state->highest = 0xBF;
    if (lead < 0xC2) {              /* a continuation byte, or what C0 and C1 could only encode too long */
        return 0;
    } else if (lead < 0xE0) {
        state->missing = 1;
    } else if (lead < 0xF0) {
        state->missing = 2;
        if (lead == 0xE0) {
            state->lowest = 0xA0;   /* below: overlong */
        } else if (lead == 0xED) {
            state->highest = 0x9F;  /* above: surrogates */
        }
    } else if (lead < 0xF5) {
        state->missing = 3;
        if (lead == 0xF0) {
            state->lowest = 0x90;   /* below: overlong */
        } else if (lead == 0xF4) {
            state->highest = 0x8F;  /* above: beyond U+10FFFF */
        }
    } else {
        return 0;
    }
    return 1;
}

/* Take in the continuation bytes that are missing, as far as there are any. Returns how many of them were right: the
 * index of a bad byte if it is less than size and state->missing is not 0. */
PICOWS_INLINE size_t picows_utf8_continue(picows_utf8_state *state, const uint8_t *data, size_t size)
{
    size_t at = 0;

    while (state->missing > 0 && at < size && data[at] >= state->lowest && data[at] <= state->highest) {
        at++;
        state->missing--;
        state->lowest = 0x80;
        state->highest = 0xBF;
    }
    return at;
}

/* How many bytes at the end of otherwise valid text belong to a character that is not complete. */
PICOWS_INLINE size_t picows_utf8_unfinished(const uint8_t *data, size_t size)
{
    if (size >= 1 && data[size - 1] >= 0xC0) {
        return 1;
    }
    if (size >= 2 && data[size - 2] >= 0xE0) {
        return 2;
    }
    if (size >= 3 && data[size - 3] >= 0xF0) {
        return 3;
    }
    return 0;
}

#endif
