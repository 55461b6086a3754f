/* Tests of upgrade.h, run by test_kernels.py: exit status 1 and what went wrong, or 0.
 *
 * What is recognised is compared with the parser in Python by tests/engine/test_upgrade.py. Here it is about memory.
 */
#define _DEFAULT_SOURCE
#include "guarded.h"
#include "upgrade.h"

static const char request[] =
    "GET /chat?a=b HTTP/1.1\r\nHost: example.com:80\r\nX:\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Version: 13 \r\nCookie: \xfc=1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/* Scan at the end of readable memory. */
static int scan(const uint8_t *data, size_t size, picows_upgrade *found)
{
    static guarded memory;

    if (memory.begin == NULL) {
        memory = guarded_new(2 * PICOWS_MAX_LINE);
    }
    memcpy(memory.end - size, data, size);
    return picows_scan_upgrade(memory.end - size, size, found);
}

static void test_every_prefix(void)
{
    const size_t size = sizeof request - 1;
    picows_upgrade found;

    for (size_t cut = 0; cut < size; cut++) {
        CHECK(!scan((const uint8_t *)request, cut, &found), "%zu bytes are no whole request", cut);
    }
    CHECK(scan((const uint8_t *)request, size, &found), "this is one");
    CHECK(found.size == size && found.target_size == 9 && !memcmp(found.target, "/chat?a=b", 9), "its target");
    CHECK(!memcmp(found.key, "dGhlIHNhbXBsZSBub25jZQ==", PICOWS_KEY_SIZE), "its key");
}

/* Every byte replaced by every other. */
static void test_every_byte(void)
{
    const size_t size = sizeof request - 1;
    uint8_t data[sizeof request];
    picows_upgrade found;

    for (size_t at = 0; at < size; at++) {
        memcpy(data, request, size);
        for (unsigned value = 0; value < 256; value++) {
            data[at] = (uint8_t)value;
            if (scan(data, size, &found)) {
                CHECK(found.size == size && found.target_size <= 9, "byte %zu replaced by %u", at, value);
            }
        }
    }
}

static void test_limits(void)
{
    static uint8_t data[2 * PICOWS_MAX_LINE];
    const size_t size = sizeof request - 1, line = sizeof "GET /chat?a=b HTTP/1.1\r\n" - 1;
    picows_upgrade found;

    for (size_t fill = PICOWS_MAX_LINE - size; fill < PICOWS_MAX_LINE - size + 2; fill++) {
        memset(data, 'x', sizeof data);
        memcpy(data, request, line);
        memcpy(data + line + fill - 2, "\r\n", 2);
        data[line + 1] = ':';
        memcpy(data + line + fill, request + line, size - line);
        CHECK(scan(data, size + fill, &found) == (size + fill == PICOWS_MAX_LINE), "a head of %zu", size + fill);
    }
    for (unsigned more = PICOWS_MAX_FIELDS - 7; more < PICOWS_MAX_FIELDS - 5; more++) {
        memcpy(data, request, line);
        for (unsigned i = 0; i < more; i++) {
            memcpy(data + line + 5 * i, "A:b\r\n", 5);
        }
        memcpy(data + line + 5 * more, request + line, size - line);
        CHECK(scan(data, size + 5 * more, &found) == (more + 7 == PICOWS_MAX_FIELDS), "%u fields", more + 7);
    }
}

int main(void)
{
    test_every_prefix();
    test_every_byte();
    test_limits();
    return 0;
}
