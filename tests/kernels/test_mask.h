/* A set's mask kernel against one byte at a time. */
#include "guarded.h"
#include "picows_kernels.h"

enum { MASK_LENGTHS = 301, MASK_OFFSETS = 64, MASK_MARGIN = 128 };

static void mask_slowly(uint8_t *to, const uint8_t *from, size_t size, const uint8_t key[4])
{
    for (size_t i = 0; i < size; i++) {
        to[i] = from[i] ^ key[i % 4];
    }
}

static uint32_t random_key(uint8_t bytes[4])
{
    fill_random(bytes, 4);
    return picows_load32(bytes);
}

/* `from` is filled with random bytes and masked into `to`. */
static void mask_once(const picows_kernels *kernels, uint8_t *to, uint8_t *from, size_t size)
{
    static uint8_t expected[1 << 17];
    uint8_t bytes[4];
    const uint32_t key = random_key(bytes);

    fill_random(from, size);
    mask_slowly(expected, from, size, bytes);
    kernels->mask(to, from, size, key);
    CHECK(memcmp(to, expected, size) == 0, "%s, %zu bytes", kernels->name, size);
}

/* Every length at every offset; the bytes around must be as they were, and in a copy so must the source. */
static void test_mask_lengths_and_offsets(const picows_kernels *kernels, int in_place)
{
    enum { ROOM = MASK_MARGIN + MASK_OFFSETS + MASK_LENGTHS + MASK_MARGIN };
    static uint8_t from[ROOM], to[ROOM], from_before[ROOM], expected[ROOM];
    uint8_t bytes[4];

    for (size_t size = 0; size < MASK_LENGTHS; size++) {
        fill_random(from, ROOM);
        for (size_t offset = 0; offset < MASK_OFFSETS; offset++) {
            const size_t to_at = MASK_MARGIN + offset;
            const size_t from_at = in_place ? to_at : MASK_MARGIN + (offset * 7 + size) % MASK_OFFSETS;
            uint8_t *target = in_place ? from : to;
            const uint32_t key = random_key(bytes);
            memcpy(from_before, from, ROOM);
            memcpy(expected, target, ROOM);
            mask_slowly(expected + to_at, from + from_at, size, bytes);
            kernels->mask(target + to_at, from + from_at, size, key);
            CHECK(memcmp(target, expected, ROOM) == 0, "%s, %zu bytes at %zu", kernels->name, size, offset);
            CHECK(in_place || memcmp(from, from_before, ROOM) == 0, "%s, %zu bytes: source", kernels->name, size);
        }
    }
}

/* Payloads that begin or end where the next byte is not ours. */
static void test_mask_guard_pages(const picows_kernels *kernels)
{
    const guarded a = guarded_new(1 << 17), b = guarded_new(1 << 17);

    for (size_t size = 0; size <= 70000; size += size < 1200 ? 1 : size / 7 + 1) {
        mask_once(kernels, a.begin, a.begin, size);
        mask_once(kernels, a.end - size, a.end - size, size);
        mask_once(kernels, a.begin, b.end - size, size);
        mask_once(kernels, a.end - size, b.begin, size);
    }
}

/* A payload in two pieces is the payload in one: the key goes on where it was. */
static void test_mask_continued(const picows_kernels *kernels)
{
    enum { SIZE = 200 };
    uint8_t data[SIZE], expected[SIZE], masked[SIZE], bytes[4];

    for (size_t first = 0; first <= SIZE; first++) {
        const uint32_t key = random_key(bytes);
        fill_random(data, SIZE);
        mask_slowly(expected, data, SIZE, bytes);
        kernels->mask(masked, data, first, key);
        kernels->mask(masked + first, data + first, SIZE - first, picows_rotate_key(key, first));
        CHECK(memcmp(masked, expected, SIZE) == 0, "%s, after %zu bytes", kernels->name, first);
    }
}

static void test_mask_nothing(const picows_kernels *kernels)
{
    uint8_t data[40], before[40];

    kernels->mask(NULL, NULL, 0, 1);
    fill_random(data, sizeof data);
    memcpy(before, data, sizeof data);
    kernels->mask(data, data, sizeof data, 0);
    CHECK(memcmp(data, before, sizeof data) == 0, "%s, key 0", kernels->name);
}

static void test_mask(const picows_kernels *kernels)
{
    test_mask_nothing(kernels);
    test_mask_lengths_and_offsets(kernels, 1);
    test_mask_lengths_and_offsets(kernels, 0);
    test_mask_guard_pages(kernels);
    test_mask_continued(kernels);
}
