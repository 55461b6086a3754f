/* Tests of frame_codec.h, run by test_kernels.py: exit status 1 and what went wrong, or 0. */
#define _DEFAULT_SOURCE
#include "frame_codec.h"
#include "guarded.h"

static const uint64_t no_limit = UINT64_MAX;

typedef struct bytes {
    uint8_t data[PICOWS_MAX_HEADER + 1];
    size_t size;
} bytes;

/* A header as the RFC draws it, with the length in `length_size` bytes: 0, 2 or 8. */
static bytes draw(unsigned first, unsigned mask_bit, uint64_t length, unsigned length_size)
{
    bytes h = {{(uint8_t)first, 0}, 2};

    h.data[1] = (uint8_t)(mask_bit | (length_size == 0 ? length : length_size == 2 ? 126 : 127));
    for (unsigned i = length_size; i-- > 0;) {
        h.data[h.size++] = (uint8_t)(length >> 8 * i);
    }
    for (unsigned i = 0; mask_bit && i < 4; i++) {
        h.data[h.size++] = (uint8_t)(0x11 * (i + 1));
    }
    return h;
}

/* Parse at the end of readable memory. */
static picows_header_result parse(const uint8_t *data, size_t size, unsigned mask_bit, uint64_t limit,
                                  picows_header *header)
{
    static guarded memory;

    if (memory.begin == NULL) {
        memory = guarded_new(PICOWS_MAX_HEADER);
    }
    memcpy(memory.end - size, data, size);
    memset(header, 0xAA, sizeof *header);
    return picows_parse_header(memory.end - size, size, mask_bit, limit, header);
}

static const uint64_t lengths[] = {0, 1, 124, 125, 126, 127, 128, 255, 256, 65535, 65536, 65537, 16777216,
                                   UINT64_C(0xFFFFFFFF), UINT64_C(0x100000000), UINT64_C(0x7FFFFFFFFFFFFFFF)};

static void test_round_trip(unsigned mask_bit)
{
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const uint64_t length = lengths[i];
        const unsigned length_size = length < 126 ? 0 : length < 65536 ? 2 : 8;
        const bytes expected = draw(PICOWS_FIN | 2, mask_bit, length, length_size);
        const guarded memory = guarded_new(PICOWS_MAX_HEADER);
        const size_t size = picows_header_size(length, mask_bit);
        uint8_t *to = memory.end - size;
        const uint32_t key = picows_load32((const uint8_t *)"\x11\x22\x33\x44");
        picows_header header;

        CHECK(size == expected.size, "length %zu", i);
        CHECK(picows_write_header(to, PICOWS_FIN | 2, length, mask_bit, key) == size, "length %zu", i);
        CHECK(memcmp(to, expected.data, size) == 0, "length %zu", i);
        CHECK(parse(to, size, mask_bit, no_limit, &header) == PICOWS_HEADER_OK, "length %zu", i);
        CHECK(header.payload_size == length && header.size == size && header.first == 0x82 && header.is_minimal
              && header.key == (mask_bit ? key : 0), "length %zu", i);
    }
}

/* Each part of a header is incomplete, and names its size as soon as the length is there. */
static void test_cut_off(unsigned mask_bit)
{
    static const unsigned length_sizes[] = {0, 2, 8};

    for (unsigned i = 0; i < 3; i++) {
        const bytes whole = draw(PICOWS_FIN | 1, mask_bit, 77, length_sizes[i]);
        for (size_t size = 0; size < whole.size; size++) {
            picows_header header;
            CHECK(parse(whole.data, size, mask_bit, no_limit, &header) == PICOWS_HEADER_INCOMPLETE, "%zu bytes", size);
            CHECK(header.size == (size < 2 + length_sizes[i] ? 0 : whole.size), "%zu bytes: %u", size, header.size);
            CHECK(header.size == 0 || (header.payload_size == 77 && header.is_minimal == (i == 0)), "%zu bytes", size);
        }
    }
}

