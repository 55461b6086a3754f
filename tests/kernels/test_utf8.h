/* A set's UTF-8 kernel against the definition. */
#include "guarded.h"
#include "picows_kernels.h"

typedef struct verdict {
    size_t at;          /* of the first byte with which nothing can follow that makes it valid; else the size */
    int is_complete;
} verdict;

/* Whether some code point's encoding begins with these bytes: the code points that it could still be are a range, and
 * that must have something in common with those that are encoded in so many bytes. */
static int is_possible(const uint8_t *data, size_t size)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000}, largest[] = {0, 0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
    const uint8_t lead = data[0];
    const size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (length == 0 || size > length) {
        return 0;
    }
    uint32_t low = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t i = 1; i < size; i++) {
        if (data[i] >> 6 != 2) {
            return 0;
        }
        low = low << 6 | (data[i] & 0x3F);
    }
    const unsigned open_bits = 6 * (unsigned)(length - size);
    low <<= open_bits;
    uint32_t high = low + (UINT32_C(1) << open_bits) - 1;
    low = low > smallest[length] ? low : smallest[length];
    high = high < largest[length] ? high : largest[length];
    return low <= high && !(low >= 0xD800 && high <= 0xDFFF);
}

static verdict judge(const uint8_t *data, size_t size)
{
    size_t begin = 0;

    for (size_t at = 0; at < size; at++) {
        if (!is_possible(data + begin, at + 1 - begin)) {
            return (verdict){at, 0};
        }
        const uint8_t lead = data[begin];
        const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if (at + 1 - begin == length) {
            begin = at + 1;
        }
    }
    return (verdict){size, begin == size};
}

static void print_bytes(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        printf("%02x ", data[i]);
    }
    printf("\n");
}

static void compare(const picows_kernels *kernels, const uint8_t *data, size_t size, verdict expected)
{
    picows_utf8_state state = {0, 0, 0};
    const size_t at = kernels->validate_utf8(&state, data, size);
    const int is_same = at == expected.at && (at < size || picows_utf8_is_complete(&state) == expected.is_complete);

    if (!is_same) {
        print_bytes(data, size);
    }
    CHECK(is_same, "%s, %zu bytes: %zu instead of %zu", kernels->name, size, at, expected.at);
}

/* Between vectors of 16, of 32 and of 64 bytes at once, with `before` bytes on the left side. */
static void compare_between_vectors(const picows_kernels *kernels, const uint8_t *data, size_t size, size_t before)
{
    enum { BORDER = 64, SIZE = 96 };
    static uint8_t text[SIZE];
    const size_t begin = BORDER - before;
    uint8_t with_next[5];

    memset(text, 'a', SIZE);
    memcpy(text + begin, data, size);
    memcpy(with_next, data, size);
    with_next[size] = 'a';
    const verdict part = judge(with_next, size + 1);
    compare(kernels, text, SIZE, part.at > size ? (verdict){SIZE, 1} : (verdict){begin + part.at, 0});
}

/* Around everything at which something changes. */
static const uint8_t telling[] = {0x00, 0x41, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x91, 0x9F, 0xA0, 0xA1, 0xBF, 0xC0,
                                  0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};

enum { TELLING = sizeof telling };

static int is_telling(uint8_t value)
{
    return memchr(telling, value, TELLING) != NULL;
}

/* All strings of up to 3 bytes, and those with a telling third byte between vectors. `is_quick`: only those, where the
 * first byte tells something too. */
static void test_utf8_three_bytes(const picows_kernels *kernels, int is_quick)
{
    uint8_t s[3];

    for (unsigned two = 0; two < 1 << 16; two++) {
        s[0] = (uint8_t)(two >> 8);
        s[1] = (uint8_t)two;
        if (is_quick && !is_telling(s[0])) {
            continue;
        }
        compare(kernels, s, 1, judge(s, 1));
        compare(kernels, s, 2, judge(s, 2));
        for (unsigned third = 0; third < 256 && !is_quick; third++) {
            s[2] = (uint8_t)third;
            compare(kernels, s, 3, judge(s, 3));
        }
        for (unsigned i = 0; i < TELLING; i++) {
            s[2] = telling[i];
            compare_between_vectors(kernels, s, 3, i & 3);
        }
    }
}

/* Lead bytes with telling bytes behind them; the second byte behind those of 4-byte characters may be any. */
static void test_utf8_four_bytes(const picows_kernels *kernels, int is_quick)
{
    uint8_t s[4];

    for (unsigned lead = is_quick ? 0xEC : 0xC0; lead < 256; lead++) {
        const int is_any = lead >= 0xF0 && !is_quick;
        s[0] = (uint8_t)lead;
        for (unsigned second = 0; second < (is_any ? 256 : TELLING); second++) {
            s[1] = is_any ? (uint8_t)second : telling[second];
            for (unsigned i = 0; i < TELLING * TELLING; i++) {
                s[2] = telling[i / TELLING];
                s[3] = telling[i % TELLING];
                compare(kernels, s, 4, judge(s, 4));
                compare_between_vectors(kernels, s, 4, i & 3);
            }
        }
    }
}

