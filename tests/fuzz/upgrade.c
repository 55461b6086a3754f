/* upgrade.h under libFuzzer: any bytes as an upgrade request. (That what is recognised here is what the
 * parser in Python accepts is for the target `request`.) */
#include <stdlib.h>

#include "upgrade.h"

#define MUST(condition) do { if (!(condition)) abort(); } while (0)

static int is_within(const uint8_t *part, size_t part_size, const uint8_t *data, size_t size)
{
    return part >= data && part_size <= size && (size_t)(part - data) <= size - part_size;
}

static int scan_copy(const uint8_t *data, size_t size)
{
    picows_upgrade found;
    uint8_t *copy = malloc(size ? size : 1);

    memcpy(copy, data, size);
    const int is_upgrade = picows_scan_upgrade(copy, size, &found);
    free(copy);
    return is_upgrade;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    picows_upgrade found;

    if (!picows_scan_upgrade(data, size, &found)) {
        return 0;
    }
    MUST(found.size <= size && found.size >= 4 && memcmp(data + found.size - 4, "\r\n\r\n", 4) == 0);
    MUST(is_within(found.target, found.target_size, data, found.size) && found.target[0] == '/');
    MUST(is_within(found.key, PICOWS_KEY_SIZE, data, found.size));
    /* It is that head, no more and no less, and what follows does not matter. */
    MUST(scan_copy(data, found.size));
    for (size_t cut = found.size > 80 ? found.size - 80 : 0; cut < found.size; cut++) {
        MUST(!scan_copy(data, cut));
    }
    return 0;
}