static void test_minimal_lengths(unsigned mask_bit)
{
    static const struct { uint64_t length; unsigned length_size; int is_minimal; } cases[] = {
        {0, 2, 0}, {125, 2, 0}, {126, 2, 1}, {65535, 2, 1}, {0, 8, 0}, {126, 8, 0}, {65535, 8, 0}, {65536, 8, 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const bytes data = draw(PICOWS_FIN | 2, mask_bit, cases[i].length, cases[i].length_size);
        picows_header header;
        CHECK(parse(data.data, data.size, mask_bit, no_limit, &header) == PICOWS_HEADER_OK, "case %zu", i);
        CHECK(header.payload_size == cases[i].length && header.is_minimal == cases[i].is_minimal, "case %zu", i);
    }
}

/* All first bytes with all second bytes, on both sides, against the sentences of RFC 6455 5.1, 5.2 and 5.5. */
static void test_first_two_bytes(unsigned mask_bit)
{
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            const unsigned opcode = first & 15, length = second & 127;
            const int is_data = opcode == 0 || opcode == 1 || opcode == 2;
            const int is_control = opcode == 8 || opcode == 9 || opcode == 10;
            const int is_long = length == 126 || length == 127;
            const picows_header_result expected =
                !is_data && !is_control ? PICOWS_HEADER_RESERVED_OPCODE
                : is_control && first < 128 ? PICOWS_HEADER_FRAGMENTED_CONTROL
                : mask_bit && second < 128 ? PICOWS_HEADER_UNMASKED
                : !mask_bit && second >= 128 ? PICOWS_HEADER_MASKED
                : is_control && is_long ? PICOWS_HEADER_LONG_CONTROL
                : is_long || mask_bit ? PICOWS_HEADER_INCOMPLETE : PICOWS_HEADER_OK;
            const uint8_t data[2] = {(uint8_t)first, (uint8_t)second};
            picows_header header;
            const picows_header_result result = parse(data, 2, mask_bit, no_limit, &header);
            CHECK(result == expected, "%02x %02x: %d instead of %d", first, second, (int)result, (int)expected);
        }
    }
}

static void test_limit(unsigned mask_bit)
{
    const bytes fits = draw(PICOWS_FIN | 2, mask_bit, 1000, 2), exceeds = draw(PICOWS_FIN | 2, mask_bit, 1001, 2);
    const bytes top_bit = draw(PICOWS_FIN | 2, mask_bit, UINT64_C(1) << 63, 8);
    const uint64_t largest_object = UINT64_MAX >> 1;
    picows_header header;

    CHECK(parse(fits.data, fits.size, mask_bit, 1000, &header) == PICOWS_HEADER_OK, "at the limit");
    CHECK(parse(exceeds.data, 4, mask_bit, 1000, &header) == PICOWS_HEADER_TOO_BIG, "known before the key is there");
    CHECK(header.payload_size == 1001 && header.is_minimal, "what was received is named");
    CHECK(parse(top_bit.data, top_bit.size, mask_bit, largest_object, &header) == PICOWS_HEADER_TOO_BIG, "top bit");
}

/* D2: a key of zero is a key. */
static void test_key_of_zero(void)
{
    uint8_t data[PICOWS_MAX_HEADER];
    picows_header header;
    const size_t size = picows_write_header(data, PICOWS_FIN | 1, 5, PICOWS_MASK, 0);

    CHECK(size == 6 && memcmp(data, "\x81\x85\0\0\0\0", 6) == 0, "mask bit and key are written");
    CHECK(parse(data, size, PICOWS_MASK, no_limit, &header) == PICOWS_HEADER_OK && header.size == 6, "and read");
}

int main(void)
{
    static const unsigned sides[] = {0, PICOWS_MASK};

    for (unsigned i = 0; i < 2; i++) {
        test_round_trip(sides[i]);
        test_cut_off(sides[i]);
        test_minimal_lengths(sides[i]);
        test_first_two_bytes(sides[i]);
        test_limit(sides[i]);
    }
    test_key_of_zero();
    return 0;
}
