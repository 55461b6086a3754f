/* The one body of all vector kernels for UTF-8, written in terms of a vector. Not a header: an ISA's file defines what
 * is missing and includes it.
 *
 *     VECTOR                the type: WIDTH bytes
 *     LOAD(from)            WIDTH bytes from any address
 *     LOAD_PART(from, n)    the first n of them, 0 < n < WIDTH, nothing else being read; then zeros
 *     BROADCAST(table)      16 bytes, repeated
 *     LOOKUP(table, v)      for each byte of v, which is less than 16, that entry of the table
 *     HIGH_NIBBLE(v)        each byte >> 4
 *     LOW_NIBBLE(v)         each byte & 15
 *     BEFORE(v, last, n)    each byte's n-th predecessor, where `last` is the vector in front of v
 *     MINUS(v, byte)        each byte - byte, not below 0
 *     TOP_BIT(v)            each byte & 0x80
 *     AND, OR, XOR (a, b)
 *     ZERO                  a vector of zeros
 *     IS_ZERO(v)
 *     IS_ASCII(v)           no top bit is set
 *     UTF8_NAME, UTF8_TARGET
 *
 * The idea is that of J. Keiser and D. Lemire, "Validating UTF-8 in less than one instruction per byte" (2021): nearly
 * all that can be wrong shows in two neighbouring bytes, and whether a pair is one kind of wrong depends on three
 * nibbles: both of the first byte, the upper one of the second. Three tables give for each nibble value the kinds that
 * it allows, a bit each; a kind that all three allow is there. What takes more than two bytes is only whether the
 * third and fourth are continuations: they must be exactly where two or three bytes earlier a lead byte asks for them.
 *
 * It says that there is an error in a vector, not where; and it does not notice a character that the end cuts off. So
 * both an error and the end are left to the scalar code, from the last boundary of a character on.
 */

enum {
    UTF8_SHORT = 1 << 0,        /* a lead byte, then no continuation */
    UTF8_LONG = 1 << 1,         /* ASCII, then a continuation */
    UTF8_OVERLONG_2 = 1 << 2,   /* C0 or C1 */
    UTF8_OVERLONG_3 = 1 << 3,   /* E0, then 80 to 9F */
    UTF8_SURROGATE = 1 << 4,    /* ED, then A0 to BF */
    UTF8_BEYOND = 1 << 5,       /* F4 to FF, then 90 to BF */
    UTF8_OVERLONG_4 = 1 << 6,   /* F0, then 80 to 8F; also F5 to FF, then 80 to 8F, which is beyond */
    UTF8_THIRD = 1 << 7,        /* two continuations: right or wrong, as the bytes before say */

    UTF8_ANY_LOW = UTF8_SHORT | UTF8_LONG | UTF8_THIRD,
    UTF8_LOW_5_UP = UTF8_ANY_LOW | UTF8_BEYOND | UTF8_OVERLONG_4,
    UTF8_ANY_CONTINUATION = UTF8_LONG | UTF8_OVERLONG_2 | UTF8_THIRD
};

static const uint8_t utf8_first_high[16] = {
    UTF8_LONG, UTF8_LONG, UTF8_LONG, UTF8_LONG, UTF8_LONG, UTF8_LONG, UTF8_LONG, UTF8_LONG,
    UTF8_THIRD, UTF8_THIRD, UTF8_THIRD, UTF8_THIRD,
    UTF8_SHORT | UTF8_OVERLONG_2,
    UTF8_SHORT,
    UTF8_SHORT | UTF8_OVERLONG_3 | UTF8_SURROGATE,
    UTF8_SHORT | UTF8_BEYOND | UTF8_OVERLONG_4,
};
static const uint8_t utf8_first_low[16] = {
    UTF8_ANY_LOW | UTF8_OVERLONG_2 | UTF8_OVERLONG_3 | UTF8_OVERLONG_4,
    UTF8_ANY_LOW | UTF8_OVERLONG_2,
    UTF8_ANY_LOW, UTF8_ANY_LOW,
    UTF8_ANY_LOW | UTF8_BEYOND,
    UTF8_LOW_5_UP, UTF8_LOW_5_UP, UTF8_LOW_5_UP, UTF8_LOW_5_UP,
    UTF8_LOW_5_UP, UTF8_LOW_5_UP, UTF8_LOW_5_UP, UTF8_LOW_5_UP,
    UTF8_LOW_5_UP | UTF8_SURROGATE,
    UTF8_LOW_5_UP, UTF8_LOW_5_UP,
};
static const uint8_t utf8_second_high[16] = {
    UTF8_SHORT, UTF8_SHORT, UTF8_SHORT, UTF8_SHORT, UTF8_SHORT, UTF8_SHORT, UTF8_SHORT, UTF8_SHORT,
    UTF8_ANY_CONTINUATION | UTF8_OVERLONG_3 | UTF8_OVERLONG_4,
    UTF8_ANY_CONTINUATION | UTF8_OVERLONG_3 | UTF8_BEYOND,
    UTF8_ANY_CONTINUATION | UTF8_SURROGATE | UTF8_BEYOND,
    UTF8_ANY_CONTINUATION | UTF8_SURROGATE | UTF8_BEYOND,
    UTF8_SHORT, UTF8_SHORT, UTF8_SHORT, UTF8_SHORT,
};

