/* frame_codec.h under libFuzzer: any bytes as the headers of frames, cut anywhere.
 *
 * The input: a byte whose lowest bit is the side and whose other bits are the limit, as the number of its bits; then
 * what the peer sends, one header after the other with as much payload as there is.
 */
#include <stdlib.h>

#include "frame_codec.h"

#define MUST(condition) do { if (!(condition)) abort(); } while (0)

/* Each shorter piece is incomplete, or has the same fault: what is wrong does not depend on how bytes arrive. */
static void check_prefixes(const uint8_t *data, size_t size, unsigned mask_bit, uint64_t limit,
                           picows_header_result whole, const picows_header *header)
{
    int is_known = 0;

    for (size_t cut = 0; cut < size; cut++) {
        picows_header part;
        uint8_t *piece = malloc(cut ? cut : 1);
        memcpy(piece, data, cut);
        const picows_header_result result = picows_parse_header(piece, cut, mask_bit, limit, &part);
        free(piece);
        MUST(result == PICOWS_HEADER_INCOMPLETE ? !is_known : result == whole);
        is_known = result != PICOWS_HEADER_INCOMPLETE;
        if (part.size != 0 && (result == PICOWS_HEADER_INCOMPLETE || result == PICOWS_HEADER_OK)) {
            MUST(part.size == header->size && part.payload_size == header->payload_size);
        }
    }
}

/* What was read is what would be written, byte for byte, if its length has the shortest form. */
static void check_round_trip(const uint8_t *data, unsigned mask_bit, const picows_header *header)
{
    uint8_t *written = malloc(picows_header_size(header->payload_size, mask_bit));
    const size_t size = picows_write_header(written, header->first, header->payload_size, mask_bit, header->key);

    MUST(size == picows_header_size(header->payload_size, mask_bit));
    MUST(header->is_minimal == (size == header->size));
    MUST(size < header->size || memcmp(written, data, size) == 0);
    free(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const unsigned mask_bit = data[0] & 1 ? PICOWS_MASK : 0;
    const uint64_t limit = (UINT64_C(1) << (data[0] >> 1) % 64) - 1;
    for (size_t at = 1;;) {
        const size_t available = size - at;
        const size_t few = available < PICOWS_MAX_HEADER + 2 ? available : PICOWS_MAX_HEADER + 2;
        picows_header header;
        const picows_header_result result = picows_parse_header(data + at, available, mask_bit, limit, &header);
        check_prefixes(data + at, few, mask_bit, limit, result, &header);
        if (result != PICOWS_HEADER_OK) {
            MUST(result != PICOWS_HEADER_INCOMPLETE || available < PICOWS_MAX_HEADER);
            return 0;
        }
        MUST(header.size <= available && header.size <= PICOWS_MAX_HEADER && picows_is_opcode(header.first & 15));
        MUST(header.payload_size <= (header.first & PICOWS_CONTROL ? PICOWS_MAX_CONTROL_PAYLOAD : limit));
        check_round_trip(data + at, mask_bit, &header);
        if (header.payload_size > available - header.size) {
            return 0;
        }
        at += header.size + (size_t)header.payload_size;
    }
}