/* A code point in the range of `length` bytes. */
static size_t encode_random(uint8_t *to, unsigned length)
{
    static const uint32_t first[] = {0, 0, 0x80, 0x800, 0x10000}, count[] = {0, 0x80, 0x780, 0xF800, 0x100000};
    uint32_t c = first[length] + (uint32_t)(next_random() >> 32) % count[length];

    if (c >> 11 == 0xD800 >> 11) {
        c -= 0x800;
    }
    for (unsigned i = length; i-- > 1; c >>= 6) {
        to[i] = (uint8_t)(0x80 | (c & 0x3F));
    }
    to[0] = (uint8_t)(length == 1 ? c : (0xF00u >> length & 0xFF) | c);
    return length;
}

/* Text of exactly `size` bytes, its last character perhaps cut off; `style` says which lengths are frequent. */
static void fill_text(uint8_t *data, size_t size, unsigned style)
{
    uint8_t character[4];

    for (size_t at = 0; at < size;) {
        const unsigned dice = (unsigned)(next_random() >> 40);
        const unsigned length = dice % 8 < 2 ? 1 + dice / 8 % 4 : style % 4 + 1;
        const size_t bytes = encode_random(character, length);
        const size_t room = size - at < bytes ? size - at : bytes;
        memcpy(data + at, character, room);
        at += room;
    }
}

/* Texts, right and with one or two bytes changed, that end and begin at pages that are not ours. */
static void test_utf8_random(const picows_kernels *kernels, unsigned rounds)
{
    enum { LONGEST = 400 };
    const guarded memory = guarded_new(LONGEST);

    for (unsigned round = 0; round < rounds; round++) {
        const size_t size = round % (LONGEST + 1);
        uint8_t *data = round & 1 ? memory.begin : memory.end - size;
        fill_text(data, size, (unsigned)(next_random() >> 50));
        for (unsigned damage = 0; damage < 3; damage++) {
            compare(kernels, data, size, judge(data, size));
            if (size > 0) {
                data[(next_random() >> 33) % size] = (uint8_t)(next_random() >> 44);
            }
        }
    }
}

/* Every place for a bad byte, in ASCII and in text of one length of characters. */
static void test_utf8_every_place(const picows_kernels *kernels)
{
    enum { SIZE = 420 };
    static const char *const units[] = {"x", "\xC3\xA9", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80"};
    static const uint8_t bad[] = {0x80, 0xC0, 0xC3, 0xE4, 0xF0, 0xFF, 'x'};
    uint8_t data[SIZE];

    for (unsigned unit = 0; unit < 4; unit++) {
        for (size_t at = 0; at < SIZE; at++) {
            for (unsigned i = 0; i < sizeof bad; i++) {
                for (size_t j = 0; j < SIZE; j += unit + 1) {
                    memcpy(data + j, units[unit], unit + 1);
                }
                data[at] = bad[i];
                compare(kernels, data, SIZE, judge(data, SIZE));
            }
        }
    }
}

/* Fed in pieces that end at the given places, the index counts from the beginning of all. */
static void compare_pieces(const picows_kernels *kernels, const uint8_t *data, size_t size, size_t one, size_t two)
{
    const verdict expected = judge(data, size);
    const size_t ends[] = {one, two, size};
    picows_utf8_state state = {0, 0, 0};
    size_t begin = 0;

    for (unsigned i = 0; i < 3; i++) {
        const size_t at = begin + kernels->validate_utf8(&state, data + begin, ends[i] - begin);
        CHECK(at == (expected.at < ends[i] ? expected.at : ends[i]), "%s, pieces to %zu, %zu, %zu: %zu instead of %zu",
              kernels->name, one, two, size, at, expected.at);
        if (at < ends[i]) {
            return;
        }
        begin = ends[i];
    }
    CHECK(picows_utf8_is_complete(&state) == expected.is_complete, "%s, pieces to %zu, %zu", kernels->name, one, two);
}

static void test_utf8_pieces(const picows_kernels *kernels, unsigned rounds)
{
    enum { SIZE = 150 };
    uint8_t data[SIZE];

    for (unsigned round = 0; round < rounds; round++) {
        fill_text(data, SIZE, round);
        if (round & 1) {
            data[(next_random() >> 33) % SIZE] = (uint8_t)(next_random() >> 44);
        }
        for (size_t one = 0; one <= SIZE; one++) {
            for (size_t two = one; two <= SIZE; two += two < one + 4 ? 1 : 29) {
                compare_pieces(kernels, data, SIZE, one, two);
            }
        }
    }
}

static void test_utf8(const picows_kernels *kernels, int is_quick)
{
    compare(kernels, NULL, 0, (verdict){0, 1});
    test_utf8_three_bytes(kernels, is_quick);
    test_utf8_four_bytes(kernels, is_quick);
    test_utf8_every_place(kernels);
    test_utf8_random(kernels, is_quick ? 5000 : 50000);
    test_utf8_pieces(kernels, is_quick ? 10 : 100);
}
