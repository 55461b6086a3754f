/* The HTTP upgrade of RFC 6455 4, as far as two programs of ours need it that trust each other. */
#ifndef REFERENCE_UPGRADE_H
#define REFERENCE_UPGRADE_H

#include <stddef.h>

enum { UPGRADE_MAX_HEAD = 16384, UPGRADE_MAX_ANSWER = 256 };

/* What a client sends. */
extern const char upgrade_request[];

/* The size of the head at `data` with its empty line, 0 if it is not complete. */
size_t upgrade_head_size(const char *data, size_t available);

/* Writes the 101 for a request. Returns its size, 0 if the request is no upgrade. */
size_t upgrade_answer(const char *head, size_t size, char to[UPGRADE_MAX_ANSWER]);

/* 1 if this head is a 101 with the accept value for `upgrade_request`. */
int upgrade_is_accepted(const char *head, size_t size);

#endif
