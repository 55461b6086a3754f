/* The kernels under libFuzzer: each set that this processor runs against the generic one.
 *
 * The input: two bytes of offsets, two of cuts, four of the key; then the payload.
 */
#include <stdlib.h>

#include "picows_kernels.h"

#define MUST(condition) do { if (!(condition)) abort(); } while (0)

enum { PREFIX = 8 };

typedef struct verdict {
    size_t at;
    int is_complete;
} verdict;

/* Validate in three pieces, each in memory of exactly its size, `offset` bytes behind an aligned address. */
static verdict validate(const picows_kernels *kernels, const uint8_t *text, size_t size, const size_t cuts[2],
                        size_t offset)
{
    picows_utf8_state state = {0, 0, 0};
    const size_t ends[] = {cuts[0], cuts[1], size};
    size_t begin = 0;

    for (unsigned i = 0; i < 3; i++) {
        const size_t length = ends[i] - begin;
        uint8_t *memory = malloc(offset + length + 1);
        memcpy(memory + offset + 1, text + begin, length);
        const size_t good = kernels->validate_utf8(&state, memory + offset + 1, length);
        free(memory);
        MUST(good <= length);
        if (good < length) {
            return (verdict){begin + good, 0};
        }
        begin = ends[i];
    }
    return (verdict){size, picows_utf8_is_complete(&state)};
}

static void check_mask(const picows_kernels *kernels, const uint8_t *payload, size_t size, uint32_t key, size_t cut,
                       const size_t offsets[2])
{
    uint8_t expected_key[4];
    uint8_t *to = malloc(offsets[0] + size + 1), *from = malloc(offsets[1] + size + 1);

    picows_store32(expected_key, key);
    memcpy(from + offsets[1], payload, size);
    kernels->mask(to + offsets[0], from + offsets[1], size, key);
    for (size_t i = 0; i < size; i++) {
        MUST(to[offsets[0] + i] == (payload[i] ^ expected_key[i & 3]));
    }
    /* In place and in two pieces it becomes what it was. */
    kernels->mask(to + offsets[0], to + offsets[0], cut, key);
    kernels->mask(to + offsets[0] + cut, to + offsets[0] + cut, size - cut, picows_rotate_key(key, cut));
    MUST(size == 0 || memcmp(to + offsets[0], payload, size) == 0);
    free(to);
    free(from);
}

/* Those of the build that run here, generic last. Asked once: a virtual machine takes long to say what it is. */
static size_t find_sets(const picows_kernels *found[8])
{
    size_t count, usable = 0;
    const picows_kernels *sets = picows_kernels_list(&count);

    for (size_t i = 0; i < count; i++) {
        const picows_kernels *kernels = picows_kernels_select(sets[i].name, NULL);
        MUST(kernels == NULL || kernels == &sets[i]);
        if (kernels != NULL) {
            found[usable++] = kernels;
        }
    }
    MUST(usable > 0 && picows_kernels_select(NULL, NULL) == found[0]);
    return usable;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const picows_kernels *sets[8];
    static size_t count;

    if (count == 0) {
        count = find_sets(sets);
    }
    if (size < PREFIX) {
        return 0;
    }
    const uint8_t *payload = data + PREFIX;
    const uint32_t key = picows_load32(data + 4);
    const size_t offsets[] = {data[0] & 63, data[1] & 63};
    size -= PREFIX;
    const size_t one = data[2] * size / 255, two = data[3] * size / 255;
    const size_t cuts[] = {one < two ? one : two, one < two ? two : one};
    const size_t whole[] = {size, size};
    const verdict expected = validate(sets[count - 1], payload, size, whole, 0);
    for (size_t i = 0; i < count; i++) {
        const verdict found = validate(sets[i], payload, size, cuts, offsets[0]);
        MUST(found.at == expected.at && (found.at < size || found.is_complete == expected.is_complete));
        check_mask(sets[i], payload, size, key, cuts[0], offsets);
    }
    return 0;
}