/* Not zero where v, which follows `last`, is not UTF-8. */
UTF8_TARGET PICOWS_INLINE VECTOR utf8_errors(VECTOR v, VECTOR last)
{
    const VECTOR one_before = BEFORE(v, last, 1);
    const VECTOR kinds = AND(AND(LOOKUP(BROADCAST(utf8_first_high), HIGH_NIBBLE(one_before)),
                                 LOOKUP(BROADCAST(utf8_first_low), LOW_NIBBLE(one_before))),
                             LOOKUP(BROADCAST(utf8_second_high), HIGH_NIBBLE(v)));
    /* The top bit, which is UTF8_THIRD, is left where two bytes before E0 or more, three before F0 or more is. */
    const VECTOR asked_for = OR(MINUS(BEFORE(v, last, 2), 0xE0 - 0x80), MINUS(BEFORE(v, last, 3), 0xF0 - 0x80));
    return XOR(TOP_BIT(asked_for), kinds);
}

/* Where the ASCII from `at` on ends, in steps of two vectors. */
UTF8_TARGET PICOWS_INLINE size_t utf8_skip_ascii(const uint8_t *data, size_t at, size_t size)
{
    while (size - at >= 2 * WIDTH && IS_ASCII(OR(LOAD(data + at), LOAD(data + at + WIDTH)))) {
        at += 2 * WIDTH;
    }
    return at;
}

/* Validate from the boundary of a character on. Returns where the scalar code has to go on: at the first vector with an
 * error, or at the end. */
UTF8_TARGET PICOWS_INLINE size_t utf8_vectors(const uint8_t *data, size_t size)
{
    VECTOR last = ZERO;
    size_t at = 0;

    while (size - at >= 2 * WIDTH) {
        const VECTOR a = LOAD(data + at);
        const VECTOR b = LOAD(data + at + WIDTH);
        if (IS_ASCII(OR(a, b))) {
            if (picows_utf8_unfinished(data, at)) {
                return at;
            }
            at = utf8_skip_ascii(data, at + 2 * WIDTH, size);
            last = ZERO;
            continue;
        }
        if (!IS_ZERO(OR(utf8_errors(a, last), utf8_errors(b, a)))) {
            return at;
        }
        last = b;
        at += 2 * WIDTH;
    }
    while (at < size) {
        const size_t left = size - at;
        const VECTOR v = left >= WIDTH ? LOAD(data + at) : LOAD_PART(data + at, left);
        if (IS_ASCII(v)) {
            if (picows_utf8_unfinished(data, at)) {
                return at;
            }
        } else if (!IS_ZERO(utf8_errors(v, last))) {
            return at;
        }
        last = v;
        at += left >= WIDTH ? WIDTH : left;
    }
    return size;
}

UTF8_TARGET size_t UTF8_NAME(picows_utf8_state *state, const uint8_t *data, size_t size)
{
    const size_t begun = PICOWS_UNLIKELY(state->missing > 0) ? picows_utf8_continue(state, data, size) : 0;

    if (begun == size || state->missing > 0) {
        return begun;
    }
    const size_t good = begun + utf8_vectors(data + begun, size - begun);
    const size_t whole = good - picows_utf8_unfinished(data + begun, good - begun);
    if (PICOWS_LIKELY(whole == size)) {
        return size;
    }
    return whole + picows_validate_utf8_generic(state, data + whole, size - whole);
}
